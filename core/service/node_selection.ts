// Which nodes may serve a Service, and why the others may not. Pure.
// Facts: docs of K3s, "Controlling ServiceLB Node Selection"; k3s `pkg/cloudprovider/servicelb.go` and its PR 14547 (second
// pool label, pools without `enablelb`); taints and tolerations as in the Kubernetes documentation of DaemonSets.
import type { Node, Toleration } from "../kube/types.ts";
import { ENABLE_LABEL, EXCLUDE_NODE_LABEL, POOL_LABEL, POOL_LABEL_PREFIX } from "../service/labels.ts";
import type { ServiceReading } from "./reading.ts";

/** Why a node is not chosen for a Service. */
export type NotSelectedReason = "NotLinux" | "NotEnabled" | "NotInPool" | "Excluded" | "Tainted";

/** Whether a node may serve a Service; if not, what is in the way. */
export type NodeChoice =
  | { readonly selected: true }
  | {
    readonly selected: false;
    readonly reason: NotSelectedReason;
    /** What to change on the node, as in `label "a=b" is missing`. */
    readonly message: string;
  };

/** What decides beside the Service and the node: few facts, the same for all nodes. */
export interface SelectionFacts {
  /** See {@linkcode isAllowListMode}. */
  readonly allowList: boolean;
  /** Leave out nodes with upstream's label for staying out of external load balancers. */
  readonly honorExcludeLabel: boolean;
}

/** The part of a {@linkcode ServiceReading} that chooses nodes. */
export type NodeWish = Pick<ServiceReading, "pool" | "tolerations">;

/** Whether any node has the `enablelb` key, whatever its value: then only nodes with the value `true` serve. */
export function isAllowListMode(nodes: Iterable<Node>): boolean {
  for (const node of nodes) if (node.metadata?.labels?.[ENABLE_LABEL] !== undefined) return true;
  return false;
}

/** Whether `node` may serve a Service with this wish: its labels, and its taints as the DaemonSet's pods meet them. */
export function chooseNode(node: Node, wish: NodeWish, facts: SelectionFacts): NodeChoice {
  const labels = node.metadata?.labels ?? {};
  const os = labels[OS_LABEL];
  if (os !== "linux") return refuse("NotLinux", `label "${OS_LABEL}=linux" is missing`);
  if (facts.allowList && labels[ENABLE_LABEL] !== "true") {
    return refuse("NotEnabled", `label "${ENABLE_LABEL}=true" is missing`);
  }
  const { pool } = wish;
  if (pool !== undefined && labels[POOL_LABEL] !== pool && labels[`${POOL_LABEL_PREFIX}${pool}`] !== "true") {
    return refuse("NotInPool", `label "${POOL_LABEL}=${pool}" (or "${POOL_LABEL_PREFIX}${pool}=true") is missing`);
  }
  if (facts.honorExcludeLabel && labels[EXCLUDE_NODE_LABEL] !== undefined) {
    return refuse("Excluded", `label "${EXCLUDE_NODE_LABEL}" is set`);
  }
  const taint = untoleratedTaint(node, wish);
  if (taint === undefined) return { selected: true };
  const value = taint.value ? `=${taint.value}` : "";
  return refuse("Tainted", `taint "${taint.key}${value}:${taint.effect}" is not tolerated`);
}

/**
 * Whether `node` goes on serving what it serves already: as {@linkcode chooseNode}, but a taint that keeps new pods away (`NoSchedule`) ends
 * nothing that is there.
 */
export function keepsNode(node: Node, wish: NodeWish, facts: SelectionFacts): NodeChoice {
  const taints = (node.spec?.taints ?? []).filter(({ effect }) => effect !== "NoSchedule");
  return chooseNode({ ...node, spec: { ...node.spec, taints } }, wish, facts);
}

/** Whether a node's label of this name decides anything here. */
export function isSelectionLabel(name: string): boolean {
  return SELECTION_LABELS.has(name) || name.startsWith(POOL_LABEL_PREFIX);
}

/** One taint of a node. */
export type Taint = NonNullable<NonNullable<Node["spec"]>["taints"]>[number];

/** The taint that keeps the Service's pods from `node`. */
export function untoleratedTaint(node: Node, { tolerations }: Pick<NodeWish, "tolerations">): Taint | undefined {
  const all = [...DEFAULT_TOLERATIONS, ...tolerations];
  return (node.spec?.taints ?? []).find((each) => !isTolerated(each, all));
}

/** Whether `taint` keeps no pod with these tolerations (and those of every DaemonSet pod) off its node. */
export function isTolerated(taint: Taint, tolerations: readonly Toleration[]): boolean {
  if (taint.effect === "PreferNoSchedule" || DAEMON_SET_TOLERATED_TAINTS.has(taint.key)) return true;
  return tolerations.some((toleration) => {
    if (toleration.effect && toleration.effect !== taint.effect) return false;
    if (!toleration.key) return toleration.operator === "Exists";
    if (toleration.key !== taint.key) return false;
    return toleration.operator === "Exists" || (toleration.value ?? "") === (taint.value ?? "");
  });
}

function refuse(reason: NotSelectedReason, message: string): NodeChoice {
  return { selected: false, reason, message };
}

/** Label of nodes that names their operating system. */
export const OS_LABEL = "kubernetes.io/os";

const SELECTION_LABELS: ReadonlySet<string> = new Set([OS_LABEL, ENABLE_LABEL, POOL_LABEL, EXCLUDE_NODE_LABEL]);

/** What the DaemonSet controller adds to every pod; the last one for pods on the host network, whom others wait for. */
const DAEMON_SET_TOLERATED_TAINTS: ReadonlySet<string> = new Set([
  "node.kubernetes.io/not-ready",
  "node.kubernetes.io/unreachable",
  "node.kubernetes.io/disk-pressure",
  "node.kubernetes.io/memory-pressure",
  "node.kubernetes.io/pid-pressure",
  "node.kubernetes.io/unschedulable",
  "node.kubernetes.io/network-unavailable",
]);

/** Tolerations of every DaemonSet, as K3s has them. */
export const DEFAULT_TOLERATIONS: readonly Toleration[] = [
  { key: "node-role.kubernetes.io/master", operator: "Exists", effect: "NoSchedule" },
  { key: "node-role.kubernetes.io/control-plane", operator: "Exists", effect: "NoSchedule" },
  { key: "CriticalAddonsOnly", operator: "Exists" },
];
