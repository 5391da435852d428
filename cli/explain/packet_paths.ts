// What the rules of one node do with packets for a Service, for each kind of client: the part of `explain` that is about this machine. Pure.
import type { Node } from "../../core/kube/types.ts";
import type { ServicePort, ServiceReading } from "../../core/service/reading.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import { canonicalIp, ipFamilyOf, type IpRange, ipRangeContains, parseIpRange } from "../../core/shared/ip_ranges.ts";
import { type Outcome, type TracedRules, tracePacket } from "../../node_agent/rules/trace_packet.ts";

/** Who sends. */
export type PacketClient =
  /** A machine that is not this node; one that the source ranges admit, where there are any. */
  | "outside"
  /** A machine that the source ranges do not admit. */
  | "not-admitted"
  /** A pod of this node. */
  | "pod"
  /** A process of this node. */
  | "node";

/** Where new connections end up. */
export interface PacketEnd {
  /** Address and port of an endpoint, or what happens instead: `dropped`, `reset` (TCP), `rejected` (ICMP), `passed` (no rule of ours takes it). */
  readonly to: string;
  /** Of all new connections, from 0 to 1. */
  readonly share: number;
  /** Whether the endpoint sees an address of the node in place of the client's. */
  readonly masqueraded: boolean;
  /** Our chains on the way; the last one decides. */
  readonly chains: readonly string[];
}

/** What happens to the first packet of a connection. */
export interface PacketPath {
  /** The address that it is sent to. */
  readonly address: string;
  /** `80/TCP` */
  readonly port: string;
  readonly client: PacketClient;
  /** The sender's address, or the range that it is of. */
  readonly from: string;
  /** Likeliest first, at most 16. */
  readonly ends: readonly PacketEnd[];
  /** Ends that are left out. */
  readonly otherEnds?: number;
}

/** What the rules of this machine do, or why that can't be said. */
export type PacketAnswer =
  | {
    readonly node: string;
    /** `nft` or `legacy`. */
    readonly backend: string;
    readonly paths: readonly PacketPath[];
    /** Pairs of an address and a port that are left out. */
    readonly otherTargets?: number;
  }
  | { readonly unknown: string };

/** What {@linkcode packetPaths} goes by. */
export interface PathFacts {
  readonly reading: Pick<ServiceReading, "ports" | "families" | "sourceRanges">;
  /** Addresses in the Service's status. */
  readonly published: readonly string[];
  /** This machine's Node. */
  readonly node: Node;
  /** Addresses of this machine, in canonical form. */
  readonly localIps: readonly string[];
  /** Our rules in each family that has any. */
  readonly rules: Readonly<Partial<Record<IpFamily, TracedRules>>>;
}

/** The node among `nodes` that this machine is, by its addresses. */
export function nodeHere(nodes: readonly Node[], localIps: readonly string[]): Node | undefined {
  const local = new Set(localIps);
  return nodes.find(({ status }) => (status?.addresses ?? []).some(({ address }) => local.has(canonical(address))));
}

/** The paths of packets to each published address that is this machine's; where none is, to the node's own ones, which routers then send to. */
export function packetPaths(facts: PathFacts): {
  readonly paths: readonly PacketPath[];
  readonly otherTargets?: number;
} {
  const { reading, localIps } = facts;
  const targets = targetAddresses(facts).flatMap(({ ip, family }) =>
    reading.ports.map((port) => ({ ip, family, rules: facts.rules[family] ?? NO_RULES, port }))
  );
  const paths = targets.slice(0, MAX_TARGETS).flatMap(({ ip, family, rules, port }) =>
    senders(facts, { ip, family }).map((sender) => pathOf({ ip, port, sender, rules, localIps }))
  );
  return { paths, ...(targets.length > MAX_TARGETS ? { otherTargets: targets.length - MAX_TARGETS } : {}) };
}

interface Target {
  readonly ip: string;
  readonly family: IpFamily;
}

