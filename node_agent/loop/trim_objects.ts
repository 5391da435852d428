// The part of each watched object that the agent reads. Everything else is dropped before it is kept, so that memory does not
// grow with annotations, managed fields and pod specs. Pure.
import type { EndpointSlice, Node, Pod, Service } from "../../core/kube/types.ts";
import {
  FORWARDING_CONDITION,
  MATCH_ADDRESSES_ANNOTATION,
  MATCH_INTERFACES_ANNOTATION,
  PROGRAMMED_CONDITION,
  PUBLISHED_ADDRESSES_ANNOTATION,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
  SOURCE_RANGES_ANNOTATION,
} from "../../core/service_lb/labels.ts";

/** Label on EndpointSlices that names their Service. */
export const SLICE_SERVICE_LABEL = "kubernetes.io/service-name";

const POD_LABELS = [SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL];
const SERVICE_ANNOTATIONS = [SOURCE_RANGES_ANNOTATION, MATCH_ADDRESSES_ANNOTATION, MATCH_INTERFACES_ANNOTATION];

/** A pod without what the forwarding plan and the gate don't read. */
export function trimPod(pod: Pod): Pod {
  return {
    metadata: trimMetadata(pod.metadata, { labels: POD_LABELS }),
    spec: {
      containers: [],
      ...pick(pod.spec, ["nodeName", "readinessGates"]),
    },
    status: {
      ...pick(pod.status, ["phase"]),
      conditions: (pod.status?.conditions ?? []).filter((one) => one.type === PROGRAMMED_CONDITION),
    },
  };
}

/** A Service without what the forwarding plan doesn't read. */
export function trimService(service: Service): Service {
  return {
    metadata: trimMetadata(service.metadata, { annotations: SERVICE_ANNOTATIONS }),
    spec: pick(service.spec, [
      "type",
      "ports",
      "ipFamilies",
      "clusterIPs",
      "externalTrafficPolicy",
      "sessionAffinity",
      "sessionAffinityConfig",
      "loadBalancerSourceRanges",
      "loadBalancerIP",
    ]),
    status: pick(service.status, ["loadBalancer"]),
  };
}

/** An EndpointSlice without what the forwarding plan doesn't read. */
export function trimEndpointSlice(slice: EndpointSlice): EndpointSlice {
  return {
    metadata: trimMetadata(slice.metadata, { labels: [SLICE_SERVICE_LABEL] }),
    addressType: slice.addressType,
    ...(slice.ports ? { ports: slice.ports.map((port) => pick(port, ["name", "port", "protocol"])) } : {}),
    endpoints: (slice.endpoints ?? []).map((endpoint) => ({
      addresses: endpoint.addresses.slice(0, 1),
      ...pick(endpoint, ["conditions", "nodeName"]),
    })),
  };
}

/** A Node without what the agent doesn't read. */
export function trimNode(node: Node): Node {
  return {
    metadata: trimMetadata(node.metadata, { annotations: [PUBLISHED_ADDRESSES_ANNOTATION] }),
    spec: pick(node.spec, ["podCIDR", "podCIDRs"]),
    status: {
      ...pick(node.status, ["addresses"]),
      conditions: (node.status?.conditions ?? []).filter((one) => one.type === FORWARDING_CONDITION),
    },
  };
}

interface KeptKeys {
  readonly labels?: readonly string[];
  readonly annotations?: readonly string[];
}

type Metadata = NonNullable<Pod["metadata"]>;

function trimMetadata(metadata: Metadata | undefined, kept: KeptKeys): Metadata {
  return {
    ...pick(metadata, ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"]),
    ...(kept.labels ? { labels: pickKeys(metadata?.labels, kept.labels) } : {}),
    ...(kept.annotations ? { annotations: pickKeys(metadata?.annotations, kept.annotations) } : {}),
  };
}

function pick<T extends object, K extends keyof T>(from: T | undefined, keys: readonly K[]): Pick<T, K> {
  const kept = keys.filter((key) => from?.[key] !== undefined).map((key) => [key, from?.[key]]);
  return Object.fromEntries(kept) as Pick<T, K>;
}

function pickKeys(from: { [key: string]: string } | undefined, keys: readonly string[]): { [key: string]: string } {
  return Object.fromEntries(Object.entries(from ?? {}).filter(([key]) => keys.includes(key)));
}
