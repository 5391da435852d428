// Which entries of connection tracking must go after a change, so that clients that never stop sending reach a living endpoint.
// Pure. Facts: UDP flows stick to their first endpoint for as long as the client sends; a UDP packet from before the rules leaves an entry
// without translation; a SYN sent to a vanished endpoint is retried to the same one until the client gives up. Established TCP is left alone.
import type { ForwardedPort, ForwardingPlan } from "./dataplane_contract.ts";
import type { IpFamily } from "../core/shared/ip.ts";
import { canonicalIp, ipFamilyOf } from "../core/shared/ip_ranges.ts";

/** One kind of entry to delete: flows to `port` of this node that were sent to `replySource`. */
export interface FlowFilter {
  readonly family: IpFamily;
  readonly protocol: "udp" | "tcp";
  readonly port: number;
  readonly replySource: string;
}

/**
 * The entries that the step from `before` to `after` makes stale. `localIps` are this node's addresses.
 * UDP entries without translation are looked for where a port is new.
 */
export function planConntrackCleanup(
  before: ForwardingPlan,
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

/** UDP flows to `port` of this node that must be looked through: those to none of `endpointIps` are stale. */
export interface FlowCheck {
  readonly family: IpFamily;
  readonly port: number;
  readonly localIps: readonly string[];
  readonly endpointIps: readonly string[];
}

/** What must be looked through at start, when it is not known which endpoints an earlier run had. */
export function planConntrackChecks(plan: ForwardingPlan, localIps: readonly string[]): readonly FlowCheck[] {
  return [...endpointsByPort(plan).values()].flatMap(({ port, ips }) => {
    if (port.protocol !== "UDP" || ips.size === 0) return [];
    return port.families.map((family) => {
      const own = (ip: string): boolean => ipFamilyOf(ip) === family;
      return { family, port: port.port, localIps: localIps.filter(own), endpointIps: [...ips].filter(own) };
    });
  });
}

/** The stale kinds of flow in `listing`, the output of `conntrack -L` for the port of `check`. */
export function staleFlows(check: FlowCheck, listing: string): readonly FlowFilter[] {
  const stale = new Set<string>();
  for (const line of listing.split("\n")) {
    // Original direction first, then the reply's: src=CLIENT dst=NODE ... src=ENDPOINT dst=CLIENT ...
    const sources = [...line.matchAll(/\bsrc=(\S+) dst=(\S+)/g)];
    const [to, from] = [canonicalIp(sources[0]?.[2] ?? ""), canonicalIp(sources[1]?.[1] ?? "")];
    if (to === undefined || from === undefined || !check.localIps.includes(to) || check.endpointIps.includes(from)) {
      continue;
    }
    stale.add(from);
  }
  return [...stale].map((replySource) => ({ family: check.family, protocol: "udp", port: check.port, replySource }));
}

function push(filters: FlowFilter[], port: ForwardedPort, replySource: string): void {
  const family = ipFamilyOf(replySource);
  if (!family || !port.families.includes(family) || port.protocol === "SCTP") return;
  filters.push({ family, protocol: port.protocol === "UDP" ? "udp" : "tcp", port: port.port, replySource });
}

function endpointsByPort(plan: ForwardingPlan): Map<string, { port: ForwardedPort; ips: Set<string> }> {
  const byPort = new Map<string, { port: ForwardedPort; ips: Set<string> }>();
  for (const port of plan.ports) {
    const key = `${port.protocol} ${port.port}`;
    const found = byPort.get(key) ?? { port, ips: new Set<string>() };
    const used = port.endpoints.filter((endpoint) => endpoint.local || port.trafficPolicy === "Cluster");
    for (const endpoint of used) found.ips.add(endpoint.ip);
    byPort.set(key, found);
  }
  return byPort;
}
