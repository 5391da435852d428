// URLs of the Kubernetes API, and the names of what they address. Pure.
import { present } from "../shared/values.ts";
import type { ResourceType } from "./contract.ts";
import type { RequestAction } from "./errors.ts";
import type { KubeObject } from "./types.ts";

/** Parameters of a URL; `undefined` and empty ones are left out. */
export type PathQuery = Readonly<Record<string, string | undefined>>;

/** `namespace/name`, or `name` for cluster-scoped objects. */
export function objectKey({ metadata }: KubeObject): string {
  const { namespace = "", name = "" } = metadata ?? {};
  return namespace === "" ? name : `${namespace}/${name}`;
}

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
  const query = Object.entries(options.query ?? {}).flatMap(([name, value]) => value ? [[name, value]] : []);
  return query.length === 0 ? path : `${path}?${new URLSearchParams(query)}`;
}

/** What a request wants, for messages. */
export function requestAction(
  verb: string,
  type: ResourceType<KubeObject>,
  key: { readonly namespace?: string | undefined; readonly name?: string | undefined },
  subresource?: string,
): RequestAction {
  const resource = type.group === "" ? type.plural : `${type.plural}.${type.group}`;
  return present({
    verb,
    resource: subresource === undefined ? resource : `${resource}/${subresource}`,
    namespace: key.namespace,
    name: key.name,
  });
}
