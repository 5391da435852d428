// The whole rule set that a forwarding plan means, one address family at a time. Pure.
// Life of a packet: PREROUTING or OUTPUT, SERVICES (by port), the port's chains (ranges, endpoint, DNAT), then FORWARD accepts by mark or
// INPUT drops or rejects by mark, then POSTROUTING masquerades by mark. nat chains see only the first packet of a connection.
import { compareText } from "../../core/shared/compare_text.ts";
import type { ForwardedPort, ForwardingPlan } from "../dataplane_contract.ts";
import { type IpFamily, PROTOCOLS } from "../../core/shared/ip.ts";
import { parseIpRanges, rangeTexts } from "../../core/shared/ip_ranges.ts";
import {
  calicoChainName,
  DROP_CHAIN,
  FORWARD_CHAIN,
  HAIRPIN_CHAIN,
  INPUT_CHAIN,
  KEEP_SOURCE_CHAIN,
  KUBE_ROUTER_FORWARD_CHAIN,
  LOCAL_CHAIN,
  MARK_CHAIN,
  NO_LOCAL_CHAIN,
  POSTROUTING_CHAIN,
  REJECT_CHAIN,
  SERVICES_CHAIN,
} from "./desired_chain_names.ts";
import { desiredDispatch } from "./desired_dispatch.ts";
import {
  desiredServiceChains,
  endpointObstacle,
  localEndpointIps,
  type ServiceChains,
} from "./desired_service_chains.ts";
import type { Chain, Jump, MarkBits, Rule, RuleSet } from "./ruleset.ts";
import { portName } from "./too_large.ts";

/** What the kernel and the tools of one family can do, as far as rules depend on it. */
export interface RuleFeatures {
  /** Whether MASQUERADE can choose source ports at random, which avoids clashes under load (Linux 3.14, iptables 1.6.2). */
  readonly randomFully: boolean;
  /** Rules for SCTP ports. */
  readonly sctp: boolean;
  /** Whether the `recent` match is there, for session affinity. */
  readonly recent: boolean;
  /** Whether packets between pods on one bridge pass the rules (`bridge-nf-call-iptables`): else answers of a neighbour go past the node. */
  readonly bridgeFilter: boolean;
}

/** What {@linkcode desiredRuleSet} depends on beside the plan. */
export interface RuleSetOptions {
  /** Packet mark bits. */
  readonly marks: MarkBits;
  /** What the kernel and its tools can do. */
  readonly features: RuleFeatures;
  /** Keeps {@linkcode PortRules} from one call to the next; only for calls that differ in nothing but the plan. */
  readonly remember?: (port: ForwardedPort, compute: () => PortRules) => PortRules;
}

/** What one port comes to in one family. */
export interface PortRules {
  /** Absent: the port gets no rules. */
  readonly service?: ServiceChains;
  /** Why it has no rules, or not all that it asks for. */
  readonly failure?: string;
}

/** A port that has no rules, or not all that it asks for. */
export interface PortFailure {
  /** The port that has no rules. */
  readonly port: ForwardedPort;
  /** Address family. */
  readonly family: IpFamily;
  /** In the operator's terms. */
  readonly reason: string;
}

/** The rules of `plan` in `family`, and the ports that could not be served as asked. Independent of the order of the plan's lists. */
export function desiredRuleSet(
  plan: ForwardingPlan,
  family: IpFamily,
  options: RuleSetOptions,
): { readonly ruleSet: RuleSet; readonly failures: readonly PortFailure[] } {
  const ports = plan.ports.filter((port) => port.families.includes(family));
  const failures: PortFailure[] = [];
  const { remember = (_port, compute): PortRules => compute() } = options;
  const named = new Map<string, ForwardedPort>();
  const entries = ports.flatMap((port) => {
    const { service, failure } = remember(port, () => portRules(port, family, options));
    if (failure !== undefined) failures.push({ port, family, reason: failure });
    if (service === undefined) return [];
    // Two ports with chains of one name would get each other's traffic.
    const owner = service.chains.map(({ name }) => named.get(name)).find((one) => one !== undefined);
    if (owner) {
      failures.push({ port, family, reason: `Its chains have the names of those of ${portName(owner)}` });
      return [];
    }
    for (const { name } of service.chains) named.set(name, port);
    return [{ port, service }];
  });
  const dispatch = desiredDispatch(
    entries.map(({ port, service }) => ({
      protocol: port.protocol,
      port: port.port,
      ...(port.matchAddresses === undefined ? {} : { matchAddresses: port.matchAddresses }),
      chain: service.entry,
      comment: service.comment,
    })),
    family,
  );
  const serviceChains = entries.flatMap(({ service }) => service.chains).sort((a, b) => compareText(a.name, b.name));
  const nat = [
    ...dispatch,
    ...localChain(plan.ownAddresses, family),
    ...verdictChains(plan, family, options),
    ...serviceChains,
  ];
  const ruleSet = {
    family,
    tables: { nat, filter: filterChains(options.marks) },
    jumps: desiredJumps(family, plan.ownAddresses === undefined ? SERVICES_CHAIN : LOCAL_CHAIN),
  };
  return { ruleSet, failures };
}