function targetAddresses({ reading, published, node, localIps }: PathFacts): readonly Target[] {
  const local = new Set(localIps);
  const here = (addresses: readonly string[]): readonly Target[] =>
    addresses.map(canonical).flatMap((ip) => {
      const family = ipFamilyOf(ip);
      return family !== undefined && local.has(ip) && reading.families.includes(family) ? [{ ip, family }] : [];
    });
  const listed = here(published);
  return listed.length > 0 ? listed : here((node.status?.addresses ?? []).map(({ address }) => address));
}

interface Sender {
  readonly client: PacketClient;
  readonly from: string;
}

function senders({ reading, node }: PathFacts, { ip, family }: Target): readonly Sender[] {
  const ranges = (reading.sourceRanges ?? []).flatMap((text) => parseIpRange(text) ?? [])
    .filter((range) => range.family === family);
  const isAdmitted = (from: string): boolean => reading.sourceRanges === undefined || isInAny(ranges, from);
  const admitted = STRANGERS[family].find(isAdmitted) ?? reading.sourceRanges?.find((text) => isOf(text, family));
  const refused = STRANGERS[family].find((from) => !isAdmitted(from));
  const pods = (node.spec?.podCIDRs ?? [node.spec?.podCIDR ?? ""]).find((text) => isOf(text, family));
  return [
    ...(admitted === undefined ? [] : [{ client: "outside", from: admitted } as const]),
    ...(refused === undefined ? [] : [{ client: "not-admitted", from: refused } as const]),
    ...(pods === undefined ? [] : [{ client: "pod", from: pods } as const]),
    { client: "node", from: ip },
  ];
}

function pathOf({ ip, port, sender, rules, localIps }: {
  readonly ip: string;
  readonly port: ServicePort;
  readonly sender: Sender;
  readonly rules: TracedRules;
  readonly localIps: readonly string[];
}): PacketPath {
  const packet = {
    from: sender.from.split("/")[0] ?? "",
    to: ip,
    protocol: port.protocol,
    port: port.port,
    fromNode: sender.client === "node",
  };
  const ends = tracePacket(rules, packet, { localIps }).map(packetEnd);
  return {
    address: ip,
    port: `${port.port}/${port.protocol}`,
    ...sender,
    ends: ends.slice(0, MAX_ENDS),
    ...(ends.length > MAX_ENDS ? { otherEnds: ends.length - MAX_ENDS } : {}),
  };
}

function packetEnd({ dest, chance, masquerade, chains }: Outcome): PacketEnd {
  const [ip = "", port] = dest.split(" ");
  const to = port === undefined ? WORDS[dest] ?? dest : ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
  return { to, share: Math.round(chance * 1e4) / 1e4, masqueraded: masquerade, chains };
}

function canonical(address: string): string {
  return canonicalIp(address) ?? address;
}

function isOf(text: string, family: IpFamily): boolean {
  return parseIpRange(text)?.family === family;
}

function isInAny(ranges: readonly IpRange[], ip: string): boolean {
  const one = parseIpRange(ip);
  return one !== undefined && ranges.some((range) => ipRangeContains(range, one));
}

/** Addresses that nobody has (RFC 5737, RFC 3849), the first three of which no list of ranges is likely to hold in part. */
const STRANGERS: Readonly<Record<IpFamily, readonly string[]>> = {
  IPv4: ["192.0.2.1", "198.51.100.1", "203.0.113.1"],
  IPv6: ["2001:db8::1", "2001:db8:1::1", "2001:db8:2::1"],
};

/** Nothing leads to them. */
const NO_RULES: TracedRules = { entries: {}, chains: new Map() };

const WORDS: Readonly<Record<string, string>> = {
  DROP: "dropped",
  RESET: "reset",
  REJECT: "rejected",
  PASS: "passed",
};

/** Ends that are listed of one path, in every form of the output. */
const MAX_ENDS = 16;
/** Pairs of an address and a port that are listed of one Service, in every form of the output. */
const MAX_TARGETS = 128;
