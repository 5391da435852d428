// What is kept of watched objects: only fields that a decision reads, so that memory follows our own objects. Pure.
// `metadata.resourceVersion` always stays: the store compares it.
import type { DaemonSet, EndpointSlice, Node, ObjectMeta, Pod, Service } from "../kube/types.ts";
import {
  APPLIED_HASH_ANNOTATION,
  DATAPLANE_LABEL,
  ENABLE_LABEL,
  ENABLED_ANNOTATION,
  EXCLUDE_NODE_LABEL,
  FORWARDING_CONDITION,
  IP_MODE_ANNOTATION,
  MATCH_ADDRESSES_ANNOTATION,
  POOL_LABEL,
  POOL_LABEL_PREFIX,
  PRIORITY_CLASS_ANNOTATION,
  PROGRAMMED_CONDITION,
  PUBLISHED_ADDRESSES_ANNOTATION,
  RESOURCES_ANNOTATION,
  SERVED_CONDITION,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
  SOURCE_RANGES_ANNOTATION,
  TOLERATIONS_ANNOTATION,
} from "./labels.ts";

/** A Service without what plays no part here. */
export function trimService(service: Service): Service {
  const { spec, status } = service;
  const condition = status?.conditions?.find(({ type }) => type === SERVED_CONDITION);
  return {
    metadata: {
      ...trimMetadata(service.metadata, { labels: SERVICE_LABELS, annotations: SERVICE_ANNOTATIONS }),
      ...pick(service.metadata, ["finalizers"]),
    },
    spec: {
      ...pick(spec, [
        "type",
        "loadBalancerClass",
        "loadBalancerSourceRanges",
        "clusterIP",
        "clusterIPs",
        "ipFamilies",
        "externalTrafficPolicy",
      ]),
      ports: (spec?.ports ?? []).map((port) => ({ port: port.port, ...pick(port, ["protocol", "nodePort"]) })),
    },
    status: {
      ...pick(status, ["loadBalancer"]),
      ...(condition === undefined ? {} : { conditions: [condition] }),
    },
  };
}

/** A Node with the labels, taints, addresses and conditions that decide. */
export function trimNode(node: Node): Node {
  const taints = node.spec?.taints;
  return {
    metadata: trimMetadata(node.metadata, { labels: isNodeLabel, annotations: NODE_ANNOTATIONS }),
    spec: taints === undefined ? {} : { taints: taints.map((taint) => ({ ...taint })) },
    status: {
      addresses: (node.status?.addresses ?? []).filter(({ type }) => type === "InternalIP" || type === "ExternalIP"),
      conditions: (node.status?.conditions ?? []).flatMap((condition) => {
        if (condition.type === "Ready") return [pick(condition, ["type", "status"]) as typeof condition];
        return condition.type === FORWARDING_CONDITION
          ? [pick(condition, ["type", "status", "lastHeartbeatTime"]) as typeof condition]
          : [];
      }),
    },
  };
}

/** A pod of a DaemonSet of ours; the affinity stays only while it is the only word on the node. */
export function trimPod(pod: Pod): Pod {
  const { spec, status } = pod;
  const waiting = status?.containerStatuses?.find(({ state }) => state?.waiting?.reason !== undefined);
  return {
    metadata: trimMetadata(pod.metadata, { labels: POD_LABELS, annotations: NOTHING }),
    spec: {
      containers: [],
      ...pick(spec, ["nodeName"]),
      ...(spec?.nodeName || spec?.affinity === undefined ? {} : { affinity: spec.affinity }),
    },
    status: {
      ...pick(status, ["phase", "reason", "message", "podIP"]),
      conditions: (status?.conditions ?? []).filter(({ type }) => POD_CONDITIONS.has(type)).map((condition) =>
        pick(condition, ["type", "status", "reason", "message"]) as typeof condition
      ),
      ...(waiting === undefined ? {} : { containerStatuses: [waiting] }),
    },
  };
}

