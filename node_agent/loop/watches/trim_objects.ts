// The part of the own pods and Node that the agent reads. Everything else is dropped before it is kept, so that memory does not
// grow with annotations, managed fields and pod specs. Pure.
import { pick, trimMetadata } from "../../../core/kube/trim.ts";
import type { Node, Pod } from "../../../core/kube/types.ts";
import {
  FORWARDING_CONDITION,
  NODE_REPORT_ANNOTATION,
  PROBE_ANSWER_ANNOTATION,
  PROGRAMMED_CONDITION,
  PUBLISHED_ADDRESSES_ANNOTATION,
  SERVED_ADDRESSES_ANNOTATION,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
} from "../../../core/service/labels.ts";
import { isSelectionLabel } from "../../../core/service/node_selection.ts";

const POD_LABELS: ReadonlySet<string> = new Set([SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL]);
const POD_ANNOTATIONS: ReadonlySet<string> = new Set([SERVED_ADDRESSES_ANNOTATION]);

const NODE_ANNOTATIONS: ReadonlySet<string> = new Set([
  PUBLISHED_ADDRESSES_ANNOTATION,
  NODE_REPORT_ANNOTATION,
  PROBE_ANSWER_ANNOTATION,
]);

/** A load balancer's pod without what the forwarding plan and the gate don't read. */
export function trimPod(pod: Pod): Pod {
  return {
    metadata: trimMetadata(pod.metadata, { labels: POD_LABELS, annotations: POD_ANNOTATIONS }),
    spec: {
      containers: (pod.spec?.containers ?? []).map(({ name, ports = [] }) => ({
        name,
        ports: ports.map((port) => pick(port, ["containerPort", "hostPort", "protocol"])),
      })),
      ...pick(pod.spec, ["nodeName", "readinessGates"]),
    },
    status: {
      ...pick(pod.status, ["phase"]),
      conditions: (pod.status?.conditions ?? []).filter((one) => one.type === PROGRAMMED_CONDITION),
    },
  };
}

/** A Node without what the agent doesn't read. */
export function trimNode(node: Node): Node {
  return {
    metadata: trimMetadata(node.metadata, { labels: isSelectionLabel, annotations: NODE_ANNOTATIONS }),
    spec: pick(node.spec, ["podCIDR", "podCIDRs", "taints"]),
    status: {
      ...pick(node.status, ["addresses"]),
      conditions: (node.status?.conditions ?? []).filter((one) => one.type === FORWARDING_CONDITION),
    },
  };
}
