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
import { portLabel } from "../../../core/service/port_owners.ts";
import type { Protocol } from "../../../core/shared/ip.ts";
import { isLoopback, parseIpRange } from "../../../core/shared/ip_ranges.ts";

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

/** A pod in the host's network or with host ports: which ports it declares is all that counts. */
export function trimHostPod(pod: Pod): Pod {
  return {
    metadata: pick(pod.metadata, ["name", "namespace", "uid", "resourceVersion"]),
    spec: {
      containers: allContainers(pod).map(({ name, ports }) => ({ name, ...(ports ? { ports } : {}) })),
    },
  };
}

/** Ports of its node that a pod declares as its own, as {@linkcode portLabel} calls them; in the host's network that is each. */
export function hostPortsOf(pod: Pod): readonly string[] {
  return allContainers(pod).flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort = 0, hostIP = "", protocol = "TCP" }) =>
      hostPort > 0 && !isLoopbackText(hostIP) ? [portLabel({ protocol: protocol as Protocol, port: hostPort })] : []
    )
  );
}

/** Those that start first may go on running. */
function allContainers({ spec }: Pod): readonly NonNullable<Pod["spec"]>["containers"][number][] {
  return [...spec?.containers ?? [], ...spec?.initContainers ?? []];
}

/** Nobody reaches a Service there. An empty address means all, and so do the unspecified ones. */
function isLoopbackText(hostIp: string): boolean {
  const range = ["", "0.0.0.0", "::"].includes(hostIp) ? undefined : parseIpRange(hostIp);
  return range !== undefined && isLoopback(range);
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
