// What an API server has: its groups, versions and resources, read from the discovery paths.
// Facts: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api (the unaggregated form, which every version has).
import type { ResourceType } from "./contract.ts";
import { isNotFound } from "./errors.ts";

/** One GET whose answer is JSON. */
export type GetJson = <T>(path: string) => Promise<T>;

/** Every resource of `apiVersion`, such as `apps/v1`, without subresources; empty if the server does not have it. */
export async function discoverResources(get: GetJson, apiVersion: string): Promise<readonly ResourceType[]> {
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  const path = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  try {
    const answer = await get<{ readonly resources?: readonly DiscoveredResource[] }>(path);
    return (answer.resources ?? [])
      .filter((resource) => !resource.name.includes("/"))
      .map(({ name, kind, namespaced, verbs }) => ({ group, version, kind, plural: name, namespaced, verbs }));
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

/** Every `group/version`, the preferred version of each group first. */
export async function discoverVersions(get: GetJson): Promise<readonly string[]> {
  const [core, groups] = await Promise.all([
    get<{ readonly versions?: readonly string[] }>("/api"),
    get<{ readonly groups?: readonly DiscoveredGroup[] }>("/apis"),
  ]);
  const named = (groups.groups ?? []).flatMap((group) => {
    const versions = group.versions.map((version) => version.groupVersion);
    const preferred = group.preferredVersion?.groupVersion;
    return preferred === undefined ? versions : [preferred, ...versions.filter((version) => version !== preferred)];
  });
  return [...core.versions ?? [], ...named];
}

interface DiscoveredResource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly verbs: readonly string[];
}

interface DiscoveredGroup {
  readonly versions: readonly { readonly groupVersion: string }[];
  readonly preferredVersion?: { readonly groupVersion: string };
}
