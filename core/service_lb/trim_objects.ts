// What is kept of watched objects: only fields that a decision reads, so that memory follows our own objects. Pure.
import { pick, trimMetadata } from "../kube/trim.ts";
import type { DaemonSet, Node, Pod, Service } from "../kube/types.ts";
import {
  APPLIED_HASH_ANNOTATION,
  DATAPLANE_LABEL,
  FORWARDING_CONDITION,
  NODE_REPORT_ANNOTATION,
  PROGRAMMED_CONDITION,
  PUBLISHED_ADDRESSES_ANNOTATION,
  SERVED_ADDRESSES_ANNOTATION,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
} from "../service/labels.ts";
import { keepLastGood } from "../service/last_good.ts";
import { heartbeatWriter } from "../service/node_report.ts";
import { isSelectionLabel } from "../service/node_selection.ts";
import { readService } from "../service/reading.ts";
import { trimService as trimForReading } from "../service/trim.ts";
import { pauseImagesOf } from "./daemonset/pause_image.ts";
import { finalizerMark, servedCondition } from "./own_marks.ts";

/** A Service with its reading, its finalizers and whose they are, and the status that is written here. */
export function trimService(service: Service): Service {
  const condition = servedCondition(service);
  const trimmed = trimForReading(service);
  return {
    ...trimmed,
    metadata: { ...trimmed.metadata, ...pick(service.metadata, ["finalizers"]), ...finalizerMark(service) },
    status: {
      ...trimmed.status,
      ...(condition === undefined ? {} : { conditions: [condition] }),
    },
  };
}

/**
 * `service` trimmed, with what its wishes said before; `undefined` if it is not a load balancer: what was just written may be of another type
 * by now.
 */
export function keepLoadBalancer(service: Service, kept: ReadonlyMap<string, Service>): Service | undefined {
  const trimmed = keepLastGood(trimService(service), kept);
  return readService(trimmed).isLoadBalancer ? trimmed : undefined;
}

/** A Node with the labels, taints, addresses and conditions that decide, and what its agent says. */
export function trimNode(node: Node): Node {
  const taints = node.spec?.taints;
  const addresses = (node.status?.addresses ?? []).filter(({ type, address }) =>
    (type === "InternalIP" || type === "ExternalIP") && address.length <= MAX_ADDRESS_LENGTH
  );
  const pauseImages = pauseImagesOf(node);
  const port = node.status?.daemonEndpoints?.kubeletEndpoint?.Port;
  const hasImages = (node.status?.images ?? []).length > 0;
  return {
    metadata: trimMetadata(node.metadata, { labels: isSelectionLabel, annotations: NODE_ANNOTATIONS }),
    spec: {
      ...(taints === undefined ? {} : { taints: taints.map((taint) => ({ ...taint })) }),
      ...pick(node.spec, ["podCIDR", "podCIDRs"]),
    },
    status: {
      addresses: addresses.slice(0, MAX_ADDRESSES),
      ...(port === undefined ? {} : { daemonEndpoints: { kubeletEndpoint: { Port: port } } }),
      ...(hasImages ? { images: [{ names: [...pauseImages] }] } : {}),
      conditions: (node.status?.conditions ?? []).flatMap((condition) => {
        if (condition.type === "Ready") return [pick(condition, ["type", "status"]) as typeof condition];
        if (condition.type !== FORWARDING_CONDITION) return [];
        const writer = heartbeatWriter(node);
        return [{
          ...pick(condition, ["type", "status", "lastHeartbeatTime"]) as typeof condition,
          ...(writer === undefined ? {} : { message: `instance ${writer.slice(0, MAX_WRITER_LENGTH)}` }),
        }];
      }),
    },
  };
}

/** A pod of a DaemonSet of ours; the affinity stays only while it is the only word on the node. */
export function trimPod(pod: Pod): Pod {
  const { spec, status } = pod;
  const waiting = status?.containerStatuses?.find(({ state }) => state?.waiting?.reason !== undefined);
  return {
    metadata: trimMetadata(pod.metadata, { labels: POD_LABELS, annotations: POD_ANNOTATIONS }),
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

/** More than any node has; whoever has its credentials may list as many as fit. */
const MAX_ADDRESSES = 64;
const MAX_ADDRESS_LENGTH = 64;
const MAX_WRITER_LENGTH = 64;
const NODE_ANNOTATIONS: ReadonlySet<string> = new Set([PUBLISHED_ADDRESSES_ANNOTATION, NODE_REPORT_ANNOTATION]);
const POD_LABELS: ReadonlySet<string> = new Set(["app", SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL, DATAPLANE_LABEL]);
const POD_ANNOTATIONS: ReadonlySet<string> = new Set([SERVED_ADDRESSES_ANNOTATION]);
const POD_CONDITIONS: ReadonlySet<string> = new Set(["PodScheduled", "Ready", PROGRAMMED_CONDITION]);
/** All of them: a label that somebody changed must be seen. */
const DAEMON_SET_LABELS = (): boolean => true;
const DAEMON_SET_ANNOTATIONS: ReadonlySet<string> = new Set([APPLIED_HASH_ANNOTATION]);
