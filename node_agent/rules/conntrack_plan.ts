// Which entries of connection tracking must go after a change, so that clients that never stop sending reach a living endpoint.
// Pure. Facts: UDP flows stick to their first endpoint for as long as the client sends; a UDP packet from before the rules leaves an entry
// without translation; a SYN sent to a vanished endpoint is retried to the same one until the client gives up. Established TCP is left alone.
import type { ForwardedPort, ForwardEndpoint, ForwardingPlan } from "../dataplane_contract.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import { canonicalIp, ipFamilyOf } from "../../core/shared/ip_ranges.ts";

/** One kind of entry to delete: flows to `port` of this node that were sent to `replyPort` of `replySource`. */
export interface FlowFilter {
  readonly family: IpFamily;
  readonly protocol: "udp" | "tcp";
  readonly port: number;
  readonly replySource: string;
  readonly replyPort: number;
}

/** UDP flows to `port` of this node that must be looked through: those to none of `endpoints` are stale. */
export interface FlowCheck {
  readonly family: IpFamily;
  readonly port: number;
  readonly localIps: readonly string[];
  /** As {@linkcode socketName} writes them. */
  readonly endpoints: readonly string[];
}

/** What a change of one family's rules makes stale. */
export interface ConntrackCleanup {
  readonly filters: readonly FlowFilter[];
  readonly checks: readonly FlowCheck[];
}

/** One family's step from one plan to the next. */
export interface RulesChange {
  readonly family: IpFamily;
  /** What the kernel had the rules of; absent at start, when it is not known what an earlier run had. */
  readonly before: ForwardingPlan | undefined;
  readonly after: ForwardingPlan;
  /** This node's addresses. */
  readonly localIps: readonly string[];
}

/** The entries that a change makes stale. UDP flows from before the rules are looked for where a port, or an address of it, is new. */
export function planConntrackCleanup(change: RulesChange): ConntrackCleanup {
  const { family } = change;
  const changed = changedPorts(change.before?.ports ?? [], change.after.ports);
  const old = portsInUse(changed.before, family);
  const wanted = portsInUse(changed.after, family);
  const filters = [...old].flatMap(([key, { port, endpoints }]) =>
    [...endpoints].filter(([name]) => !wanted.get(key)?.endpoints.has(name))
      .map(([, endpoint]) => filterOf({ port, family, endpoint }))
  );
  const localIps = change.localIps.filter((ip) => ipFamilyOf(ip) === family);
  const checks = [...wanted].flatMap(([key, { port, endpoints, places }]): readonly FlowCheck[] => {
    const isNew = [...places].some((place) => !old.get(key)?.places.has(place));
    if (port.protocol !== "UDP" || !isNew) return [];
    return [{ family, port: port.port, localIps, endpoints: [...endpoints.keys()] }];
  });
  return { filters, checks };
}

/** The stale kinds of flow in `listing`, the output of `conntrack -L` for the port of `check`. */
export function staleFlows(check: FlowCheck, listing: string): readonly FlowFilter[] {
  const stale = new Map<string, FlowFilter>();
  const [localIps, endpoints] = [new Set(check.localIps), new Set(check.endpoints)];
  for (const line of listing.split("\n")) {
    // Original direction first, then the reply's: src=CLIENT dst=NODE ... src=ENDPOINT dst=CLIENT sport=ENDPOINT'S ...
    const ends = [...line.matchAll(/\bsrc=(\S+) dst=(\S+) sport=(\d+)/g)];
    const [to, from] = [canonicalIp(ends[0]?.[2] ?? ""), canonicalIp(ends[1]?.[1] ?? "")];
    if (to === undefined || from === undefined || !localIps.has(to)) continue;
    const endpoint = { ip: from, port: Number(ends[1]?.[3]) };
    const name = socketName(endpoint);
    if (endpoints.has(name)) continue;
    stale.set(name, {
      family: check.family,
      protocol: "udp",
      port: check.port,
      replySource: from,
      replyPort: endpoint.port,
    });
  }
  return [...stale.values()];
}

/** One text for an address and a port, the same for every spelling of the address. */
function socketName({ ip, port }: Pick<ForwardEndpoint, "ip" | "port">): string {
  return `${canonicalIp(ip) ?? ip} ${port}`;
}

interface PortInUse {
  readonly port: ForwardedPort;
  /** Endpoints that get traffic. */
  readonly endpoints: ReadonlyMap<string, ForwardEndpoint>;
  /** Addresses or ranges of this node at which they get it; empty text: all. */
  readonly places: ReadonlySet<string>;
}

/** Without the ports that are the same in both: of thousands, a step changes a few. */
function changedPorts(
  before: readonly ForwardedPort[],
  after: readonly ForwardedPort[],
): { readonly before: readonly ForwardedPort[]; readonly after: readonly ForwardedPort[] } {
  const texts = (ports: readonly ForwardedPort[]): ReadonlyMap<string, string> =>
    new Map(ports.map((port) => [keyOf(port), JSON.stringify(port)]));
  const [old, wanted] = [texts(before), texts(after)];
  const isChanged = (port: ForwardedPort): boolean => old.get(keyOf(port)) !== wanted.get(keyOf(port));
  return { before: before.filter(isChanged), after: after.filter(isChanged) };
}

function keyOf({ protocol, port }: ForwardedPort): string {
  return `${protocol} ${port}`;
}

/** TCP and UDP ports with endpoints in `family`; other protocols are left alone. */
function portsInUse(ports: readonly ForwardedPort[], family: IpFamily): Map<string, PortInUse> {
  const byPort = new Map<string, PortInUse>();
  for (const port of ports) {
    const used = port.endpoints.filter((endpoint) =>
      ipFamilyOf(endpoint.ip) === family && (endpoint.local || port.trafficPolicy === "Cluster")
    );
    const isTracked = port.protocol === "TCP" || port.protocol === "UDP";
    if (used.length === 0 || !isTracked || !port.families.includes(family)) continue;
    const endpoints = new Map(used.map((endpoint) => [socketName(endpoint), endpoint]));
    byPort.set(keyOf(port), { port, endpoints, places: new Set(port.matchAddresses ?? [""]) });
  }
  return byPort;
}

interface Flow {
  readonly port: ForwardedPort;
  readonly family: IpFamily;
  readonly endpoint: ForwardEndpoint;
}

function filterOf({ port, family, endpoint }: Flow): FlowFilter {
  const protocol = port.protocol === "UDP" ? "udp" : "tcp";
  return { family, protocol, port: port.port, replySource: endpoint.ip, replyPort: endpoint.port };
}
