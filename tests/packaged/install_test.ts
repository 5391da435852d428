// A bare cluster of real nodes gets CoreDNS and Traefik, with every part real: kubelets, kube-proxy, klipper-helm's script and helm, the
// chart, the programs. Started by `deno task test:packaged`; in the order of the file, on one cluster.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { HELM_CHART_CONFIGS, HELM_CHARTS, type HelmChart } from "../../core/helm/helm_chart.ts";
import {
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  DEPLOYMENTS,
  JOBS,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "../../core/kube/resources.ts";
import type { ConfigMap, Service } from "../../core/kube/types.ts";
import { TRAEFIK_DEFINITIONS } from "../../core/packaged/traefik_definitions.generated.ts";
import { TRAEFIK_V3 } from "../../core/packaged/versions.ts";
import { ServerFolder } from "../cluster/server_folder.ts";
import { enterWorld } from "../support/netns.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import { worldSuite } from "../support/world_suite.ts";
import {
  bringCharts,
  INGRESS_ROUTES,
  INGRESSES,
  isGone,
  lackingParts,
  resolve,
  revisions,
  TRAEFIK,
  waitForDeployed,
  waitForRoute,
} from "./packaged_world.ts";
import { givenParts } from "./parts.ts";
import { ensureRealImages } from "./real_images.ts";

const DNS_IP = "10.43.0.10";
const COREDNS = { namespace: "kube-system", name: "coredns" };
const CUSTOM = { namespace: "kube-system", name: "coredns-custom" };
const parts = givenParts();
const lacking = lackingParts(parts);
const QUIET_MS = Number(Deno.env.get("K3SLB_QUIET_MINUTES") ?? "1") * 60_000;
/** Waits of these tests are for images, helm and probes. */
const LONG = { deadlineMs: 60_000, intervalMs: 500 };

function configManifest(values: string): string {
  const indented = values.replaceAll(/^(?=.)/gm, "    ");
  return `apiVersion: helm.cattle.io/v1
kind: HelmChartConfig
metadata: {name: traefik, namespace: kube-system}
spec:
  valuesContent: |
${indented}`;
}

if (await enterWorld(import.meta.url)) {
  const images = await ensureRealImages(parts);
  const register = worldSuite({ nodes: 2, servers: 0, images });
  const withSkip = (skip: string | undefined): typeof register => (name, fn) =>
    register(name, fn, skip === undefined ? {} : { skip });
  const test = withSkip(lacking);
  const dnsTest = withSkip(lackingParts(parts, ["coredns"]));
  let folder: ServerFolder | undefined;
  const server = (): ServerFolder => {
    if (folder === undefined) throw new Error("The first test has not started the server");
    return folder;
  };
  Deno.test.afterAll(() => folder?.remove());

  dnsTest(
    "CoreDNS: real pods answer with the shipped Corefile: Services, headless, NodeHosts, --dns-hosts",
    async ({ world, ns }) => {
      folder = new ServerFolder(world);
      if (lacking === undefined) await bringCharts(folder, parts, [TRAEFIK_V3.chart.version]);
      const disable = lacking === undefined ? [] : ["--disable=traefik"];
      await folder.start("--dns-hosts=db.example.com=10.9.8.7", "--dns-upstream=192.0.2.53", ...disable);
      await waitUntil("CoreDNS to be ready", async () => {
        return ((await world.admin.get(DEPLOYMENTS, COREDNS)).status?.readyReplicas ?? 0) > 0;
      }, { ...LONG, explain: () => `${server().log()}\n${world.logs()}` });
      await ns.createApp({ name: "web", nodes: ["node1", "node2"] });
      const { spec } = await ns.createService({ name: "web", ports: [80], spec: { type: "ClusterIP" } });
      await ns.createService({
        name: "all",
        app: "web",
        ports: [8080],
        spec: { type: "ClusterIP", clusterIP: "None" },
      });
      const pod = await waitUntil("the pod's network", () => world.node("node1").pod(ns.name, "web-node1"));
      const answers = async (name: string, want: (ips: readonly string[]) => boolean): Promise<void> => {
        let last: readonly string[] = [];
        await waitUntil(`an answer for ${name}`, async () => {
          last = await resolve(pod, name, DNS_IP);
          return want(last);
        }, { explain: () => `last: ${last.join(", ")}` });
      };
      await answers(`web.${ns.name}.svc.cluster.local`, (ips) => ips.includes(spec?.clusterIP ?? "none"));
      await answers(`all.${ns.name}.svc.cluster.local`, (ips) => ips.filter((ip) => ip.includes(".")).length === 2);
      await answers("node2", (ips) => ips.includes(world.node("node2").ip4));
      await answers("db.example.com", (ips) => ips.includes("10.9.8.7"));
      await answers("kubernetes.default.svc.cluster.local", (ips) => ips.includes("10.43.0.1"));
    },
  );

  dnsTest(
    "CoreDNS: an override of coredns-custom is read, and one with hosts gets an Event before it does harm",
    async ({ world, ns }) => {
      await ns.createApp({ name: "web", nodes: ["node1"] });
      const pod = await waitUntil("the pod's network", () => world.node("node1").pod(ns.name, "web-node1"));
      const template = 'template IN A custom.example.com {\n  answer "{{ .Name }} 60 IN A 10.1.2.3"\n}\n';
      const data = { "a.override": template };
      await world.admin.create(CONFIG_MAPS, { metadata: CUSTOM, data } as ConfigMap);
      // The kubelet brings it within a minute, CoreDNS reads it within another one.
      await waitUntil("the override's answer", async () => {
        return (await resolve(pod, "custom.example.com", DNS_IP)).includes("10.1.2.3");
      }, LONG);
      const broken = { "a.override": "hosts {\n  10.0.0.5 db\n  fallthrough\n}\n" };
      await world.admin.patch(CONFIG_MAPS, CUSTOM, { type: "merge", body: { data: broken } });
      const event = await server().waitForEvent(CUSTOM, "CustomConfigRefused");
      match(event.message ?? "", /--dns-hosts/);
      await world.admin.delete(CONFIG_MAPS, CUSTOM);
    },
  );

  test("Traefik: one release at revision 1, Deployed, on every node's address", async ({ world }) => {
    await waitForDeployed(server(), "traefik", 1);
    const service = await server().waitForObject(SERVICES, TRAEFIK, ({ status }) => {
      const ips = status?.loadBalancer?.ingress?.flatMap(({ ip }) => ip ?? []) ?? [];
      return world.nodeIps.every((ip) => ips.includes(ip));
    });
    equal(service.spec?.ipFamilyPolicy, "PreferDualStack");
    equal(service.spec?.ipFamilies?.length, 2);
    const deployment = await world.admin.get(DEPLOYMENTS, TRAEFIK);
    equal(deployment.spec?.template?.spec?.containers[0]?.image, `docker.io/traefik:${TRAEFIK_V3.image.tag}`);
    const [group = ""] = TRAEFIK_DEFINITIONS.map((text) => JSON.parse(text).metadata.name);
    const definition = await world.admin.get(CUSTOM_RESOURCE_DEFINITIONS, { name: group });
    equal(definition.metadata?.annotations?.["helm.sh/resource-policy"], "keep");
  });

  test("Traefik: an Ingress and an IngressRoute are answered by HTTP and HTTPS on every node, and the Ingress says so", async ({ world, ns }) => {
    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [80], spec: { type: "ClusterIP" } });
    const backend = { service: { name: "web", port: { number: 80 } } };
    await world.admin.create(INGRESSES, {
      metadata: { name: "web", namespace: ns.name },
      spec: {
        rules: [{ host: "ingress.example.com", http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }],
      },
    });
    const services = [{ name: "web", port: 80 }];
    await world.admin.create(INGRESS_ROUTES, {
      apiVersion: "traefik.io/v1alpha1",
      kind: "IngressRoute",
      metadata: { name: "web", namespace: ns.name },
      spec: { routes: [{ match: "Host(`route.example.com`)", kind: "Rule", services }] },
    });
    await waitForRoute(world, server(), "ingress.example.com");
    await waitForRoute(world, server(), "route.example.com");
    const ingress = await server().waitForObject(INGRESSES, { namespace: ns.name, name: "web" }, ({ status }) => {
      const ips = status?.loadBalancer?.ingress?.flatMap(({ ip }) => ip ?? []) ?? [];
      return world.nodeIps.every((ip) => ips.includes(ip));
    });
    ok((ingress.status?.loadBalancer?.ingress?.length ?? 0) >= world.nodeIps.length);
  });

  test(`Traefik: unchanged, it gets no new revision (watched for ${QUIET_MS / 60_000} min)`, async ({ world }) => {
    deepEqual(await revisions(world.admin, "traefik"), [1]);
    await staysTrue(
      "one release at revision 1",
      async () => (await revisions(world.admin, "traefik")).join() === "1",
      QUIET_MS,
    );
    await waitForDeployed(server(), "traefik", 1);
  });

  test("Traefik: one HelmChartConfig makes revision 2, and no more", async ({ world }) => {
    server().write(
      "traefik-config.yaml",
      configManifest("deployment:\n  replicas: 2\nimage:\n  repository: docker.io/library/traefik\n"),
    );
    await waitForDeployed(server(), "traefik", 2);
    const { spec } = await world.admin.get(DEPLOYMENTS, TRAEFIK);
    equal(spec?.replicas, 2);
    // As K3s's documentation writes it: the registry is split off.
    equal(spec?.template?.spec?.containers[0]?.image, `docker.io/library/traefik:${TRAEFIK_V3.image.tag}`);
    await staysTrue("revision 2", async () => (await revisions(world.admin, "traefik")).at(-1) === 2, 20_000);
  });

  test("Traefik: what the chart refuses is told by its key, Traefik goes on, and a right value recovers", async ({ world }) => {
    server().write("traefik-config.yaml", configManifest("globalArguments: []\n"));
    const failed = await server().waitForObject<HelmChart>(HELM_CHARTS, TRAEFIK, ({ status }) => {
      return status?.conditions?.some(({ type, status }) => type === "Deployed" && status === "False") ?? false;
    });
    const said = failed.status?.conditions?.map(({ message }) => message).join("\n") ?? "";
    await waitUntil("the refused key in the conditions", async () => {
      const { status } = await world.admin.get<HelmChart>(HELM_CHARTS, TRAEFIK);
      return status?.conditions?.some(({ message }) => message?.includes("globalArguments"));
    }, { explain: () => said });
    ok((await world.admin.get(DEPLOYMENTS, TRAEFIK)).spec?.replicas === 2);
    server().write("traefik-config.yaml", configManifest("deployment:\n  replicas: 1\n"));
    await waitForDeployed(server(), "traefik");
    await waitUntil("one replica", async () => (await world.admin.get(DEPLOYMENTS, TRAEFIK)).spec?.replicas === 1);
  });

  test("--disable traefik: nothing is left but the definitions and what users made of them", async ({ world, ns }) => {
    await world.admin.create(INGRESS_ROUTES, {
      apiVersion: "traefik.io/v1alpha1",
      kind: "IngressRoute",
      metadata: { name: "mine", namespace: ns.name },
      spec: { routes: [{ match: "Host(`a.example.com`)", kind: "Rule", services: [{ name: "web", port: 80 }] }] },
    });
    server().delete("traefik-config.yaml");
    await world.admin.delete(HELM_CHART_CONFIGS, TRAEFIK);
    await server().stop();
    await server().start("--disable=traefik");
    await server().waitUntilGone(HELM_CHARTS, TRAEFIK);
    await server().waitForFile("traefik.yaml", false);
    for (const type of [SERVICES, DEPLOYMENTS, SERVICE_ACCOUNTS]) await server().waitUntilGone(type, TRAEFIK);
    deepEqual(await revisions(world.admin, "traefik"), []);
    for (const name of ["helm-install-traefik", "helm-delete-traefik"]) {
      await server().waitUntilGone(JOBS, { namespace: "kube-system", name });
    }
    await isGone(world.admin, SECRETS, "chart-values-traefik");
    await isGone(world.admin, CONFIG_MAPS, "chart-content-traefik");
    for (const text of TRAEFIK_DEFINITIONS) {
      await world.admin.get(CUSTOM_RESOURCE_DEFINITIONS, { name: JSON.parse(text).metadata.name });
    }
    await world.admin.get(INGRESS_ROUTES, { namespace: ns.name, name: "mine" });
    equal((await world.admin.list<Service>(SERVICES, { namespace: "kube-system" })).items.length, 1);
  });
}
