// Traefik v2 of a K3s, with K3s's chart of definitions and routes of users in place, taken over and upgraded to v3: no definition and no
// route is lost. Every part real; started by `deno task test:packaged`, in the order of the file, on one cluster. K3s's own archives can't
// be had: v2 is the chart that K3s repacked, the chart of definitions is made of those that K3s has, with nothing that keeps them.
import { deepEqual, equal, ok } from "node:assert/strict";
import { HELM_CHARTS, type HelmChart } from "../../core/helm/helm_chart.ts";
import type { ResourceType } from "../../core/kube/contract.ts";
import { CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, SERVICES } from "../../core/kube/resources.ts";
import type { KubeObject } from "../../core/kube/types.ts";
import { TRAEFIK_V2, TRAEFIK_V3 } from "../../core/packaged/versions.ts";
import { find, ServerFolder } from "../cluster/server_folder.ts";
import { enterWorld } from "../support/netns.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite } from "../support/world_suite.ts";
import { marksOf } from "../unit/core/packaged/fixtures.ts";
import {
  bringCharts,
  bringK3sDefinitions,
  GATEWAYS,
  HTTP_ROUTES,
  INGRESS_ROUTES,
  INGRESSES,
  lackingParts,
  MIDDLEWARES,
  revisions,
  TRAEFIK,
  waitForDeployed,
  waitForRoute,
} from "./packaged_world.ts";
import { givenParts } from "./parts.ts";
import { ensureRealImages } from "./real_images.ts";

const CRD_ARCHIVE = "traefik-crd-34.2.1+up34.2.0.tgz";
const TRAEFIK_CRD = { namespace: "kube-system", name: "traefik-crd" };
const STATIC = "https://%{KUBERNETES_API}%/static/charts/";
const parts = givenParts();
const lacking = lackingParts(parts);

/** What K3s's own manifest deploys, with its marks on it. */
function k3sChart(name: string, archive: string): HelmChart {
  return {
    apiVersion: "helm.cattle.io/v1",
    kind: "HelmChart",
    metadata: { name, namespace: "kube-system", annotations: marksOf("traefik") },
    spec: { chart: `${STATIC}${archive}` },
  } as HelmChart;
}

/** Names and uids of all definitions, and of the users' objects. */
async function inventory(world: World, namespace: string): Promise<ReadonlyMap<string, string>> {
  const types: readonly ResourceType<KubeObject>[] = [INGRESSES, INGRESS_ROUTES, MIDDLEWARES, GATEWAYS, HTTP_ROUTES];
  const lists = await Promise.all(types.map(async (type) => (await world.admin.list(type, { namespace })).items));
  const definitions = (await world.admin.list(CUSTOM_RESOURCE_DEFINITIONS)).items.filter(({ metadata }) =>
    /\.(traefik\.io|traefik\.containo\.us|gateway\.networking\.k8s\.io)$/.test(metadata?.name ?? "")
  );
  const objects = [...lists.flat(), ...definitions];
  return new Map(objects.map(({ kind, metadata }) => [`${kind} ${metadata?.name}`, metadata?.uid ?? ""]));
}

