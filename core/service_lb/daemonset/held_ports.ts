// Which ports of which nodes a Service has been given already: those of its DaemonSet, on the nodes that it does not leave out. Pure.
// It stands in the cluster, so a restart of the server or of a pod changes nothing about who has a port.
import type { DaemonSet, Node } from "../../kube/types.ts";
import { isTolerated } from "../../service/node_selection.ts";
import { hostPortIds } from "../../service/port_owners.ts";

/** What one Service has. */
export interface HeldPorts {
  /** As `portId` writes them. */
  readonly ports: ReadonlySet<string>;
  /** Names of the nodes on which it does not have them. */
  readonly without: ReadonlySet<string>;
  /** Whether its DaemonSet has pods on this node as it stands, and not on others only. */
  readonly reaches: (node: Node) => boolean;
}

/** What the Service of `daemonSets` has been given. */
export function heldPorts(daemonSets: Iterable<DaemonSet>): HeldPorts | undefined {
  for (const { metadata, spec } of daemonSets) {
    if (metadata?.deletionTimestamp !== undefined || spec === undefined) continue;
    const { containers = [], affinity } = spec.template.spec ?? {};
    const terms = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
    const without = terms.flatMap(({ matchFields = [] }) =>
      matchFields.flatMap(({ key, operator, values = [] }) =>
        key === "metadata.name" && operator === "NotIn" ? values : []
      )
    );
    const { nodeSelector = {}, tolerations = [] } = spec.template.spec ?? {};
    const reaches = ({ metadata, spec }: Node): boolean => {
      const labels = metadata?.labels ?? {};
      return Object.entries(nodeSelector).every(([name, value]) => labels[name] === value) &&
        (terms.length === 0 ||
          terms.some(({ matchExpressions = [] }) => matchExpressions.every((one) => meets(labels, one)))) &&
        (spec?.taints ?? []).every((taint) => isTolerated(taint, tolerations));
    };
    return { ports: hostPortIds(containers), without: new Set(without), reaches };
  }
  return undefined;
}

interface LabelRequirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

/** Knows the operators that this program writes. */
function meets(labels: Readonly<Record<string, string>>, { key, operator, values = [] }: LabelRequirement): boolean {
  const value = labels[key];
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    default:
      return false;
  }
}
