// On which nodes a Service has endpoints of its own, for externalTrafficPolicy Local. Pure.
// Facts: the EndpointSlice API's own words on conditions (an absent `ready` or `serving` means true), KEP-1669 (endpoints that
// are terminating but still serve are the fall-back).
import type { EndpointSlice } from "../kube/types.ts";

/**
 * Nodes with a ready endpoint; if there is none in the whole cluster, nodes whose endpoints serve while they terminate.
 * Endpoints without a Pod count by the node name they carry.
 */
export function nodesWithEndpoints(slices: Iterable<EndpointSlice>): ReadonlySet<string> {
  const ready = new Set<string>();
  const fallBack = new Set<string>();
  for (const slice of slices) {
    for (const endpoint of slice.endpoints ?? []) {
      if (!endpoint.nodeName) continue;
      const { ready: isReady, serving, terminating } = endpoint.conditions ?? {};
      if (isReady ?? !terminating) ready.add(endpoint.nodeName);
      else if (terminating && (serving ?? true)) fallBack.add(endpoint.nodeName);
    }
  }
  return ready.size > 0 ? ready : fallBack;
}
