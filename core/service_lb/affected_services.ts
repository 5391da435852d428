// Which Services a change may concern, so that the others are left alone. In-memory only, no I/O.
// Too many is slow, too few is wrong: a Service that is looked at without need costs no request.
import type { ObjectChange } from "../kube/object_store.ts";
import { sameContent } from "../kube/trim.ts";
import type { Node, Service } from "../kube/types.ts";
import { portIds } from "../service/port_owners.ts";
import { NODE_REPORT_ANNOTATION } from "../service/labels.ts";
import { objectKey, type ServiceKey } from "../service/keys.ts";

/** How far a change of a Node reaches. */
export type NodeChangeScope =
  /** Nothing that decides has changed. */
  | "none"
  /** Services with pods on the node: its addresses, readiness or agent changed. */
  | "present"
  /** Every Service: the node came, went, or may be chosen differently. */
  | "all";

/** How far the change from `before` to `after` (trimmed) reaches. */
export function nodeChangeScope(before: Node | undefined, after: Node | undefined): NodeChangeScope {
  if (before === undefined || after === undefined) return "all";
  if (!sameContent(before.metadata?.labels, after.metadata?.labels)) return "all";
  // Taints choose nodes; pod ranges are what no node may publish.
  if (!sameContent(before.spec ?? {}, after.spec ?? {})) return "all";
  return sameContent(withoutHeartbeat(before), withoutHeartbeat(after)) ? "none" : "present";
}

/** Whether a trimmed Service says the same as before, apart from what is written here: its status and its finalizers. */
export function sameWishes(before: Service, after: Service): boolean {
  return sameContent(claimOn(before), claimOn(after));
}

/** Which Services want which port, kept change by change: looking through all of them for each change would cost the square of their number. */
export class PortIndex {
  readonly #portsOf = new Map<ServiceKey, readonly string[]>();
  readonly #byPort = new Map<string, Set<ServiceKey>>();

  /**
   * Records a change of one Service. Returns the Services that may win or lose a port by it: those that share a port with it, before or
   * after, and those that share one with them: a Service that loses one port gives up its others too.
   */
  note({ before, after }: ObjectChange<Service>): readonly ServiceKey[] {
    if (before !== undefined && after !== undefined && sameWishes(before, after)) return [];
    const key = objectKey(after ?? before ?? {});
    const ports = after === undefined ? [] : portIds(after);
    const left = this.#portsOf.get(key) ?? [];
    for (const port of left) this.#byPort.get(port)?.delete(key);
    for (const port of left) if (this.#byPort.get(port)?.size === 0) this.#byPort.delete(port);
    for (const port of ports) this.#byPort.set(port, (this.#byPort.get(port) ?? new Set()).add(key));
    if (after === undefined) this.#portsOf.delete(key);
    else this.#portsOf.set(key, ports);
    return this.#others(key, [...left, ...ports]);
  }

  /** The Services that share a port with this one, and those that share one with them. */
  sharers(key: ServiceKey): readonly ServiceKey[] {
    return this.#others(key, this.#portsOf.get(key) ?? []);
  }

  #others(key: ServiceKey, ports: readonly string[]): readonly ServiceKey[] {
    return this.users(ports).filter((other) => other !== key);
  }

  /** Those that want one of `ports`, and those that share one with them. */
  users(ports: Iterable<string>): readonly ServiceKey[] {
    const reached = new Set<ServiceKey>();
    const followed = new Set(ports);
    // What is found on the way is followed too.
    for (const port of followed) {
      for (const other of this.#byPort.get(port) ?? []) {
        if (reached.has(other)) continue;
        reached.add(other);
        for (const next of this.#portsOf.get(other) ?? []) followed.add(next);
      }
    }
    return [...reached];
  }
}

/** What of a Service decides about ports of nodes. */
function claimOn({ metadata, spec }: Service): object {
  const { finalizers: _, ...rest } = metadata ?? {};
  return { metadata: rest, spec };
}

function withoutHeartbeat(node: Node): object {
  const conditions = node.status?.conditions?.map(({ type, status }) => ({ type, status }));
  // What the agent says is looked at Service by Service.
  const { [NODE_REPORT_ANNOTATION]: _, ...annotations } = node.metadata?.annotations ?? {};
  const { addresses, daemonEndpoints } = node.status ?? {};
  return { annotations, addresses, daemonEndpoints, conditions };
}
