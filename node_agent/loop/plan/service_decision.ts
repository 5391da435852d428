// What this node does for one Service: which of its ports it forwards, to which endpoints, at which addresses, and why not. Pure.
// The host has its say here: reserved ports, processes that listen, pods that had a port first.
import type { EndpointSlice } from "../../../core/kube/types.ts";
import type { HostInterface } from "../../../core/node_identity/host_facts.ts";
import { type AddressMatch, addressMatch, servedAddresses } from "../../../core/service/address_match.ts";
import { type EndpointChoice, readyPodsAt, serviceEndpoints } from "../../../core/service/endpoints.ts";
import { PORT_NOT_HELD_REASON } from "../../../core/service/labels.ts";
import { portId, portLabel } from "../../../core/service/port_owners.ts";
import type { ServicePort, ServiceReading, SettingsProblem } from "../../../core/service/reading.ts";
import { IPVS_INTERFACE } from "../../../core/shared/ip.ts";
import { type IpRange, ipRangeContains, parseIpRange } from "../../../core/shared/ip_ranges.ts";
import type { ForwardedPort, ForwardEndpoint } from "../../dataplane_contract.ts";
import { type ListeningSocket, portListeners, renderListener } from "../../host/listening_sockets.ts";
import type { Contender } from "./contenders.ts";
import { findReservedRange, type ReservedRange } from "./reserved_ports.ts";

/** A listening socket as the loop knows it. */
export interface SeenListener extends ListeningSocket {
  /** It is there to stay: it was seen at an earlier reading already. */
  readonly settled?: true;
}

/** What this node knows of itself, whichever Service is asked about. */
export interface LocalFacts {
  /** Name of the node. */
  readonly nodeName: string;
  /** Nodes that have stopped answering: their endpoints are used only where there are no others. */
  readonly deadNodes?: ReadonlySet<string>;
  /** This host's interfaces. */
  readonly interfaces: readonly HostInterface[];
  /** Sockets that listen on this host. */
  readonly listeners: readonly SeenListener[];
  /** `NAMESPACE/NAME` of this node's pods in the host's network or with host ports, and those ports as {@linkcode portLabel} calls them. */
  readonly hostPods: ReadonlyMap<string, readonly string[]>;
  /** Ports that no Service may take. */
  readonly reserved: readonly ReservedRange[];
  /** Rules that one Service may ask for, ports times endpoints, source ranges and matched addresses. */
  readonly maxServiceRules: number;
  /** Serve a port even if a process of the host listens on it. */
  readonly allowPortOverride: boolean;
  /** {@linkcode portKey} of the ports that the kernel has: a socket that listens for a moment doesn't take them away, one that stays does. */
  readonly programmed: ReadonlySet<string>;
}

/** What this node does for one Service. */
export interface ServiceDecision {
  /** Ports that the kernel must have for it. */
  readonly ports: readonly ForwardedPort[];
  /** Why it is not, or not wholly, served here. */
  readonly refusals: readonly SettingsProblem[];
  /** What the operator should know although all is served. */
  readonly notes: readonly string[];
  /** Pods (`namespace/name`) that asked for one of its ports (as {@linkcode portLabel} calls it) when it was served already. */
  readonly latePods?: readonly { readonly pod: string; readonly port: string }[];
  /** Addresses of this node that the Service is served at; absent: at all. */
  readonly servedAddresses?: readonly string[];
}

/** Names one port of one Service, the same at every reconcile. */
export function portKey(port: ForwardedPort): string {
  return `${port.namespace}/${port.service}/${port.protocol}/${port.port}`;
}

/** What decides about one Service. */
export interface ServiceContext {
  readonly facts: LocalFacts;
  /** The Service, and which of its ports it may have. */
  readonly contender: Contender;
  /** Its own. */
  readonly slices: readonly EndpointSlice[];
  /** Addresses of this node. */
  readonly ownIps: ReadonlySet<string>;
  /** Where its pods have their addresses. */
  readonly podRanges: readonly IpRange[];
}

