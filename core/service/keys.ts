// How objects lead to the Service that they belong to, and the order of Services by age. Pure.
import { objectKey } from "../kube/request_path.ts";
import type { DaemonSet, EndpointSlice, Pod, Service } from "../kube/types.ts";
import { compareText } from "../shared/compare_text.ts";
import { SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "./labels.ts";

export { objectKey };

/** `namespace/name` of a Service. */
export type ServiceKey = string;

/** Label on EndpointSlices that names their Service. */
export const SLICE_SERVICE_LABEL = "kubernetes.io/service-name";

/** The key of the Service called `name` in `namespace`. */
function serviceKey(namespace: string, name: string): ServiceKey {
  return `${namespace}/${name}`;
}

/** Namespace and name in a key. */
export function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf("/");
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** The Service that a DaemonSet or one of its pods serves, by label. */
export function servedServiceKey(object: DaemonSet | Pod): ServiceKey | undefined {
  const labels = object.metadata?.labels;
  const name = labels?.[SERVICE_NAME_LABEL];
  const namespace = labels?.[SERVICE_NAMESPACE_LABEL];
  return name && namespace ? serviceKey(namespace, name) : undefined;
}

/** The Service whose endpoints a slice lists. */
export function sliceServiceKey(slice: EndpointSlice): ServiceKey | undefined {
  const name = slice.metadata?.labels?.[SLICE_SERVICE_LABEL];
  return name ? serviceKey(slice.metadata?.namespace ?? "", name) : undefined;
}

/** Oldest first; of two of the same second the one whose namespace and name sort first, so that the order is the same everywhere. */
export function byAge(a: Service, b: Service): number {
  return compareText(String(a.metadata?.creationTimestamp ?? ""), String(b.metadata?.creationTimestamp ?? "")) ||
    compareText(objectKey(a), objectKey(b));
}
