// Facts about this node -> what it forwards, and for each Service and pod of a load balancer why it does or does not. Pure.
// Either the pods that are bound to this node decide what it serves, or the agent's own share of all Services does. The order of the facts
// means nothing.
import type { EndpointSlice, Node, Pod, Service } from "../../core/kube/types.ts";
import type { HostInterface } from "../../core/node_identity/host_facts.ts";
import { type AddressMatch, addressMatch, servedAddresses } from "../../core/service/address_match.ts";
import { readyPodsAt, serviceEndpoints } from "../../core/service/endpoints.ts";
import { compareText, objectKey, servedServiceKey, type ServiceKey, sliceServiceKey } from "../../core/service/keys.ts";
import { PORT_NOT_HELD_REASON, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../core/service/labels.ts";
import type { ServiceShare } from "../../core/service/node_share.ts";
import { portId, portLabel } from "../../core/service/port_owners.ts";
import {
  readService,
  type ServicePort,
  type ServiceReading,
  type SettingsProblem,
} from "../../core/service/reading.ts";
import { IPVS_INTERFACE } from "../../core/shared/ip.ts";
import { type IpRange, ipRangeContains, parseIpRange } from "../../core/shared/ip_ranges.ts";
import type { ForwardedPort, ForwardEndpoint, ForwardingPlan } from "../dataplane_contract.ts";
import { portListeners, renderListener } from "../host/listening_sockets.ts";
import { type Contender, podContenders, shareContenders } from "./contenders.ts";
import type { DepartedService } from "./departed_services.ts";
import type { SeenListener } from "./listener_history.ts";
import { findReservedRange, type ReservedRange } from "./reserved_ports.ts";
import { rulesAsked } from "./service_size.ts";

/** Everything that decides what this node forwards. */
export interface ForwardingFacts {
  /** Name of the node. */
  readonly nodeName: string;
  /** Pods of load balancers; those of other nodes and ended ones are passed over. */
  readonly pods: readonly Pod[];
  /** Services that were served here until now, and are for a while still. Others have their ports before them. */
  readonly departed?: readonly DepartedService[];
  /** What this node is to do about each Service, where the agent decides; absent: the pods decide. */
  readonly share?: ReadonlyMap<ServiceKey, ServiceShare>;
  /** Services of type LoadBalancer. */
  readonly services: readonly Service[];
  /** EndpointSlices of these Services. */
  readonly slices: readonly EndpointSlice[];
  /** Nodes that have stopped to answer: their endpoints are used only where there are no others. */
  readonly deadNodes?: ReadonlySet<string>;
  /** This node's object, once it is known. */
  readonly node?: Node;
  /** This host's interfaces. */
  readonly interfaces: readonly HostInterface[];
  /** Sockets that listen on this host. */
  readonly listeners: readonly SeenListener[];
  /** `NAMESPACE/NAME` of this node's pods in the host's network or with host ports, and those ports as {@linkcode portLabel} calls them. */
  readonly hostPods: ReadonlyMap<string, readonly string[]>;
  /** Ports that no Service may take. */
  readonly reserved: readonly ReservedRange[];
  /** Rules that one Service may ask for, counted by {@linkcode rulesAsked}. */
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

/** What this node does for one pod. */
export interface PodVerdict extends ServiceDecision {
  /** The pod. */
  readonly pod: Pod;
}

/** What this node says of one Service. */
export interface ServiceVerdict extends ServiceDecision {
  /** The Service. */
  readonly service: Service;
}

/** What {@linkcode forwardingDecision} decides. */
export interface ForwardingDecision {
  /** What the kernel shall forward. */
  readonly plan: ForwardingPlan;
  /** One for each pod that holds its ports and is not leaving, sorted by namespace and name; none for pods of Services that depart. */
  readonly verdicts: readonly PodVerdict[];
  /** One for each Service that this node is chosen for; absent where the pods decide. Others' load balancers report for themselves. */
  readonly services?: readonly ServiceVerdict[];
}

/** What this node forwards, and what each Service and each pod of a load balancer is told. */
export function forwardingDecision(facts: ForwardingFacts): ForwardingDecision {
  const pods = facts.pods.filter((pod) => podHolds(pod, facts.nodeName)).sort(byName);
  const services = facts.services.filter((service) => readService(service).isLoadBalancer);
  const { departed = [], share } = facts;
  const contenders = share === undefined
    ? podContenders({ services, pods, departed })
    : shareContenders({ services, pods, share, departed, serves: servesPort(facts.programmed) });
  const slices = Map.groupBy(facts.slices, sliceServiceKey);
  const ownIps = new Set(facts.interfaces.filter(isOwn).flatMap((one) => one.addresses));
  const podRanges = podCidrs(facts.node).flatMap((cidr) => parseIpRange(cidr) ?? []);
  const decisions = new Map(contenders.map((contender) => {
    const key = objectKey(contender.service);
    const context = { facts, ownIps, podRanges, contender, slices: slices.get(key) ?? [] };
    return [key, decideService(readService(contender.service), context)];
  }));
  const guests = new Set(contenders.flatMap((one) => one.standing === "guest" ? [objectKey(one.service)] : []));
  return {
    plan: {
      ports: [...decisions.values()].flatMap((one) => one.ports).sort(byPort),
      podCidrs: podCidrs(facts.node),
      ...(facts.interfaces.every(isOwn) ? {} : { ownAddresses: [...ownIps].sort() }),
    },
    verdicts: pods
      .filter((pod) => pod.metadata?.deletionTimestamp === undefined && !guests.has(servedServiceKey(pod) ?? ""))
      .map((pod) => {
        const key = servedServiceKey(pod) ?? "";
        return { pod, ...(decisions.get(key) ?? notServed(pod, share?.get(key))) };
      }),
    ...(share === undefined ? {} : {
      services: contenders.filter(({ standing }) => standing === "first").map(({ service }) => ({
        service,
        ...(decisions.get(objectKey(service)) ?? { ports: [], refusals: [], notes: [] }),
      })),
    }),
  };
}

/** Whether {@linkcode portKey}s in `programmed` name a port (`80/TCP`) of a Service. */
export function servesPort(programmed: ReadonlySet<string>): (service: Service, port: string) => boolean {
  return (service, port) => programmed.has(`${objectKey(service)}/${port.split("/").toReversed().join("/")}`);
}

/** Names one port of one Service, the same at every reconcile. */
export function portKey(port: ForwardedPort): string {
  return `${port.namespace}/${port.service}/${port.protocol}/${port.port}`;
}

/**
 * Whether a pod holds its node's ports: bound to `nodeName` and not ended. A leaving pod still holds them: the scheduler gives them
 * to nobody else before it is gone.
 */
export function podHolds(pod: Pod, nodeName: string): boolean {
  return pod.spec?.nodeName === nodeName && pod.status?.phase !== "Failed" && pod.status?.phase !== "Succeeded";
}

interface ServiceContext {
  readonly facts: ForwardingFacts;
  readonly contender: Contender;
  readonly slices: readonly EndpointSlice[];
  /** Addresses of this node. */
  readonly ownIps: ReadonlySet<string>;
  readonly podRanges: readonly IpRange[];
}

function decideService(reading: ServiceReading, context: ServiceContext): ServiceDecision {
  if (reading.unknownAccess !== undefined) return refused(reading.unknownAccess);
  const match = addressMatch(reading, context.facts.interfaces.filter(isOwn));
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
  const decisions = held.map((port) => decidePort(forwardedPort(reading, { port, match, context }), context));
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

function forwardedPort(reading: ServiceReading, { port, match, context }: PortContext): ForwardedPort {
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
    endpoints: serviceEndpoints(context.slices, {
      portName,
      protocol,
      families: match.families,
      nodeName: context.facts.nodeName,
      localFirst: trafficPolicy === "Local",
      ...(context.facts.deadNodes === undefined ? {} : { deadNodes: context.facts.deadNodes }),
    }).map((endpoint) => isOutsidePodCidrs(endpoint, context) ? { ...endpoint, outsidePodCidrs: true } : endpoint),
  };
}

/** Calico and others give pods addresses of their own choice, whatever ranges the Node object says. */
function isOutsidePodCidrs({ ip, local }: ForwardEndpoint, { ownIps, podRanges }: ServiceContext): boolean {
  if (!local || ownIps.has(ip)) return false;
  const address = parseIpRange(ip);
  return address !== undefined && !podRanges.some((range) => ipRangeContains(range, address));
}

function decidePort(port: ForwardedPort, context: ServiceContext): ServiceDecision {
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
function foreignHolder(port: ForwardedPort, { facts, slices, ownIps }: ServiceContext): string | undefined {
  const label = portLabel(port);
  const endpoints = readyPodsAt(slices, { ...port, ips: ownIps, nodeName: facts.nodeName, localFirst: false });
  return [...facts.hostPods].find(([name, ports]) => ports.includes(label) && !endpoints.has(name))?.[0];
}

/**
 * A socket that would lose its connections to `port`; those that stay come first. It is none where a ready endpoint of the Service at this
 * very port is a pod in this host's network: that one listens.
 */
function foreignListener(port: ForwardedPort, { facts, slices, ownIps }: ServiceContext): SeenListener | undefined {
  const sockets: readonly SeenListener[] = portListeners(facts.listeners, port);
  const listener = sockets.find((one) => one.settled) ?? sockets[0];
  if (!listener) return undefined;
  const choice = { ...port, ips: ownIps, nodeName: facts.nodeName, localFirst: false };
  return readyPodsAt(slices, choice).isDisjointFrom(facts.hostPods) ? listener : undefined;
}

function refused(refusal: SettingsProblem): ServiceDecision {
  return { ports: [], refusals: [refusal], notes: [] };
}

function notServed(pod: Pod, share: ServiceShare | undefined): ServiceDecision {
  if (share !== undefined && share.part !== "serve") return refused(share.problem);
  const key = servedServiceKey(pod);
  const message = key === undefined
    ? `Labels ${SERVICE_NAME_LABEL} and ${SERVICE_NAMESPACE_LABEL} don't name a Service`
    : `Service ${key} does not exist or is not of type LoadBalancer`;
  return refused({ reason: "NoSuchService", message });
}

/** kube-proxy's addresses are the cluster's, NodeLocal DNSCache's those of the DNS: no Service is reached at them. */
function isOwn({ name }: HostInterface): boolean {
  return name !== IPVS_INTERFACE && name !== "nodelocaldns";
}

function podCidrs(node: Node | undefined): readonly string[] {
  const { podCIDRs = [], podCIDR } = node?.spec ?? {};
  return podCIDRs.length > 0 ? podCIDRs : podCIDR ? [podCIDR] : [];
}

function byName(a: Pod, b: Pod): number {
  return compareText(objectKey(a), objectKey(b));
}

function byPort(a: ForwardedPort, b: ForwardedPort): number {
  return a.port - b.port || compareText(a.protocol, b.protocol) || compareText(portKey(a), portKey(b));
}
