// Which Services a change may concern, so that the others are left alone. Pure.
// Too many is slow, too few is wrong: a Service that is looked at without need costs no request.
import { sameContent } from "../kube/trim.ts";
import type { Node, Service } from "../kube/types.ts";
import { portIds } from "../service/port_owners.ts";
import { FORWARDING_CONDITION } from "../service/labels.ts";
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

/** When the agent of a trimmed Node last wrote its heartbeat. */
export function heartbeatOf(node: Node | undefined): string | undefined {
  return node?.status?.conditions?.find(({ type }) => type === FORWARDING_CONDITION)?.lastHeartbeatTime;
}

/**
 * Services that may win or lose a port by the change of one Service: those that share a port with it, before or after, and those
 * that share one with them: a Service that loses one port gives up its others too.
 *
 * @param services All Services of the cluster's LoadBalancer type.
 */
export function portSharers(
  change: { readonly before: Service | undefined; readonly after: Service | undefined },
  services: Iterable<Service>,
): readonly ServiceKey[] {
  const { before, after } = change;
  if (before !== undefined && after !== undefined && sameContent(claimOn(before), claimOn(after))) return [];
  const own = objectKey(after ?? before ?? {});
  const reached = new Set([...portNames(before), ...portNames(after)]);
  const sharers: ServiceKey[] = [];
  let others = [...services].map((service) => ({ key: objectKey(service), ports: portNames(service) }))
    .filter(({ key }) => key !== own);
  for (let known = -1; known < sharers.length;) {
    known = sharers.length;
    others = others.filter(({ key, ports }) => {
      if (!ports.some((port) => reached.has(port))) return true;
      sharers.push(key);
      for (const port of ports) reached.add(port);
      return false;
    });
  }
  return sharers;
}

/** What of a Service decides about ports of nodes: all but its own status and version. */
function claimOn(service: Service): object {
  return { metadata: service.metadata, spec: service.spec };
}

function portNames(service: Service | undefined): readonly string[] {
  return service === undefined ? [] : portIds(service);
}

function withoutHeartbeat(node: Node): object {
  const conditions = node.status?.conditions?.map(({ type, status }) => ({ type, status }));
  return { annotations: node.metadata?.annotations, addresses: node.status?.addresses, conditions };
}