/** What this node does for a Service, and why not. */
export function decideService(reading: ServiceReading, context: ServiceContext): ServiceDecision {
  if (reading.unknownAccess !== undefined) return refused(reading.unknownAccess);
  const match = addressMatch(reading, context.facts.interfaces.filter(hasOwnAddresses));
  if (match.absent !== undefined && match.families.length === 0) return refused(match.absent);
  const { maxServiceRules } = context.facts;
  const rules = rulesAsked(reading, context.slices, match.addresses?.length);
  if (rules > maxServiceRules) {
    const message =
      `The Service asks for ${rules} rules here (ports times endpoints, ranges and addresses), more than ` +
      `${maxServiceRules} (--max-service-rules)`;
    return refused({ reason: "TooManyRules", message });
  }
  const { problem, ports } = context.contender;
  if (problem !== undefined) return refused(problem);
  const { held = [], unheld = [] } = Object.groupBy(
    reading.ports,
    (port) => ports.has(portId(port)) ? "held" : "unheld",
  );
  const decisions = held.map((port) => {
    const choice = endpointChoice(reading, { port, match, context });
    return decidePort(forwardedPort(reading, { port, match, context, choice }), { ...context, choice });
  });
  const missing = unheld.map(notHeld);
  // A port that was added to the Service waits for the pod's successor, which holds it; the others are served meanwhile.
  const isWaiting = held.length > 0;
  const served = servedAddresses(match, context.facts.interfaces);
  return {
    ports: decisions.flatMap((one) => one.ports),
    refusals: [
      ...decisions.flatMap((one) => one.refusals),
      ...(isWaiting ? [] : missing),
      ...(match.absent ? [match.absent] : []),
    ],
    notes: [
      ...decisions.flatMap((one) => one.notes),
      ...[...(isWaiting ? missing : []), ...reading.faults].map(({ message }) => message),
    ],
    latePods: decisions.flatMap((one) => one.latePods ?? []),
    ...(served === undefined ? {} : { servedAddresses: served }),
  };
}

/** Nobody has reserved the port: it may be another pod's hostPort. */
function notHeld(port: ServicePort): SettingsProblem {
  const message = `${portLabel(port)} is not among the host ports of the Service's pod here`;
  return { reason: PORT_NOT_HELD_REASON, message };
}

interface PortContext {
  readonly port: ServicePort;
  readonly match: AddressMatch;
  readonly context: ServiceContext;
}

interface WithChoice {
  /** Which endpoints of the slices are the port's. */
  readonly choice: Omit<EndpointChoice, "localFirst">;
}

function endpointChoice(
  { selector }: ServiceReading,
  { port, match, context }: PortContext,
): WithChoice["choice"] {
  const { name: portName, protocol, targetPort } = port;
  const { families } = match;
  const { nodeName, deadNodes } = context.facts;
  return {
    portName,
    protocol,
    families,
    nodeName,
    ...(deadNodes === undefined ? {} : { deadNodes }),
    // Slices that somebody else writes mean what they say.
    ...(selector !== undefined && typeof targetPort === "number" ? { targetPort } : {}),
  };
}

function forwardedPort(
  reading: ServiceReading,
  { port, match, context, choice }: PortContext & WithChoice,
): ForwardedPort {
  const { protocol, name: portName } = port;
  const { namespace, name, trafficPolicy, sourceRanges, affinitySeconds } = reading;
  return {
    namespace,
    service: name,
    portName,
    protocol,
    port: port.port,
    families: match.families,
    trafficPolicy,
    ...(sourceRanges === undefined ? {} : { sourceRanges }),
    ...(match.addresses ? { matchAddresses: match.addresses } : {}),
    ...(affinitySeconds === undefined ? {} : { affinitySeconds }),
    endpoints: serviceEndpoints(context.slices, { ...choice, localFirst: trafficPolicy === "Local" })
      .map((endpoint) => isOutsidePodCidrs(endpoint, context) ? { ...endpoint, outsidePodCidrs: true } : endpoint),
  };
}

/** Calico and others give pods addresses of their own choice, whatever ranges the Node object says. */
function isOutsidePodCidrs({ ip, local }: ForwardEndpoint, { ownIps, podRanges }: ServiceContext): boolean {
  if (!local || ownIps.has(ip)) return false;
  const address = parseIpRange(ip);
  return address !== undefined && !podRanges.some((range) => ipRangeContains(range, address));
}

