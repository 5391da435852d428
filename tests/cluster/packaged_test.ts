// What the K3s documentation promises in "Networking", "CoreDNS" and "Traefik Ingress Controller": one test a sentence. Versions
// of Kubernetes that are not here are tried in tests/unit/core/packaged/traefik_test.ts.
import { deepEqual, doesNotMatch, equal, match, ok } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { HELM_CHART_CONFIG_CRD, HELM_CHART_CRD } from "../../core/helm/crds.ts";
import { FIELD_MANAGER, type ResourceType } from "../../core/kube/contract.ts";
import {
  CONFIG_MAPS,
  CUSTOM_RESOURCE_DEFINITIONS,
  DEPLOYMENTS,
  JOBS,
  PODS,
  SECRETS,
  SERVICES,
} from "../../core/kube/resources.ts";
import type { Job, KubeObject, Pod, Service } from "../../core/kube/types.ts";
import { isNotFound } from "../../core/kube/errors.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { enterWorld } from "../support/netns.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite } from "../support/world_suite.ts";
import { find, ServerFolder } from "./server_folder.ts";

interface Chart extends KubeObject {
  readonly spec?: { readonly [field: string]: unknown };
}

function helmKind(kind: string): ResourceType<Chart> {
  return { group: "helm.cattle.io", version: "v1", kind, plural: `${kind.toLowerCase()}s`, namespaced: true };
}

const HELM_CHARTS = helmKind("HelmChart");
const HELM_CHART_CONFIGS = helmKind("HelmChartConfig");
const COREDNS = { namespace: "kube-system", name: "coredns" };
const KUBE_DNS = { namespace: "kube-system", name: "kube-dns" };
const TRAEFIK = { namespace: "kube-system", name: "traefik" };
const DNS_IP = "10.43.0.10";

/** What a real cluster has and the in-memory one has not: the API server's Service; and the kinds of Helm charts. */
async function prepare(world: World): Promise<void> {
  const api = { namespace: "default", name: "kubernetes" };
  if (world.kind === "memory" && await find(world.admin, SERVICES, api) === undefined) {
    const spec = { clusterIP: "10.43.0.1", ports: [{ name: "https", port: 443, targetPort: 6443 }] };
    await world.admin.create(SERVICES, { metadata: api, spec } as Service);
  }
  for (const crd of [HELM_CHART_CRD, HELM_CHART_CONFIG_CRD]) {
    await world.admin.apply(CUSTOM_RESOURCE_DEFINITIONS, crd, { fieldManager: FIELD_MANAGER });
  }
  await waitUntil("HelmCharts to be served", async () => (await world.admin.list(HELM_CHARTS)).items.length >= 0);
}

/** Ends the pods of Helm's Jobs well: there is no Helm in a world. The returned function stops it. */
function playHelm(world: World): () => Promise<void> {
  const ending = new AbortController();
  const selection = { namespace: "kube-system", labelSelector: "helmcharts.helm.cattle.io/chart" };
  const play = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      for (const { metadata, status, spec } of (await world.admin.list(PODS, selection)).items) {
        if (status?.phase === "Succeeded" || spec?.nodeName === undefined || metadata?.name === undefined) continue;
        const key = { namespace: "kube-system", name: metadata.name };
        const body = { status: { phase: "Succeeded" } };
        await world.admin.patch(PODS, key, { type: "merge", body }, { subresource: "status" }).catch((error) => {
          if (!isNotFound(error)) throw error;
        });
      }
      await SYSTEM_CLOCK.sleep(HELM_POLL_MS, ending.signal).catch(() => {});
    }
  };
  const done = play();
  return async () => {
    ending.abort();
    await done;
  };
}

const HELM_POLL_MS = 100;

