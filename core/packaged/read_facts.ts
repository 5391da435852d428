// What the packaged parts need to know of the cluster and of this host. Reads only.
import { readdir } from "node:fs/promises";
import type { KubeClient, ResourceType } from "../kube/contract.ts";
import { orAbsent } from "../kube/one_object.ts";
import { NODES, SERVICE_CIDRS, SERVICES } from "../kube/resources.ts";
import type { KubeObject, Node, Service } from "../kube/types.ts";
import { errorMessage, isNoSuchFile, K3slbError } from "../shared/errors.ts";
import { type ClusterVersion, parseClusterVersion } from "./cluster_version.ts";
import type { IngressClass } from "./other_ingress.ts";
import { chartsFolder, HELM_CHART_TYPE, PACKAGED_NAMESPACE } from "../shared/k3s_names.ts";
import type { HelmChart } from "./traefik.ts";

const HELM_CHARTS: ResourceType<HelmChart> = HELM_CHART_TYPE;

const INGRESS_CLASSES: ResourceType<IngressClass> = {
  group: "networking.k8s.io",
  version: "v1",
  kind: "IngressClass",
  plural: "ingressclasses",
  namespaced: false,
};

/** @throws {K3slbError} code "cluster-version" if the server tells no version */
export async function readClusterVersion(client: KubeClient, signal: AbortSignal): Promise<ClusterVersion> {
  const { gitVersion = "" } = await client.raw<{ readonly gitVersion?: string }>("GET", "/version", { signal });
  const version = parseClusterVersion(gitVersion);
  if (version !== undefined) return version;
  throw new K3slbError(`The API server tells no version that can be read: "${gitVersion}"`, {
    code: "cluster-version",
    hint: "Deploy CoreDNS and Traefik yourself and start with --disable coredns,traefik",
  });
}

/** Services of all namespaces, only what {@linkcode chooseDns} reads of them. */
export async function readServices(client: KubeClient, signal: AbortSignal): Promise<readonly Service[]> {
  return (await client.list(SERVICES, { signal })).items;
}

/** The ranges of Service addresses; empty before Kubernetes 1.33. */
export async function readServiceCidrs(client: KubeClient, signal: AbortSignal): Promise<readonly string[]> {
  const items = await listIfKnown(client, SERVICE_CIDRS, { signal });
  return items.find(({ metadata }) => metadata?.name === "kubernetes")?.spec?.cidrs ?? [];
}

/** Every IngressClass; empty before Kubernetes 1.19. */
export async function readIngressClasses(client: KubeClient, signal: AbortSignal): Promise<readonly IngressClass[]> {
  return await listIfKnown(client, INGRESS_CLASSES, { signal });
}

/** Every Node. */
export async function readNodes(client: KubeClient, signal: AbortSignal): Promise<readonly Node[]> {
  return (await client.list(NODES, { signal })).items;
}

/** The HelmCharts beside ours. */
export async function readHelmCharts(client: KubeClient, signal: AbortSignal): Promise<readonly HelmChart[]> {
  return await listIfKnown(client, HELM_CHARTS, { namespace: PACKAGED_NAMESPACE, signal });
}

async function listIfKnown<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  options: { readonly namespace?: string; readonly signal: AbortSignal },
): Promise<readonly T[]> {
  return (await orAbsent(client.list(type, options)))?.items ?? [];
}

/**
 * Names of the chart archives on this host.
 *
 * @throws {K3slbError} code "chart-read" if the folder can't be read
 */
export async function listChartFiles(dataDir: string): Promise<readonly string[]> {
  try {
    return (await readdir(chartsFolder(dataDir))).filter((name) => name.endsWith(".tgz")).sort();
  } catch (error) {
    if (isNoSuchFile(error)) return [];
    throw chartError(chartsFolder(dataDir), error);
  }
}

function chartError(path: string, cause: unknown): K3slbError {
  return new K3slbError(`Cannot read charts from "${path}": ${errorMessage(cause)}`, {
    code: "chart-read",
    hint: "Make it readable, or take it away: then the chart comes from its repository",
    cause,
  });
}