/** A DaemonSet with everything that is compared with what is wanted. */
export function trimDaemonSet(daemonSet: DaemonSet): DaemonSet {
  const { spec } = daemonSet;
  return {
    metadata: trimMetadata(daemonSet.metadata, { labels: DAEMON_SET_LABELS, annotations: DAEMON_SET_ANNOTATIONS }),
    ...(spec === undefined ? {} : {
      spec: {
        selector: spec.selector,
        template: { metadata: { ...pick(spec.template.metadata, ["labels"]) }, ...pick(spec.template, ["spec"]) },
        ...pick(spec, ["updateStrategy"]),
      },
    }),
  };
}

/** A slice with the nodes of its endpoints and nothing of their addresses. */
export function trimEndpointSlice(slice: EndpointSlice): EndpointSlice {
  return {
    metadata: trimMetadata(slice.metadata, { labels: SLICE_LABELS, annotations: NOTHING }),
    addressType: slice.addressType,
    endpoints: (slice.endpoints ?? []).map((endpoint) => ({
      addresses: [],
      ...pick(endpoint, ["nodeName", "conditions"]),
    })),
  };
}

/** Whether two trimmed objects of one name say the same. */
export function sameContent(a: object | undefined, b: object | undefined): boolean {
  return withoutVersion(a) === withoutVersion(b);
}

function withoutVersion(object: object | undefined): string {
  return JSON.stringify(object, (key, value: unknown) => key === "resourceVersion" ? undefined : value) ?? "";
}

type Chosen = ReadonlySet<string> | ((name: string) => boolean);

function trimMetadata(
  metadata: ObjectMeta | undefined,
  options: { readonly labels: Chosen; readonly annotations: Chosen },
): ObjectMeta {
  const labels = choose(metadata?.labels, options.labels);
  const annotations = choose(metadata?.annotations, options.annotations);
  return {
    ...pick(metadata, ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"]),
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

function choose(
  values: Readonly<Record<string, string>> | undefined,
  chosen: Chosen,
): Record<string, string> | undefined {
  const wanted = typeof chosen === "function" ? chosen : (name: string): boolean => chosen.has(name);
  const entries = Object.entries(values ?? {}).filter(([name]) => wanted(name));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** The named fields that are there. */
function pick<T extends object, K extends keyof T>(value: T | undefined, fields: readonly K[]): Pick<T, K> {
  const result: Partial<T> = {};
  for (const field of fields) if (value?.[field] !== undefined) result[field] = value[field];
  return result as Pick<T, K>;
}

function isNodeLabel(name: string): boolean {
  return NODE_LABELS.has(name) || name.startsWith(POOL_LABEL_PREFIX);
}

const NOTHING: ReadonlySet<string> = new Set();
const SERVICE_LABELS: ReadonlySet<string> = new Set([POOL_LABEL]);
const SERVICE_ANNOTATIONS: ReadonlySet<string> = new Set([
  PRIORITY_CLASS_ANNOTATION,
  TOLERATIONS_ANNOTATION,
  SOURCE_RANGES_ANNOTATION,
  ENABLED_ANNOTATION,
  RESOURCES_ANNOTATION,
  MATCH_ADDRESSES_ANNOTATION,
  IP_MODE_ANNOTATION,
]);
const NODE_LABELS: ReadonlySet<string> = new Set(["kubernetes.io/os", ENABLE_LABEL, POOL_LABEL, EXCLUDE_NODE_LABEL]);
const NODE_ANNOTATIONS: ReadonlySet<string> = new Set([PUBLISHED_ADDRESSES_ANNOTATION]);
const POD_LABELS: ReadonlySet<string> = new Set(["app", SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL, DATAPLANE_LABEL]);
const POD_CONDITIONS: ReadonlySet<string> = new Set(["PodScheduled", "Ready", PROGRAMMED_CONDITION]);
/** All of them: a label that somebody changed must be seen. */
const DAEMON_SET_LABELS = (): boolean => true;
const DAEMON_SET_ANNOTATIONS: ReadonlySet<string> = new Set([APPLIED_HASH_ANNOTATION]);
const SLICE_LABELS: ReadonlySet<string> = new Set(["kubernetes.io/service-name"]);
