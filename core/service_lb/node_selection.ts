// Which nodes may serve a Service, why the others may not, and the same choice in the scheduler's terms. Pure.
// Facts: docs of K3s, "Controlling ServiceLB Node Selection"; k3s `pkg/cloudprovider/servicelb.go` and its PR 14547 (second
// pool label, pools without `enablelb`); taints and tolerations as in the Kubernetes documentation of DaemonSets.
import type { Node, Service, Toleration } from "../kube/types.ts";
import { ENABLE_LABEL, EXCLUDE_NODE_LABEL, POOL_LABEL, POOL_LABEL_PREFIX } from "./labels.ts";
import { poolOf } from "./names.ts";

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

/** What decides beside labels. */
export interface NodeSelectionOptions {
  /** Leave out nodes with upstream's label for staying out of external load balancers. */
  readonly honorExcludeLabel: boolean;
}

/** A Service's wish in the scheduler's terms. Every requirement must hold. */
export interface NodeConstraint {
  readonly allowList: boolean;
  readonly pool: string | undefined;
  readonly honorExcludeLabel: boolean;
}

/** Whether any node has the `enablelb` key, whatever its value: then only nodes with the value `true` serve. */
export function isAllowListMode(nodes: Iterable<Node>): boolean {
  for (const node of nodes) if (node.metadata?.labels?.[ENABLE_LABEL] !== undefined) return true;
  return false;
}

/** What a Service asks of nodes. */
export function nodeConstraint(
  service: Service,
  options: NodeSelectionOptions & { readonly allowList: boolean },
): NodeConstraint {
  return { allowList: options.allowList, pool: poolOf(service), honorExcludeLabel: options.honorExcludeLabel };
}

/** Whether `node` meets the constraint and its taints are tolerated. */
export function chooseNode(
  node: Node,
  constraint: NodeConstraint,
  tolerations: readonly Toleration[],
): NodeChoice {
  const labels = node.metadata?.labels ?? {};
  const os = labels[OS_LABEL];
  if (os !== "linux") return refuse("NotLinux", `label "${OS_LABEL}=linux" is missing`);
  if (constraint.allowList && labels[ENABLE_LABEL] !== "true") {
    return refuse("NotEnabled", `label "${ENABLE_LABEL}=true" is missing`);
  }
  const { pool } = constraint;
  if (pool !== undefined && labels[POOL_LABEL] !== pool && labels[`${POOL_LABEL_PREFIX}${pool}`] !== "true") {
    return refuse("NotInPool", `label "${POOL_LABEL}=${pool}" (or "${POOL_LABEL_PREFIX}${pool}=true") is missing`);
  }
  if (constraint.honorExcludeLabel && labels[EXCLUDE_NODE_LABEL] !== undefined) {
    return refuse("Excluded", `label "${EXCLUDE_NODE_LABEL}" is set`);
  }
  const taint = (node.spec?.taints ?? []).find((each) => !isTolerated(each, tolerations));
  if (taint === undefined) return { selected: true };
  const value = taint.value ? `=${taint.value}` : "";
  return refuse("Tainted", `taint "${taint.key}${value}:${taint.effect}" is not tolerated`);
}

/** A requirement on a node's labels or fields. */
export interface NodeRequirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "DoesNotExist";
  readonly values?: readonly string[];
}

/** One alternative of a node affinity. */
export interface NodeSelectorTerm {
  readonly matchExpressions?: readonly NodeRequirement[];
  readonly matchFields?: readonly NodeRequirement[];
}

/** How a pod template names the chosen nodes. */
export interface SchedulingTerms {
  readonly nodeSelector: Readonly<Record<string, string>>;
  /** Alternatives; absent if `nodeSelector` says everything. */
  readonly terms?: readonly NodeSelectorTerm[];
}

/**
 * The constraint for the scheduler, without the nodes in `without`.
 *
 * Pools are written as alternatives even while all nodes use one form of the label: a form that followed the nodes' labels
 * would restart every pod when the first node gets the other one.
 */
export function schedulingTerms(constraint: NodeConstraint, without: readonly string[] = []): SchedulingTerms {
  const nodeSelector: Record<string, string> = { [OS_LABEL]: "linux" };
  if (constraint.allowList) nodeSelector[ENABLE_LABEL] = "true";
  const common: NodeRequirement[] = constraint.honorExcludeLabel
    ? [{ key: EXCLUDE_NODE_LABEL, operator: "DoesNotExist" }]
    : [];
  // The API takes exactly one value per requirement on a field.
  const matchFields = without.toSorted().map((name): NodeRequirement => ({
    key: "metadata.name",
    operator: "NotIn",
    values: [name],
  }));
  const { pool } = constraint;
  const alternatives: NodeRequirement[][] = pool === undefined ? [common] : [
    [{ key: POOL_LABEL, operator: "In", values: [pool] }, ...common],
    [{ key: `${POOL_LABEL_PREFIX}${pool}`, operator: "In", values: ["true"] }, ...common],
  ];
  const terms = alternatives.map((matchExpressions): NodeSelectorTerm => ({
    ...(matchExpressions.length > 0 ? { matchExpressions } : {}),
    ...(matchFields.length > 0 ? { matchFields } : {}),
  }));
  const meaningful = terms.filter((term) => Object.keys(term).length > 0);
  return meaningful.length > 0 ? { nodeSelector, terms: meaningful } : { nodeSelector };
}

type Taint = NonNullable<NonNullable<Node["spec"]>["taints"]>[number];

/** Whether a taint keeps a pod with these tolerations (and those of every DaemonSet pod) off its node. */
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

const OS_LABEL = "kubernetes.io/os";

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