/** The rules of ours in built-in chains. */
export function desiredJumps(family: IpFamily, entry = SERVICES_CHAIN): readonly Jump[] {
  // Where route_localnet is set (kube-proxy does) a rule could send packets of 127.0.0.1 elsewhere: the node's resolver, or a database that
  // listens only there, would be swapped for a tenant's pod.
  const loopback = { cidr: family === "IPv4" ? "127.0.0.0/8" : "::1/128", negated: true } as const;
  const toServices: Rule = {
    match: { destination: loopback, localDestination: true },
    target: { kind: "jump", chain: entry },
  };
  const to = (chain: string): Rule => ({ match: {}, target: { kind: "jump", chain } });
  const jumps: readonly Omit<Jump, "below">[] = [
    { table: "nat", chain: "PREROUTING", rule: toServices },
    { table: "nat", chain: "OUTPUT", rule: toServices },
    { table: "nat", chain: "POSTROUTING", rule: to(POSTROUTING_CHAIN) },
    { table: "filter", chain: "INPUT", rule: to(INPUT_CHAIN) },
    { table: "filter", chain: "FORWARD", rule: to(FORWARD_CHAIN) },
  ];
  return jumps.map((jump) => {
    const policy = jump.chain === "FORWARD" ? [KUBE_ROUTER_FORWARD_CHAIN] : [];
    return { ...jump, below: [...policy, calicoChainName(jump.chain)] };
  });
}

/** In IPVS mode the cluster addresses of all Services are local: a Service at port 443 or 53 would take the API server's and the DNS's. */
function localChain(ownAddresses: readonly string[] | undefined, family: IpFamily): readonly Chain[] {
  if (ownAddresses === undefined) return [];
  const cidrs = rangeTexts(parseIpRanges(ownAddresses, family));
  const target: Rule["target"] = { kind: "jump", chain: SERVICES_CHAIN };
  return [{
    name: LOCAL_CHAIN,
    rules: cidrs.map((cidr) => ({ match: { destination: { cidr } }, target })),
  }];
}

