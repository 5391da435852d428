// A cluster of real nodes with the real packaged parts: a data folder with the charts in it, the server, and asking Traefik by HTTP.
import { equal } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mkdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HELM_CHARTS, type HelmChart } from "../../core/helm/helm_chart.ts";
import type { KubeClient, ResourceType } from "../../core/kube/contract.ts";
import { SECRETS } from "../../core/kube/resources.ts";
import type { KubeObject } from "../../core/kube/types.ts";
import { find, type ServerFolder } from "../cluster/server_folder.ts";
import { packChart } from "../support/helm_charts.ts";
import type { Host } from "../support/net_topology.ts";
import { runToEnd } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { type Chart, chartOf, withCharts } from "./charts.ts";
import { K3S_DEFINITIONS_CHART, type Parts } from "./parts.ts";

export const TRAEFIK = { namespace: "kube-system", name: "traefik" };
export const INGRESSES = kind("networking.k8s.io/v1", "Ingress", "ingresses");
export const INGRESS_ROUTES = kind("traefik.io/v1alpha1", "IngressRoute", "ingressroutes");
export const MIDDLEWARES = kind("traefik.io/v1alpha1", "Middleware", "middlewares");
export const GATEWAYS = kind("gateway.networking.k8s.io/v1", "Gateway", "gateways");
export const HTTP_ROUTES = kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes");

/** An object of which any field is looked at. */
export interface AnyObject extends KubeObject {
  readonly spec?: unknown;
  readonly status?: { readonly loadBalancer?: { readonly ingress?: readonly { readonly ip?: string }[] } };
}

function kind(apiVersion: string, name: string, plural: string): ResourceType<AnyObject> {
  const [group = "", version = ""] = apiVersion.split("/");
  return { group, version, kind: name, plural, namespaced: true };
}

/** What Traefik's tests need. */
const TRAEFIK_PARTS = ["charts", "klipperHelm", "coredns", "traefik", "helm4"] as const;

/** Why a test that needs `wanted` can't run here; `undefined` if it can. */
export function lackingParts(parts: Parts, wanted: readonly (keyof Parts)[] = TRAEFIK_PARTS): string | undefined {
  const lacking = wanted.filter((name) => parts[name] === undefined);
  return lacking.length === 0 ? undefined : `lacking: ${lacking.join(", ")}`;
}

/** Packs the pinned charts `versions` into the data folder, where the program looks for them. */
export async function bringCharts(folder: ServerFolder, parts: Parts, versions: readonly string[]): Promise<void> {
  const charts = staticCharts(folder);
  await withCharts(parts.charts ?? "", async (found) => {
    for (const version of versions) {
      const chart = chartOf(found, "traefik", version);
      if (chart === undefined) throw new Error(`There is no chart ${version} in ${parts.charts}`);
      await runToEnd([parts.helm4 ?? "helm", "package", chart.path, "-d", charts], { env: { HOME: tmpdir() } });
    }
  });
}

/** A chart of definitions as K3s has it: those of Traefik and of Gateway API as templates, and nothing that keeps them. */
export async function bringK3sDefinitions(folder: ServerFolder, parts: Parts, file: string): Promise<void> {
  await withCharts(parts.charts ?? "", (found) => {
    const chart = chartOf(found, "traefik", K3S_DEFINITIONS_CHART);
    if (chart === undefined) throw new Error(`There is no chart ${K3S_DEFINITIONS_CHART} in ${parts.charts}`);
    writeFileSync(join(staticCharts(folder), file), Buffer.from(k3sDefinitions(chart), "base64"));
  });
}

function k3sDefinitions({ definitions }: Chart): string {
  const taken = definitions.filter(({ metadata: { name } }) => !name.endsWith(".hub.traefik.io"));
  return packChart("traefik-crd", {
    "Chart.yaml": "apiVersion: v2\nname: traefik-crd\nversion: 34.2.1\n",
    "values.yaml": "{}\n",
    "definitions.yaml": taken.map((one) => `${JSON.stringify(one)}\n`).join("---\n"),
    "templates/definitions.yaml": '{{ .Files.Get "definitions.yaml" }}\n',
  });
}

function staticCharts(folder: ServerFolder): string {
  const path = join(folder.dataDir, "server", "static", "charts");
  mkdirSync(path, { recursive: true });
  return path;
}

/** Waits until the chart says that it is deployed, at `revision` if given. */
export async function waitForDeployed(folder: ServerFolder, name: string, revision?: number): Promise<HelmChart> {
  return await folder.waitForObject<HelmChart>(HELM_CHARTS, { namespace: "kube-system", name }, (chart) => {
    const found = chart.status?.conditions?.find(({ type }) => type === "Deployed");
    return found?.status === "True" && (revision === undefined || found.message === `Release revision ${revision}`);
  });
}

/** Revisions of the release, oldest first. */
export async function revisions(client: KubeClient, name: string): Promise<readonly number[]> {
  const { items } = await client.list(SECRETS, { namespace: "kube-system", labelSelector: `owner=helm,name=${name}` });
  return items.map(({ metadata }) => Number(metadata?.labels?.["version"])).sort((a, b) => a - b);
}

/** Asks as a machine outside of the cluster does; `undefined` if nothing answered with status 200. */
export async function ask(world: World, url: string, host: string): Promise<string | undefined> {
  const args = ["-sSk", "--max-time", "5", "-w", "\n%{http_code}", "-H", `Host: ${host}`, url];
  const { code, stdout } = await world.client.ns.exec("curl", args);
  const lines = stdout.trim().split("\n");
  return code === 0 && lines.at(-1) === "200" ? lines[0] : undefined;
}

/** Asks by every node's address until all answer, by HTTP and HTTPS. */
export async function waitForRoute(world: World, folder: ServerFolder, host: string, path = "/"): Promise<void> {
  for (const { name, ip4 } of world.nodes) {
    for (const scheme of ["http", "https"]) {
      const what = `an answer of ${host} by ${scheme} from ${name}`;
      await waitUntil(what, () => ask(world, `${scheme}://${ip4}${path}`, host), {
        deadlineMs: 30_000,
        intervalMs: 500,
        explain: () => folder.log(),
      });
    }
  }
}

/** Asks a DNS from a pod's network; the addresses that it told. */
export async function resolve(pod: Host, name: string, server: string): Promise<readonly string[]> {
  const { stdout } = await pod.ns.exec("busybox", ["nslookup", name, server]);
  // The server's own address stands behind a tab.
  return [...stdout.matchAll(/^Address(?: \d+)?: (\S+)/gm)].map(([, ip = ""]) => ip);
}

/** Fails unless nothing of the kind and name is there. */
export async function isGone(client: KubeClient, type: ResourceType<KubeObject>, name: string): Promise<void> {
  equal(await find(client, type, { namespace: "kube-system", name }), undefined, `${type.kind} ${name} is there`);
}
