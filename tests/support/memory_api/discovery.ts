// What the server says about itself: /api, /apis and the resource lists below them, in the unaggregated form.
import { apiVersion, type Resource, type ResourceTable, VIRTUAL_KINDS } from "./resources.ts";
import type { Json, JsonObject } from "./json.ts";

/** Version that the server says it is. */
export const SERVER_VERSION: JsonObject = {
  major: "1",
  minor: "36",
  gitVersion: "v1.36.3",
  gitCommit: "0000000000000000000000000000000000000000",
  gitTreeState: "clean",
  buildDate: "2026-01-01T00:00:00Z",
  goVersion: "go1.26.0",
  compiler: "gc",
  platform: "linux/amd64",
};

/** In the order in which the server lists them for custom resources. */
const CUSTOM_VERBS: Json[] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
const VERBS: Json[] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

function entries(resource: Resource): JsonObject[] {
  const main: JsonObject = {
    name: resource.plural,
    singularName: resource.singular,
    namespaced: resource.namespaced,
    kind: resource.kind,
    verbs: VIRTUAL_KINDS.has(resource.kind) ? ["create"] : resource.custom ? CUSTOM_VERBS : VERBS,
  };
  if (resource.shortNames.length > 0) main["shortNames"] = [...resource.shortNames];
  if (resource.categories.length > 0) main["categories"] = [...resource.categories];
  const subs = resource.subresources.map((sub): JsonObject => ({
    name: `${resource.plural}/${sub}`,
    singularName: "",
    namespaced: resource.namespaced,
    kind: sub === "binding" ? "Binding" : resource.kind,
    verbs: sub === "binding" || sub === "eviction" || sub === "token" ? ["create"] : ["get", "patch", "update"],
  }));
  return [main, ...subs];
}

function groupOf(group: string, versions: readonly string[]): JsonObject {
  const list = versions.map((version): JsonObject => ({ groupVersion: `${group}/${version}`, version }));
  return { name: group, versions: list, preferredVersion: list[0] ?? {} };
}

function groups(table: ResourceTable): JsonObject[] {
  const versions = new Map<string, string[]>();
  for (const resource of table.all()) {
    if (resource.group === "") continue;
    const list = versions.get(resource.group) ?? [];
    if (!list.includes(resource.version)) list.push(resource.version);
    versions.set(resource.group, list);
  }
  return [...versions].map(([group, list]) => groupOf(group, list));
}

/**
 * Answer to a discovery path, such as `["apis", "apps", "v1"]`; nothing if the path is none or not served.
 */
export function discover(path: readonly string[], table: ResourceTable): JsonObject | undefined {
  const [root, ...rest] = path;
  if (root === "version" && rest.length === 0) return SERVER_VERSION;
  if (root === "api" && rest.length === 0) {
    return {
      kind: "APIVersions",
      versions: ["v1"],
      serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress: "127.0.0.1" }],
    };
  }
  if (root === "apis" && rest.length === 0) return { kind: "APIGroupList", apiVersion: "v1", groups: groups(table) };
  if (root === "apis" && rest.length === 1) {
    const found = groups(table).find((it) => it["name"] === rest[0]);
    if (found === undefined) return undefined;
    return { kind: "APIGroup", apiVersion: "v1", ...found };
  }
  const groupVersion = root === "api" && rest.length === 1
    ? rest[0]
    : root === "apis" && rest.length === 2
    ? rest.join("/")
    : undefined;
  if (groupVersion === undefined) return undefined;
  const resources = table.all().filter((it) => apiVersion(it) === groupVersion);
  if (resources.length === 0) return undefined;
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources: resources.flatMap(entries) };
}