function verdictChains(plan: ForwardingPlan, family: IpFamily, options: RuleSetOptions): readonly Chain[] {
  const { marks, features } = options;
  const mark = (bits: number, match: Rule["match"] = {}): Rule => ({ match, target: { kind: "set-mark", bits } });
  const jump = (chain: string, match: Rule["match"] = {}): Rule => ({ match, target: { kind: "jump", chain } });
  const accept: Rule = { match: {}, target: { kind: "accept" } };
  const podRanges = rangeTexts(parseIpRanges(plan.podCidrs, family));
  // A pod that reaches itself or a neighbour on its bridge must see the answer come back through the node.
  const pods = podRanges.map((cidr) => mark(marks.masquerade, { source: { cidr } }));
  const node = mark(marks.masquerade, { localSource: true });
  const hairpins = hairpinRanges(plan, family);
  return [
    { name: MARK_CHAIN, rules: [mark(marks.ours), ...pods, node] },
    // Where the bridge passes the rules, only a pod that reaches itself loses its address: see HAIRPIN_CHAIN.
    { name: KEEP_SOURCE_CHAIN, rules: [mark(marks.ours), ...(features.bridgeFilter ? [] : pods), node] },
    // ACCEPT ends the nat table: no rule behind ours may send the packet elsewhere. INPUT then reads the mark.
    { name: DROP_CHAIN, rules: [mark(marks.drop), accept] },
    { name: REJECT_CHAIN, rules: [mark(marks.reject), accept] },
    // A load balancer's health check outside takes silence for an answer; who is here has asked the wrong node, and learns it at once.
    {
      name: NO_LOCAL_CHAIN,
      rules: [
        ...podRanges.map((cidr) => jump(REJECT_CHAIN, { source: { cidr } })),
        jump(REJECT_CHAIN, { localSource: true }),
        jump(DROP_CHAIN),
      ],
    },
    {
      name: HAIRPIN_CHAIN,
      rules: hairpins.map((cidr) => mark(marks.masquerade, { source: { cidr }, destination: { cidr } })),
    },
    {
      name: POSTROUTING_CHAIN,
      rules: [
        ...(hairpins.length > 0 ? [jump(HAIRPIN_CHAIN, { mark: { bit: marks.ours } })] : []),
        { match: { mark: { bit: marks.masquerade, negated: true } }, target: { kind: "return" } },
        // A packet that is wrapped (VXLAN) keeps its mark and would be masqueraded once more on its way out.
        { match: {}, target: { kind: "clear-mark", bits: marks.ours + marks.masquerade } },
        { match: {}, target: { kind: "masquerade", randomFully: features.randomFully } },
      ],
    },
  ];
}

/** Endpoints of this node that keep their clients' addresses, as single addresses. */
function hairpinRanges(plan: ForwardingPlan, family: IpFamily): readonly string[] {
  const ips = plan.ports
    .filter((port) => port.trafficPolicy === "Local" && port.families.includes(family))
    .flatMap((port) => localEndpointIps(port, family));
  return rangeTexts(parseIpRanges(ips));
}

function filterChains(marks: MarkBits): readonly Chain[] {
  return [
    {
      name: FORWARD_CHAIN,
      rules: [
        { match: { mark: { bit: marks.ours } }, target: { kind: "accept" } },
        { match: { established: true }, target: { kind: "accept" } },
        // Only the first packet of a flow is marked, and a UDP flow that nobody answers (syslog) is never established.
        { match: { admitted: true }, target: { kind: "accept" } },
      ],
    },
    {
      name: INPUT_CHAIN,
      rules: [
        { match: { mark: { bit: marks.drop } }, target: { kind: "drop" } },
        { match: { protocol: "TCP", mark: { bit: marks.reject } }, target: { kind: "reset" } },
        { match: { mark: { bit: marks.reject } }, target: { kind: "reject" } },
      ],
    },
  ];
}

function portRules(port: ForwardedPort, family: IpFamily, { marks, features }: RuleSetOptions): PortRules {
  const failure = failureOf(port, features);
  if (failure?.fatal) return { failure: failure.reason };
  const served = failure?.withoutAffinity ? withoutAffinity(port) : port;
  const service = desiredServiceChains(served, family, marks);
  return failure === undefined ? { service } : { service, failure: failure.reason };
}

function failureOf(
  port: ForwardedPort,
  features: RuleFeatures,
): { readonly reason: string; readonly fatal?: true; readonly withoutAffinity?: true } | undefined {
  // One rule that iptables refuses would keep all others out of the kernel.
  if (!PROTOCOLS.includes(port.protocol)) {
    return { reason: `Protocol "${port.protocol}" cannot be forwarded`, fatal: true };
  }
  if (port.protocol === "SCTP" && !features.sctp) return { reason: "The kernel cannot forward SCTP", fatal: true };
  if (port.affinitySeconds !== undefined && !features.recent) {
    return { reason: 'The kernel lacks the "recent" match: session affinity is not kept', withoutAffinity: true };
  }
  const obstacles = port.endpoints.map(endpointObstacle).filter((obstacle) => obstacle !== undefined);
  return obstacles.length === 0 ? undefined : { reason: `Endpoint ${obstacles.join(", ")}` };
}

function withoutAffinity(port: ForwardedPort): ForwardedPort {
  const { affinitySeconds: _, ...rest } = port;
  return rest;
}
