// Which entries of connection tracking must go after a change, so that clients that never stop sending reach a living endpoint.
// Pure. Facts: UDP flows stick to their first endpoint for as long as the client sends; a UDP packet from before the rules leaves an entry
// without translation; a SYN sent to a vanished endpoint is retried to the same one until the client gives up. Established TCP is left alone.
import type { ForwardedPort, ForwardingPlan } from "./dataplane_contract.ts";
import type { IpFamily } from "../core/shared/ip.ts";
import { ipFamilyOf } from "../core/shared/ip_ranges.ts";

/** One kind of entry to delete: flows to `port` of this node that were sent to `replySource`. */
export interface FlowFilter {
  readonly family: IpFamily;
  readonly protocol: "udp" | "tcp";
  readonly port: number;
  readonly replySource: string;
}

/**
 * The entries that the step from `before` to `after` makes stale; `before` is absent at start. `localIps` are this node's addresses.
 * UDP entries without translation are looked for where a port is new.
 */
export function planConntrackCleanup(
  before: ForwardingPlan | undefined,
  after: ForwardingPlan,
  localIps: readonly string[],
): readonly FlowFilter[] {
  const old = endpointsByPort(before);
  const wanted = endpointsByPort(after);
  const filters: FlowFilter[] = [];
  for (const [key, { port, ips }] of old) {
    const kept = wanted.get(key)?.ips;
    for (const ip of ips) if (!kept?.has(ip)) push(filters, port, ip);
  }
  for (const [key, { port, ips }] of wanted) {
    const isNew = port.protocol === "UDP" && (old.get(key)?.ips.size ?? 0) === 0 && ips.size > 0;
    if (isNew) { for (const ip of localIps) if (!ips.has(ip)) push(filters, port, ip); }
  }
  return filters;
}

function push(filters: FlowFilter[], port: ForwardedPort, replySource: string): void {
  const family = ipFamilyOf(replySource);
  if (!family || !port.families.includes(family) || port.protocol === "SCTP") return;
  filters.push({ family, protocol: port.protocol === "UDP" ? "udp" : "tcp", port: port.port, replySource });
}

function endpointsByPort(plan: ForwardingPlan | undefined): Map<string, { port: ForwardedPort; ips: Set<string> }> {
  const byPort = new Map<string, { port: ForwardedPort; ips: Set<string> }>();
  for (const port of plan?.ports ?? []) {
    const key = `${port.protocol} ${port.port}`;
    const found = byPort.get(key) ?? { port, ips: new Set<string>() };
    const used = port.endpoints.filter((endpoint) => endpoint.local || port.trafficPolicy === "Cluster");
    for (const endpoint of used) found.ips.add(endpoint.ip);
    byPort.set(key, found);
  }
  return byPort;
}
