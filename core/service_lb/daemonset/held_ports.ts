// Which ports of which nodes a Service has been given already: those of its DaemonSet, on the nodes that it does not leave out. Pure.
// It stands in the cluster, so a restart of the server or of a pod changes nothing about who has a port.
import type { DaemonSet } from "../../kube/types.ts";
import { portId } from "../../service/port_owners.ts";
import type { Protocol } from "../../shared/ip.ts";

/** What one Service has. */
export interface HeldPorts {
  /** As {@linkcode portId} writes them. */
  readonly ports: ReadonlySet<string>;
  /** Names of the nodes that it has them not on. */
  readonly without: ReadonlySet<string>;
}

/** What the Service of `daemonSets` has been given. */
export function heldPorts(daemonSets: Iterable<DaemonSet>): HeldPorts | undefined {
  for (const { metadata, spec } of daemonSets) {
    if (metadata?.deletionTimestamp !== undefined || spec === undefined) continue;
    const { containers = [], affinity } = spec.template.spec ?? {};
    const ports = containers.flatMap((container) => container.ports ?? []).flatMap(({ hostPort, protocol = "TCP" }) =>
      hostPort ? [portId({ protocol: protocol as Protocol, port: hostPort })] : []
    );
    const terms = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
    const without = terms.flatMap(({ matchFields = [] }) =>
      matchFields.flatMap(({ key, operator, values = [] }) =>
        key === "metadata.name" && operator === "NotIn" ? values : []
      )
    );
    return { ports: new Set(ports), without: new Set(without) };
  }
  return undefined;
}
