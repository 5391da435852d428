// URLs of the Kubernetes API, and the names of what they address. Pure.
import type { ResourceType } from "./contract.ts";
import type { RequestAction } from "./errors.ts";
import type { KubeObject } from "./types.ts";

/** Parameters of a URL; `undefined` and empty ones are left out. */
export type PathQuery = Readonly<Record<string, string | undefined>>;

/** The path of one object, or of a collection if `key` has no name. */
export function objectPath(
  type: ResourceType<KubeObject>,
  key: { readonly namespace?: string | undefined; readonly name?: string | undefined },
  options: { readonly subresource?: string | undefined; readonly query?: PathQuery } = {},
): string {
  const parts = type.group === "" ? ["api", type.version] : ["apis", type.group, type.version];
  if (type.namespaced && key.namespace !== undefined) parts.push("namespaces", key.namespace);
  parts.push(type.plural);
  if (key.name !== undefined) parts.push(key.name);
  if (options.subresource !== undefined) parts.push(options.subresource);
  const path = `/${parts.map(encodeURIComponent).join("/")}`;
  const query = renderQuery(options.query ?? {});
  return query === "" ? path : `${path}?${query}`;
}

/** The resource as RBAC and kubectl name it, such as `daemonsets.apps` or `services/status`. */
function resourceLabel(type: ResourceType<KubeObject>, subresource?: string): string {
  const resource = type.group === "" ? type.plural : `${type.plural}.${type.group}`;
  return subresource === undefined ? resource : `${resource}/${subresource}`;
}

/** What a request wants, for messages. */
export function action(
  verb: string,
  type: ResourceType<KubeObject>,
  key: { readonly namespace?: string | undefined; readonly name?: string | undefined },
  subresource?: string,
): RequestAction {
  return {
    verb,
    resource: resourceLabel(type, subresource),
    ...(key.namespace === undefined ? {} : { namespace: key.namespace }),
    ...(key.name === undefined ? {} : { name: key.name }),
  };
}

function renderQuery(query: PathQuery): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== "") parameters.set(name, value);
  }
  return parameters.toString();
}