if (await enterWorld(import.meta.url)) {
  const images = lacking === undefined ? await ensureRealImages(parts) : [];
  const register = worldSuite({ nodes: 2, servers: 0, images });
  const test: typeof register = (name, fn) => register(name, fn, lacking === undefined ? {} : { skip: lacking });
  let folder: ServerFolder | undefined;
  Deno.test.afterAll(() => folder?.remove());

  test("a K3s's Traefik v2 is taken over and upgraded: every definition and every route is there, and answers", async ({ world, ns }) => {
    folder = new ServerFolder(world);
    await bringCharts(folder, parts, [TRAEFIK_V2.chart.version, TRAEFIK_V3.chart.version]);
    await bringK3sDefinitions(folder, parts, CRD_ARCHIVE);
    // Without the packaged file the Helm controller deploys what K3s left.
    folder.write("traefik.yaml.skip", "");
    await folder.start();
    await folder.waitForObject(CUSTOM_RESOURCE_DEFINITIONS, { name: "helmcharts.helm.cattle.io" }, ({ status }) => {
      return status?.conditions?.some(({ type, status }) => type === "Established" && status === "True") ?? false;
    });
    await waitUntil("HelmCharts", async () => {
      return await world.admin.create(HELM_CHARTS, k3sChart("traefik-crd", CRD_ARCHIVE));
    });
    await waitForDeployed(folder, "traefik-crd", 1);
    await world.admin.create(HELM_CHARTS, k3sChart("traefik", `traefik-${TRAEFIK_V2.chart.version}.tgz`));
    await waitForDeployed(folder, "traefik", 1);
    await makeRoutes(world, ns.name);
    await ns.createApp({ name: "web", nodes: ["node1"] });
    await ns.createService({ name: "web", ports: [80], spec: { type: "ClusterIP" } });
    const before = await inventory(world, ns.name);
    for (const name of ["gateways.gateway.networking.k8s.io", "middlewares.traefik.io"]) {
      ok(before.has(`CustomResourceDefinition ${name}`), [...before.keys()].join(", "));
    }

    await folder.stop();
    folder.delete("traefik.yaml.skip");
    await folder.start();
    await waitForDeployed(folder, "traefik", 2);
    equal(
      (await world.admin.get(DEPLOYMENTS, TRAEFIK)).spec?.template?.spec?.containers[0]?.image,
      `docker.io/traefik:${TRAEFIK_V3.image.tag}`,
    );
    await waitForRoute(world, folder, "ingress.example.com");
    await waitForRoute(world, folder, "route.example.com");
    const after = await inventory(world, ns.name);
    for (const [name, uid] of before) equal(after.get(name), uid, `${name} is lost or was made anew`);
    deepEqual(await revisions(world.admin, "traefik-crd"), [1]);
    const left = await world.admin.get(HELM_CHARTS, TRAEFIK_CRD);
    equal(left.metadata?.annotations?.["helmcharts.helm.cattle.io/unmanaged"], "true");
    // v3's definitions have come, into those that K3s's release made.
    const definition = await world.admin.get(CUSTOM_RESOURCE_DEFINITIONS, { name: "middlewares.traefik.io" });
    ok(definition.metadata?.managedFields?.some(({ manager }) => manager === "k3slb"));
    await staysTrue("revision 2", async () => (await revisions(world.admin, "traefik")).at(-1) === 2, 20_000);
  });

  test("--disable traefik after it: Traefik goes, every definition and every route stays", async ({ world }) => {
    if (folder === undefined) throw new Error("The first test has not started the server");
    const namespace = "test-1";
    const before = await inventory(world, namespace);
    await folder.stop();
    await folder.start("--disable=traefik");
    await folder.waitUntilGone(HELM_CHARTS, TRAEFIK);
    await folder.waitUntilGone(SERVICES, TRAEFIK);
    await staysTrue("everything of the users", async () => {
      const after = await inventory(world, namespace);
      return [...before].every(([name, uid]) => after.get(name) === uid);
    }, 10_000);
    ok(await find(world.admin, HELM_CHARTS, TRAEFIK_CRD) !== undefined);
  });
}

/** One object of each kind that a lost definition would take along. */
async function makeRoutes(world: World, namespace: string): Promise<void> {
  const backend = { service: { name: "web", port: { number: 80 } } };
  await world.admin.create(INGRESSES, {
    metadata: { name: "web", namespace },
    spec: { rules: [{ host: "ingress.example.com", http: { paths: [{ path: "/", pathType: "Prefix", backend }] } }] },
  });
  const services = [{ name: "web", port: 80 }];
  const middlewares = [{ name: "strip" }];
  await world.admin.create(MIDDLEWARES, {
    apiVersion: "traefik.io/v1alpha1",
    kind: "Middleware",
    metadata: { name: "strip", namespace },
    spec: { stripPrefix: { prefixes: ["/shop"] } },
  });
  await world.admin.create(INGRESS_ROUTES, {
    apiVersion: "traefik.io/v1alpha1",
    kind: "IngressRoute",
    metadata: { name: "web", namespace },
    spec: { routes: [{ match: "Host(`route.example.com`)", kind: "Rule", services, middlewares }] },
  });
  await world.admin.create(GATEWAYS, {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name: "web", namespace },
    spec: { gatewayClassName: "traefik", listeners: [{ name: "web", protocol: "HTTP", port: 8000 }] },
  });
  await world.admin.create(HTTP_ROUTES, {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    metadata: { name: "web", namespace },
    spec: { parentRefs: [{ name: "web" }], rules: [{ backendRefs: services }] },
  });
}
