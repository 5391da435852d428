// The chains of one port of one Service in one family: which clients may come, which endpoint a new connection gets, and whether the
// endpoint sees the client's address. Pure. The measurements behind the layout are in docs/decisions.
import { compareText } from "../../core/shared/compare_text.ts";
import type { ForwardedPort, ForwardEndpoint } from "../dataplane_contract.ts";
import { METADATA_SERVICES } from "../../core/service/address_rules.ts";
import {
  ipFamilyOf,
  type IpRange,
  ipRangeContains,
  parseIpRange,
  parseIpRanges,
  rangeTexts,
} from "../../core/shared/ip_ranges.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import {
  affinityListName,
  DROP_CHAIN,
  KEEP_SOURCE_CHAIN,
  MARK_CHAIN,
  NO_LOCAL_CHAIN,
  portChainNames,
  REJECT_CHAIN,
} from "./desired_chain_names.ts";
import { chanceOf } from "./render_rule.ts";
import type { Chain, MarkBits, Rule, Target } from "./ruleset.ts";

/** What a port needs in the nat table. */
export interface ServiceChains {
  /** Chain to which the dispatch sends packets for the port. */
  readonly entry: string;
  /** Said beside the dispatch rule. */
  readonly comment: string;
  /** The port's own chains. */
  readonly chains: readonly Chain[];
}

/** The chains of `port` in `family`. Endpoints that can't be reached through a node's address are left out. */
export function desiredServiceChains(port: ForwardedPort, family: IpFamily, marks: MarkBits): ServiceChains {
  const names = portChainNames(port);
  const { local, remote } = usableEndpoints(port, family);
  const admitted = admittedRanges(port, family);
  const comment = commentOf(port);
  if (admitted !== "everyone" && admitted.length === 0) {
    return { entry: DROP_CHAIN, comment: `${comment} no source range`, chains: [] };
  }
  if (local.length + remote.length === 0) {
    const isElsewhere = port.trafficPolicy === "Local" &&
      port.endpoints.some((endpoint) => ipFamilyOf(endpoint.ip) === family);
    const [verdict, why] = isElsewhere ? [NO_LOCAL_CHAIN, "no local endpoints"] : [REJECT_CHAIN, "no endpoints"];
    if (admitted === "everyone") return { entry: verdict, comment: `${comment} ${why}`, chains: [] };
    return {
      entry: names.ranges,
      comment: `${comment} ${why}`,
      chains: [rangesChain(names.ranges, admitted, verdict)],
    };
  }
  const chains = [
    ...(admitted === "everyone" ? [] : [rangesChain(names.ranges, admitted, names.service)]),
    serviceChain(port, local, remote, marks),
    ...(remote.length > 0 ? [remoteChain(port, remote, marks)] : []),
  ];
  return { entry: admitted === "everyone" ? names.service : names.ranges, comment, chains };
}

/** Why an endpoint can't be forwarded to, or `undefined` if it can. */
export function endpointObstacle(endpoint: ForwardEndpoint): string | undefined {
  const range = parseIpRange(endpoint.ip);
  if (!range || endpoint.ip.includes("/")) return `"${endpoint.ip}" is not an IP address`;
  const isUnusable = UNREACHABLE_RANGES.some((one) => ipRangeContains(one, range));
  return isUnusable ? `"${endpoint.ip}" is not an address that other hosts can reach` : undefined;
}

/**
 * This host, loopback, link-local (where clouds answer with a node's credentials), multicast and what is reserved; in IPv6 also
 * IPv4 addresses in its spelling, which mean these once more (RFC 4291, RFC 3927, RFC 1112). And where clouds answer so elsewhere.
 */
const UNREACHABLE_RANGES: readonly IpRange[] = [
  ...parseIpRanges(
    ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/96", "::ffff:0:0/96", "fe80::/10", "ff00::/8"],
  ),
  ...METADATA_SERVICES,
];

function usableEndpoints(
  port: ForwardedPort,
  family: IpFamily,
): { readonly local: readonly ForwardEndpoint[]; readonly remote: readonly ForwardEndpoint[] } {
  const unique = new Map<string, ForwardEndpoint>();
  for (const endpoint of port.endpoints) {
    if (ipFamilyOf(endpoint.ip) !== family || endpointObstacle(endpoint) !== undefined) continue;
    unique.set(`${endpoint.ip} ${String(endpoint.port).padStart(5, "0")}`, endpoint);
  }
  const usable = [...unique].sort(([a], [b]) => compareText(a, b)).map(([, endpoint]) => endpoint);
  return {
    local: usable.filter((endpoint) => endpoint.local),
    remote: port.trafficPolicy === "Local" ? [] : usable.filter((endpoint) => !endpoint.local),
  };
}

function admittedRanges(port: ForwardedPort, family: IpFamily): "everyone" | readonly string[] {
  if (!port.sourceRanges) return "everyone";
  const ranges = parseIpRanges(port.sourceRanges, family);
  return ranges.some(({ prefix }) => prefix === 0) ? "everyone" : rangeTexts(ranges);
}

