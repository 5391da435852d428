// Facts about this node -> what it forwards, and for each pod of a load balancer why it does or does not. Pure.
// A pod that is bound to this node is what counts: the scheduler has reserved its ports. The order of the facts means nothing.
import type { EndpointSlice, Node, Pod, Service } from "../../core/kube/types.ts";
import type { HostInterface } from "../../core/node_identity/host_facts.ts";
import { type AddressMatch, addressMatch, servedAddresses } from "../../core/service/address_match.ts";
import { readyPodsAt, serviceEndpoints } from "../../core/service/endpoints.ts";
import { byAge, compareText, objectKey, servedServiceKey, sliceServiceKey } from "../../core/service/keys.ts";
import { PORT_NOT_HELD_REASON, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../core/service/labels.ts";
import { NodePorts, type PortConflict, portId, portLabel } from "../../core/service/port_owners.ts";
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
import { heldPorts } from "./load_balancer_pods.ts";
import type { SeenListener } from "./listener_history.ts";
import { findReservedRange, type ReservedRange } from "./reserved_ports.ts";
import { rulesAsked } from "./service_size.ts";

/** Everything that decides what this node forwards. */
export interface ForwardingFacts {
  /** Name of the node. */
  readonly nodeName: string;
  /** Pods of load balancers; those of other nodes and ended ones are passed over. */
  readonly pods: readonly Pod[];
  /**
   * Pods that ended or went. Their Service is served on until another pod of it comes, so that a rollout of its DaemonSet (a new port,
   * a new image) or an eviction refuses no connection. A Service with a pod has its ports before one without.
   */
  readonly departed?: readonly Pod[];
  /** Services of type LoadBalancer. */
  readonly services: readonly Service[];
  /** EndpointSlices of these Services. */
  readonly slices: readonly EndpointSlice[];
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

/** What this node does for one pod. */
export interface PodVerdict {
  /** The pod. */
  readonly pod: Pod;
  /** Ports that the kernel must have for it. */
  readonly ports: readonly ForwardedPort[];
  /** Why its Service is not, or not wholly, served here. */
  readonly refusals: readonly SettingsProblem[];
  /** What the operator should know although all is served. */
  readonly notes: readonly string[];
  /** Addresses of this node that the Service is served at; absent: at all. */
  readonly servedAddresses?: readonly string[];
}

/** What {@linkcode forwardingDecision} decides. */
export interface ForwardingDecision {
  /** What the kernel shall forward. */
  readonly plan: ForwardingPlan;
  /** One for each pod that holds its ports and is not leaving, sorted by namespace and name. */
  readonly verdicts: readonly PodVerdict[];
}

/** What this node forwards, and what each pod of a load balancer is told. */
export function forwardingDecision(facts: ForwardingFacts): ForwardingDecision {
  const pods = facts.pods.filter((pod) => podHolds(pod, facts.nodeName)).sort(byName);
  const present = new Set(pods.flatMap((pod) => servedServiceKey(pod) ?? []));
  const departed = new Set((facts.departed ?? []).flatMap((pod) => servedServiceKey(pod) ?? []));
  const isWanted = (service: Service): boolean =>
    present.has(objectKey(service)) ||
    (departed.has(objectKey(service)) && service.metadata?.deletionTimestamp === undefined);
  const services = facts.services
    .filter((service) => readService(service).isLoadBalancer && isWanted(service))
    .sort((a, b) => Number(present.has(objectKey(b))) - Number(present.has(objectKey(a))) || byAge(a, b));
  const slices = Map.groupBy(facts.slices, sliceServiceKey);
  const podsOf = Map.groupBy([...pods, ...facts.departed ?? []], servedServiceKey);
  const nodePorts = new NodePorts();
  const ownIps = new Set(facts.interfaces.filter(isOwn).flatMap((one) => one.addresses));
  const podRanges = podCidrs(facts.node).flatMap((cidr) => parseIpRange(cidr) ?? []);
  const decisions = new Map(services.map((service) => {
    const key = objectKey(service);
    const held = heldPorts(podsOf.get(key) ?? []);
    const own = {
      held,
      isDeparted: !present.has(key),
      slices: slices.get(key) ?? [],
      conflict: nodePorts.claim(service, held),
    };
    return [key, decideService(readService(service), { facts, ownIps, podRanges, ...own })];
  }));
  return {
    plan: {
      ports: [...decisions.values()].flatMap((one) => one.ports).sort(byPort),
      podCidrs: podCidrs(facts.node),
      ...(facts.interfaces.every(isOwn) ? {} : { ownAddresses: [...ownIps].sort() }),
    },
    verdicts: pods
      .filter((pod) => pod.metadata?.deletionTimestamp === undefined)
      .map((pod) => ({ pod, ...(decisions.get(servedServiceKey(pod) ?? "") ?? noService(pod)) })),
  };
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
  /** It has no pod here at present, so the scheduler may have given its ports away. */
  readonly isDeparted: boolean;
  readonly slices: readonly EndpointSlice[];
  /** The port that an older Service has. */
  readonly conflict: PortConflict | undefined;
  /** The ports that its pods hold. */
  readonly held: ReadonlySet<string>;
  /** Addresses of this node. */
  readonly ownIps: ReadonlySet<string>;
  readonly podRanges: readonly IpRange[];
}

type ServiceDecision = Omit<PodVerdict, "pod">;

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
  const { conflict } = context;
  if (conflict !== undefined) {
    const lost = reading.ports.find((port) => portId(port) === conflict.port);
    const message = `${lost ? portLabel(lost) : conflict.port} is taken by the older Service ${conflict.owner}`;
    return refused({ reason: "PortTaken", message });
  }
  const { held = [], unheld = [] } = Object.groupBy(
    reading.ports,
    (port) => context.held.has(portId(port)) ? "held" : "unheld",
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
  const listener = foreignListener(port, context);
  const holder = foreignHolder(port, context);
  if (holder !== undefined && context.isDeparted) {
    return refused({ reason: "PortInUse", message: `${label} is in use by pod ${holder}` });
  }
  if (!listener) return { ports: [port], refusals: [], notes: silence };
  const words = `${label} is in use by ${holder === undefined ? renderListener(listener) : `pod ${holder}`}`;
  if (facts.allowPortOverride || (facts.programmed.has(portKey(port)) && !listener.settled)) {
    return { ports: [port], refusals: [], notes: [`${words}, which gets no connections from outside`, ...silence] };
  }
  return refused({ reason: "PortInUse", message: `${words}; stop it, or allow it with --allow-port-override` });
}

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

function noService(pod: Pod): ServiceDecision {
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