/** Runs `body` with a data folder; afterwards nothing of the packaged parts is left. */
async function withFolder(world: World, body: (folder: ServerFolder) => Promise<void>): Promise<void> {
  await prepare(world);
  const stopHelm = playHelm(world);
  const folder = new ServerFolder(world);
  try {
    await body(folder);
  } finally {
    await folder.stop();
    await folder.start("--disable=coredns,traefik");
    await folder.waitUntilGone(SERVICES, KUBE_DNS);
    await folder.waitUntilGone(CONFIG_MAPS, COREDNS);
    await folder.waitUntilGone(HELM_CHARTS, TRAEFIK);
    await folder.remove();
    await stopHelm();
  }
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, servers: 0, agents: false });

  test("CoreDNS is deployed automatically on server startup", async ({ world, ns }) => {
    // What a tenant calls his own Service decides nothing.
    await ns.createService({ name: "kube-dns", ports: [53], labels: { "k8s-app": "kube-dns" } });
    await withFolder(world, async (folder) => {
      await folder.start();
      const service = await folder.waitForObject(SERVICES, KUBE_DNS);
      equal(service.spec?.clusterIP, DNS_IP);
      const deployment = await folder.waitForObject(DEPLOYMENTS, COREDNS);
      match(deployment.spec?.template?.spec?.containers[0]?.image ?? "", /coredns/);
      const lines = world.nodes.flatMap(({ name, ip4, ip6 }) => [`${ip4} ${name}`, `${ip6} ${name}`]);
      const configMap = await folder.waitForObject(CONFIG_MAPS, COREDNS, ({ data }) => {
        return lines.every((line) => data?.["NodeHosts"]?.split("\n").includes(line));
      });
      match(configMap.data?.["Corefile"] ?? "", /import \/etc\/coredns\/custom\/\*\.override/);
      const dns = await folder.waitForObject(CONFIG_MAPS, { namespace: "kube-system", name: "cluster-dns" });
      match(dns.data?.["clusterDNS"] ?? "", /^10\.43\.0\.10$/);
      await folder.waitForLog(/Deploying CoreDNS at 10\.43\.0\.10/);
      equal(folder.mode("coredns.yaml"), 0o600);
      equal(folder.mode("."), 0o700);
    });
  });

  test("CoreDNS: --dns-upstream and --dns-hosts are in its Corefile, and no edit of someone's", async ({ world }) => {
    await withFolder(world, async (folder) => {
      await folder.start("--dns-upstream=198.51.100.53", "--dns-hosts=db.example.com=10.0.0.5,web.example.com=fd00::5");
      const configMap = await folder.waitForObject(
        CONFIG_MAPS,
        COREDNS,
        ({ data }) => data?.["NodeHosts"] !== undefined,
      );
      const text = configMap.data?.["Corefile"] ?? "";
      match(text, /\n {4}forward \. 198\.51\.100\.53\n/);
      match(text, /NodeHosts \{\n {6}10\.0\.0\.5 db\.example\.com\n {6}fd00::5 web\.example\.com\n {6}ttl 60\n/);
      doesNotMatch(folder.log(), /coredns-custom/);
    });
  });

  test("Nodes Without a Hostname can cause problems with domain name resolution: NodeHosts has each node by its name all the same", async ({ world }) => {
    const node = world.node("node1");
    const kubeconfig = await world.api.kubeconfig("admin", ["system:masters"]);
    await node.startAgent({ hostName: "localhost", kubeconfig, args: ["--node-name", "node1"] });
    try {
      await withFolder(world, async (folder) => {
        await folder.start();
        const { data } = await folder.waitForObject(
          CONFIG_MAPS,
          COREDNS,
          ({ data }) => data?.["NodeHosts"]?.split("\n").includes(`${node.ip4} node1`) ?? false,
        );
        ok(!data?.["NodeHosts"]?.includes("localhost"), data?.["NodeHosts"]);
      });
    } finally {
      await node.stopAgent();
    }
  });

  test("CoreDNS: an edit of its ConfigMap gets an Event that names coredns-custom, and a restart takes it back", async ({ world }) => {
    await withFolder(world, async (folder) => {
      await folder.start();
      const packaged = await folder.waitForObject(
        CONFIG_MAPS,
        COREDNS,
        ({ data }) => data?.["NodeHosts"] !== undefined,
      );
      await world.admin.patch(CONFIG_MAPS, COREDNS, { type: "merge", body: { data: { Corefile: "mine" } } }, {
        fieldManager: "kubectl-edit",
      });
      const event = await folder.waitForEvent(COREDNS, "PackagedConfigEdited");
      match(event.message ?? "", /coredns-custom/);
      await folder.stop();
      await folder.start();
      const back = await folder.waitForObject(CONFIG_MAPS, COREDNS, ({ data }) => data?.["Corefile"] !== "mine");
      deepEqual(back.data, packaged.data);
    });
  });

  test("To disable it, configure all servers in the cluster with the `--disable=coredns` option", async ({ world }) => {
    await withFolder(world, async (folder) => {
      await folder.start();
      await folder.waitForObject(DEPLOYMENTS, COREDNS);
      await folder.waitForObject(HELM_CHARTS, TRAEFIK);
      await folder.stop();
      await folder.start("--disable=coredns");
      await folder.waitForFile("coredns.yaml", false);
      for (const type of [SERVICES, DEPLOYMENTS, CONFIG_MAPS] as readonly ResourceType<KubeObject>[]) {
        await folder.waitUntilGone(type, type.kind === "Service" ? KUBE_DNS : COREDNS);
      }
      ok(await find(world.admin, HELM_CHARTS, TRAEFIK) !== undefined);
      await staysTrue("CoreDNS stays away", async () => {
        return !folder.has("coredns.yaml") && await find(world.admin, CONFIG_MAPS, COREDNS) === undefined;
      }, 500);
    });
  });

  test("If you don't install CoreDNS, you will need to install a cluster DNS provider yourself, and it is left alone", async ({ world }) => {
    await withFolder(world, async (folder) => {
      // At an address of the server's choice: a real one may hold the DNS's own for minutes after its Service went.
      const spec = { ports: [{ name: "dns", port: 53, protocol: "UDP" }], selector: { app: "dns" } };
      await world.admin.create(SERVICES, { metadata: KUBE_DNS, spec } as Service);
      try {
        await folder.start();
        await folder.waitForLog(/Skipping CoreDNS: the cluster already has a DNS that is not ours/);
        await folder.waitForObject(HELM_CHARTS, TRAEFIK);
        ok(!folder.has("coredns.yaml"));
        deepEqual((await world.admin.get(SERVICES, KUBE_DNS)).spec?.selector, { app: "dns" });
      } finally {
        await world.admin.delete(SERVICES, KUBE_DNS);
      }
    });
  });

  test("Traefik is deployed by default when starting the server; the default config file is found in `server/manifests/traefik.yaml`", async ({ world }) => {
    await withFolder(world, async (folder) => {
      await folder.start();
      const chart = await folder.waitForObject(HELM_CHARTS, TRAEFIK);
      equal(chart.spec?.["chart"], "traefik");
      match(String(chart.spec?.["valuesContent"]), /priorityClassName: system-cluster-critical/);
      await folder.waitForObject(CUSTOM_RESOURCE_DEFINITIONS, { name: "ingressroutes.traefik.io" });
      match(folder.read("traefik.yaml"), /kind: HelmChart/);
      equal(folder.mode("traefik.yaml"), 0o600);
      await folder.waitForLog(/Deploying Traefik v3/);
    });
  });

  test("The Traefik ingress controller will use ports 80 and 443 on the host (these will not be usable for HostPort)", async ({ world, ns }) => {
    await withFolder(world, async (folder) => {
      await folder.start();
      await folder.waitForObject(HELM_CHARTS, TRAEFIK);
      // The Service that the chart makes.
      await ns.createService({ name: "traefik", ports: [80, 443] });
      await ns.waitForLbPods("traefik", world.nodes.map(({ name }) => name));
      const spec = { containers: [{ name: "c", image: "x", ports: [{ containerPort: 80, hostPort: 80 }] }] };
      await world.admin.create(PODS, { metadata: { name: "late", namespace: ns.name }, spec } as Pod);
      const pod = await folder.waitForObject(PODS, { namespace: ns.name, name: "late" }, ({ status }) => {
        return status?.conditions?.some(({ reason }) => reason === "Unschedulable") ?? false;
      });
      match(pod.status?.conditions?.find(({ reason }) => reason === "Unschedulable")?.message ?? "", /free ports/);
      await world.admin.delete(PODS, { namespace: ns.name, name: "late" });
      await ns.deleteService("traefik");
    });
  });

  test("The `traefik.yaml` file should not be edited manually, because it is overwritten again once restarted", async ({ world }) => {
    await withFolder(world, async (folder) => {
      await folder.start();
      const key = { namespace: "kube-system", name: "mine" };
      await folder.waitForObject(HELM_CHARTS, TRAEFIK);
      const packaged = folder.read("traefik.yaml");
      folder.write(
        "traefik.yaml",
        `${packaged}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine, namespace: kube-system}\n`,
      );
      await folder.waitForObject(CONFIG_MAPS, key);
      await folder.stop();
      await folder.start();
      await waitUntil("the packaged text", () => folder.read("traefik.yaml") === packaged);
      await folder.waitUntilGone(CONFIG_MAPS, key);
    });
  });

  test("You can customize Traefik by creating an additional `HelmChartConfig` manifest in `server/manifests`", async ({ world }) => {
    await withFolder(world, async (folder) => {
      const hashOf = ({ spec }: Job): string =>
        spec?.template?.metadata?.annotations?.["helmcharts.helm.cattle.io/configHash"] ?? "";
      const job = { namespace: "kube-system", name: "helm-install-traefik" };
      await folder.start();
      const before = hashOf(await folder.waitForObject(JOBS, job));
      folder.write(
        "traefik-config.yaml",
        `apiVersion: helm.cattle.io/v1
kind: HelmChartConfig
metadata: {name: traefik, namespace: kube-system}
spec:
  valuesContent: |
    deployment:
      replicas: 2
`,
      );
      const values = Buffer.from("deployment:\n  replicas: 2\n").toString("base64");
      const secret = { namespace: "kube-system", name: "chart-values-traefik" };
      await folder.waitForObject(SECRETS, secret, ({ data }) => data?.["HelmChartConfigValuesContent"] === values);
      await folder.waitForObject(JOBS, job, (changed) => hashOf(changed) !== before);
      await world.admin.delete(HELM_CHART_CONFIGS, TRAEFIK);
    });
  });

  test("To disable it, start each server with the `--disable traefik` option", async ({ world }) => {
    await withFolder(world, async (folder) => {
      await folder.start();
      await folder.waitForObject(HELM_CHARTS, TRAEFIK);
      await folder.stop();
      await folder.start("--disable", "traefik");
      await folder.waitUntilGone(HELM_CHARTS, TRAEFIK);
      await folder.waitForFile("traefik.yaml", false);
      await folder.waitForObject(DEPLOYMENTS, COREDNS);
      await staysTrue("Traefik stays away", () => !folder.has("traefik.yaml"), 500);
    });
  });

  test("A `traefik.yaml.skip` keeps the file from being written, and leaves what is deployed", async ({ world }) => {
    await withFolder(world, async (folder) => {
      folder.write("traefik.yaml.skip", "");
      await folder.start();
      await folder.waitForObject(DEPLOYMENTS, COREDNS);
      ok(!folder.has("traefik.yaml"));
      equal(await find(world.admin, HELM_CHARTS, TRAEFIK), undefined);
    });
  });

  test("Traefik v2 or later is installed if v1 is not already present, and the log says how to migrate", async ({ world }) => {
    await prepare(world);
    await world.admin.create(HELM_CHARTS, {
      apiVersion: "helm.cattle.io/v1",
      kind: "HelmChart",
      metadata: TRAEFIK,
      spec: { chart: "https://%{KUBERNETES_API}%/static/charts/traefik-1.81.0.tgz" },
    });
    await withFolder(world, async (folder) => {
      try {
        await folder.start();
        await folder.waitForLog(
          /Skipping Traefik v3 deployment due to existing Traefik v1 installation .*migration\/v1-to-v2/,
        );
        await folder.waitForObject(DEPLOYMENTS, COREDNS);
        ok(!folder.has("traefik.yaml"));
        match(String((await world.admin.get(HELM_CHARTS, TRAEFIK)).spec?.["chart"]), /traefik-1\.81\.0/);
      } finally {
        await world.admin.delete(HELM_CHARTS, TRAEFIK);
      }
    });
  });
}