/** Both ways out end the nat table, so that nothing behind ours (a hostPort, a process of the host) answers a client that is not admitted. */
function rangesChain(name: string, admitted: readonly string[], next: string): Chain {
  return {
    name,
    rules: [
      ...admitted.map((cidr): Rule => ({ match: { source: { cidr } }, target: { kind: "jump", chain: next } })),
      { match: {}, target: { kind: "jump", chain: DROP_CHAIN } },
    ],
  };
}

function serviceChain(
  port: ForwardedPort,
  local: readonly ForwardEndpoint[],
  remote: readonly ForwardEndpoint[],
  marks: MarkBits,
): Chain {
  const names = portChainNames(port);
  const toRemote: Target = { kind: "jump", chain: names.remote };
  // The remote group as a whole gets its share first, so that every endpoint has the same chance.
  const remoteShare: Rule[] = remote.length === 0
    ? []
    : [{ match: chanceMatch(remote.length, local.length + remote.length), target: toRemote }];
  return {
    name: names.service,
    rules: [
      ...markRules(port, local, marks),
      ...stickyRules(port, [...local, ...remote], marks),
      ...remoteShare,
      ...spreadRules(port, local),
    ],
  };
}

/**
 * A pod that reaches itself through the node must see the node as the sender. Pods inside of the node's ranges are marked by the shared
 * chain already; under policy Local that is left to the chain K3SLB-HAIRPIN, which knows what was chosen.
 */
function markRules(port: ForwardedPort, local: readonly ForwardEndpoint[], marks: MarkBits): readonly Rule[] {
  const mark = (chain: string): Rule => ({ match: {}, target: { kind: "jump", chain } });
  if (port.trafficPolicy === "Local") return [mark(KEEP_SOURCE_CHAIN)];
  const own = local.filter((endpoint) => endpoint.outsidePodCidrs).map(({ ip }) => ip);
  const target: Target = { kind: "set-mark", bits: marks.masquerade };
  return [mark(MARK_CHAIN), ...rangeTexts(parseIpRanges(own)).map((cidr) => ({ match: { source: { cidr } }, target }))];
}

/** The endpoints of this node that a port uses in `family`, each address once. */
export function localEndpointIps(port: ForwardedPort, family: IpFamily): readonly string[] {
  return [...new Set(usableEndpoints(port, family).local.map(({ ip }) => ip))];
}

function remoteChain(port: ForwardedPort, remote: readonly ForwardEndpoint[], marks: MarkBits): Chain {
  // The answer of an endpoint on another node must come back through this node, so it must see this node's address.
  const masquerade: Rule = { match: {}, target: { kind: "set-mark", bits: marks.masquerade } };
  return { name: portChainNames(port).remote, rules: [masquerade, ...spreadRules(port, remote)] };
}

/** Each endpoint gets the same share: the first of n is chosen with a chance of 1/n, and so on. */
function spreadRules(port: ForwardedPort, endpoints: readonly ForwardEndpoint[]): readonly Rule[] {
  return endpoints.map((endpoint, index) => ({
    match: {
      protocol: port.protocol,
      ...chanceMatch(1, endpoints.length - index),
      ...(port.affinitySeconds === undefined
        ? {}
        : { recent: { list: listName(port, endpoint), action: "set" } as const }),
    },
    target: { kind: "dnat", ip: endpoint.ip, port: endpoint.port },
  }));
}

/**
 * Session affinity: a client that is in an endpoint's list goes there again and its time begins anew. A list holds 100 clients unless the
 * module parameter `ip_list_tot` of xt_recent says otherwise; the client that was seen longest ago makes room (kube-proxy has the same limit).
 */
function stickyRules(port: ForwardedPort, endpoints: readonly ForwardEndpoint[], marks: MarkBits): readonly Rule[] {
  const seconds = port.affinitySeconds;
  if (seconds === undefined) return [];
  return endpoints.flatMap((endpoint): readonly Rule[] => {
    const list = listName(port, endpoint);
    const protocol = port.protocol;
    const stay: Rule = {
      match: { protocol, recent: { list, action: "update", seconds } },
      target: { kind: "dnat", ip: endpoint.ip, port: endpoint.port },
    };
    if (endpoint.local) return [stay];
    const mark: Rule = {
      match: { protocol, recent: { list, action: "check", seconds } },
      target: { kind: "set-mark", bits: marks.masquerade },
    };
    return [mark, stay];
  });
}

function listName(port: ForwardedPort, endpoint: ForwardEndpoint): string {
  return affinityListName(port, endpoint.ip, endpoint.port);
}

/** No match at all for a chance of one. */
function chanceMatch(part: number, whole: number): { readonly chance?: number } {
  return part >= whole ? {} : { chance: chanceOf(part, whole) };
}

/** Names of Kubernetes objects need no quoting; anything else is left out. iptables takes 255 characters. */
function commentOf(port: ForwardedPort): string {
  const name = `${port.namespace}/${port.service}${port.portName === "" ? "" : `:${port.portName}`}`;
  return name.replaceAll(/[^A-Za-z0-9./:_-]/g, "").slice(0, 220);
}
