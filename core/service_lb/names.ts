// Names of a Service's objects, and how objects lead back to their Service. Pure.
// Facts: k3s `pkg/cloudprovider/servicelb.go` (name of the DaemonSet), labels of its pods.
import type { DaemonSet, EndpointSlice, KubeObject, Pod, Service } from "../kube/types.ts";
import { POOL_LABEL, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "./labels.ts";

/** `namespace/name` of a Service. */
export type ServiceKey = string;

/** The key of the Service called `name` in `namespace`. */
export function serviceKey(namespace: string, name: string): ServiceKey {
  return `${namespace}/${name}`;
}

/** The key of an object of any namespaced kind. */
export function objectKey(object: KubeObject): string {
  return serviceKey(object.metadata?.namespace ?? "", object.metadata?.name ?? "");
}

/** Namespace and name in a key. */
export function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf("/");
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** Name of a Service's DaemonSet: 48 characters of the Service's name without hyphens at the cut, and 8 of its uid. */
export function daemonSetName(service: Service): string {
  const name = (service.metadata?.name ?? "").slice(0, MAX_NAME_PART).replace(/-+$/, "");
  return `svclb-${name}-${(service.metadata?.uid ?? "").slice(0, UID_PART)}`;
}

/** The name that K3s gave before it added a part of the uid. */
export function oldDaemonSetName(service: Service): string {
  return `svclb-${service.metadata?.name ?? ""}`;
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
  const name = slice.metadata?.labels?.["kubernetes.io/service-name"];
  return name ? serviceKey(slice.metadata?.namespace ?? "", name) : undefined;
}

/** The pool that a Service asks for; `undefined` for every node. */
export function poolOf(service: Service): string | undefined {
  const pool = service.metadata?.labels?.[POOL_LABEL];
  return pool ? pool : undefined;
}

const MAX_NAME_PART = 48;
const UID_PART = 8;
