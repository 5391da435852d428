// The choice of nodes (core/service/node_selection.ts) in the scheduler's terms. Pure.
import { ENABLE_LABEL, EXCLUDE_NODE_LABEL, POOL_LABEL, POOL_LABEL_PREFIX } from "../../service/labels.ts";
import { type NodeWish, OS_LABEL, type SelectionFacts } from "../../service/node_selection.ts";

/** A requirement on a node's labels or fields. */
export interface NodeRequirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "DoesNotExist";
  readonly values?: string[];
}

/** One alternative of a node affinity. */
export interface NodeSelectorTerm {
  readonly matchExpressions?: NodeRequirement[];
  readonly matchFields?: NodeRequirement[];
}

/** How a pod template names the chosen nodes. */
export interface SchedulingTerms {
  readonly nodeSelector: Readonly<Record<string, string>>;
  /** Alternatives; absent if `nodeSelector` says everything. */
  readonly terms?: NodeSelectorTerm[];
}

/**
 * The nodes that `wish` and `facts` select, for the scheduler, without the nodes in `without`.
 *
 * Pools are written as alternatives even while all nodes use one form of the label: a form that followed the nodes' labels
 * would restart every pod when the first node gets the other one.
 */
export function schedulingTerms(
  { pool, allowList, honorExcludeLabel }: Pick<NodeWish, "pool"> & SelectionFacts,
  without: readonly string[] = [],
): SchedulingTerms {
  const nodeSelector: Record<string, string> = { [OS_LABEL]: "linux" };
  if (allowList) nodeSelector[ENABLE_LABEL] = "true";
  const common: NodeRequirement[] = honorExcludeLabel ? [{ key: EXCLUDE_NODE_LABEL, operator: "DoesNotExist" }] : [];
  // The API takes exactly one value per requirement on a field.
  const matchFields = without.toSorted().map((name): NodeRequirement => ({
    key: "metadata.name",
    operator: "NotIn",
    values: [name],
  }));
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
