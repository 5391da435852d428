// What the packaged parts need to know of the cluster and of this host. Reads only.
import { readdir } from "node:fs/promises";
import type { KubeClient, ListOptions, ResourceType } from "../kube/contract.ts";
import { orAbsent } from "../kube/one_object.ts";
import type { KubeObject } from "../kube/types.ts";
import { errorMessage, isNoSuchFile, K3slbError } from "../shared/errors.ts";
import { type ClusterVersion, parseClusterVersion } from "./cluster_version.ts";
import type { IngressClass } from "./other_ingress.ts";
import { chartsFolder } from "../shared/k3s_names.ts";

/** Before Kubernetes 1.19 there are none. */
export const INGRESS_CLASSES: ResourceType<IngressClass> = {
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

/** Objects of a kind that the cluster may lack; none then. */
export async function listIfKnown<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  options: ListOptions,
): Promise<readonly T[]> {
  return (await orAbsent(client.list(type, options)))?.items ?? [];
}

/**
 * Names of the chart archives on this host.
 *
 * @throws {K3slbError} code "chart-read" if the folder can't be read
 */
export async function listChartFiles(dataDir: string): Promise<readonly string[]> {
  const folder = chartsFolder(dataDir);
  try {
    return (await readdir(folder)).filter((name) => name.endsWith(".tgz")).sort();
  } catch (cause) {
    if (isNoSuchFile(cause)) return [];
    throw new K3slbError(`Cannot read charts from "${folder}": ${errorMessage(cause)}`, {
      code: "chart-read",
      hint: "Make it readable, or take it away: then the chart comes from its repository",
      cause,
    });
  }
}