function decidePort(port: ForwardedPort, context: ServiceContext & WithChoice): ServiceDecision {
  const { facts } = context;
  const label = portLabel(port);
  if (findReservedRange(facts.reserved, port)) {
    return refused({ reason: "ReservedPort", message: `${label} is reserved for the node itself (--reserved-ports)` });
  }
  const silence = port.endpoints.length === 0 ? [`no endpoints: connections to ${label} are refused`] : [];
  const { standing } = context.contender;
  const listener = foreignListener(port, context);
  const holder = foreignHolder(port, context);
  const isThere = facts.programmed.has(portKey(port));
  // Without a reservation the pod that came first has the port.
  if (
    holder !== undefined && (standing === "guest" || (standing === "first" && !isThere && !facts.allowPortOverride))
  ) {
    return refused({ reason: "PortInUse", message: `${label} is in use by pod ${holder}` });
  }
  if (holder !== undefined && standing === "first") {
    return {
      ports: [port],
      refusals: [],
      notes: [`${label} is also asked for by pod ${holder}, ${UNHEARD}`, ...silence],
      ...(facts.allowPortOverride ? {} : { latePods: [{ pod: holder, port: label }] }),
    };
  }
  if (!listener) return { ports: [port], refusals: [], notes: silence };
  const words = `${label} is in use by ${holder === undefined ? renderListener(listener) : `pod ${holder}`}`;
  if (facts.allowPortOverride || (isThere && !listener.settled)) {
    return { ports: [port], refusals: [], notes: [`${words}, ${UNHEARD}`, ...silence] };
  }
  return refused({ reason: "PortInUse", message: `${words}; stop it, or allow it with --allow-port-override` });
}

const UNHEARD = "which gets no connections from outside";

/** Another pod of this node that declares `port` as its own, unless it is a ready endpoint of the Service that listens there. */
function foreignHolder(
  port: ForwardedPort,
  { facts, slices, ownIps, choice }: ServiceContext & WithChoice,
): string | undefined {
  const label = portLabel(port);
  const endpoints = readyPodsAt(slices, { ...choice, port: port.port, ips: ownIps });
  return [...facts.hostPods].find(([name, ports]) => ports.includes(label) && !endpoints.has(name))?.[0];
}

/**
 * A socket that would lose its connections to `port`; those that stay come first. It is none where a ready endpoint of the Service at this
 * very port is a pod in this host's network: that one listens.
 */
function foreignListener(
  port: ForwardedPort,
  { facts, slices, ownIps, choice }: ServiceContext & WithChoice,
): SeenListener | undefined {
  const sockets: readonly SeenListener[] = portListeners(facts.listeners, port);
  const listener = sockets.find((one) => one.settled) ?? sockets[0];
  if (!listener) return undefined;
  return [...readyPodsAt(slices, { ...choice, port: port.port, ips: ownIps })].some((pod) => facts.hostPods.has(pod))
    ? undefined
    : listener;
}

/** Nothing is done, for one reason. */
export function refused(refusal: SettingsProblem): ServiceDecision {
  return { ports: [], refusals: [refusal], notes: [] };
}

/** Whether an interface's addresses are the node's: kube-proxy's are the cluster's, NodeLocal DNSCache's those of the DNS. */
export function hasOwnAddresses({ name }: HostInterface): boolean {
  return name !== IPVS_INTERFACE && name !== "nodelocaldns";
}

/**
 * How many rules a Service asks of this node, before any is made: ports times endpoints, source ranges and matched addresses. They are a tenant's
 * to write, and multiply: 100 ports with 1,000 endpoints fit into 71 KB of EndpointSlice.
 */
function rulesAsked(reading: ServiceReading, slices: readonly EndpointSlice[], addresses = 0): number {
  const wanted = new Set(reading.ports.map(({ name, protocol }) => `${protocol} ${name}`));
  const numbers = Map.groupBy(reading.ports, ({ targetPort, protocol }) => `${protocol} ${targetPort ?? ""}`);
  const forEndpoints = slices.reduce((sum, { ports = [], endpoints }) => {
    const called = ports.filter(({ name, protocol }) => wanted.has(`${protocol ?? "TCP"} ${name ?? ""}`)).length;
    const targets = new Set(ports.map(({ port, protocol }) => `${protocol ?? "TCP"} ${port ?? ""}`));
    const numbered = [...targets].reduce((count, target) => count + (numbers.get(target)?.length ?? 0), 0);
    return sum + Math.max(called, numbered) * (endpoints ?? []).length;
  }, 0);
  return forEndpoints + reading.ports.length * ((reading.sourceRanges ?? []).length + addresses);
}
