// Facts about this node -> what it forwards, and for each pod of a load balancer why it does or does not. Pure.
// A pod that is bound to this node is what counts: the scheduler has reserved its ports. The order of the facts means nothing.
import type { EndpointSlice, Node, Pod, Service } from "../../core/kube/types.ts";
import type { HostInterface } from "../../core/node_identity/host_facts.ts";
import {
  PUBLISHED_ADDRESSES_ANNOTATION,
  SERVICE_NAME_LABEL,
  SERVICE_NAMESPACE_LABEL,
} from "../../core/service_lb/labels.ts";
import type { Protocol } from "../../core/shared/ip.ts";
import { canonicalIp, type IpRange, ipRangeContains, parseIpRange } from "../../core/shared/ip_ranges.ts";
import type { ForwardedPort, ForwardEndpoint, ForwardingPlan } from "../dataplane_contract.ts";
import { type ListeningSocket, portListener, renderListener } from "../host/listening_sockets.ts";
import { claimPorts, portLabel } from "./port_claims.ts";
import { findReservedRange, type ReservedRange } from "./reserved_ports.ts";
import { allEndpoints, serviceEndpoints } from "./service_endpoints.ts";
import { type AddressMatch, addressMatch, type Refusal, sourceRanges, splitList } from "./service_filters.ts";
import { SLICE_SERVICE_LABEL } from "./trim_objects.ts";

/** Everything that decides what this node forwards. */
export interface ForwardingFacts {
  readonly nodeName: string;
  /** Pods of load balancers; those of other nodes and ended ones are passed over. */
  readonly pods: readonly Pod[];
  /**
   * Pods that ended or went. Their Service is served on until another pod of it comes, so that a rollout of its DaemonSet (a new port,
   * a new image) or an eviction refuses no connection. A Service with a pod has its ports before one without.
   */
  readonly departed?: readonly Pod[];
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
  /** This node's object, once it is known. */
  readonly node?: Node;
  readonly interfaces: readonly HostInterface[];
  readonly listeners: readonly ListeningSocket[];
  readonly reserved: readonly ReservedRange[];
  /** Serve a port even if a process of the host listens on it. */
  readonly allowPortOverride: boolean;
  /** {@linkcode portKey} of the ports that the kernel has: a process that starts to listen later doesn't take them away. */
  readonly programmed: ReadonlySet<string>;
}

/** What this node does for one pod. */
export interface PodVerdict {
  readonly pod: Pod;
  /** Ports that the kernel must have for it. */
  readonly ports: readonly ForwardedPort[];
  /** Why its Service is not, or not wholly, served here. */
  readonly refusals: readonly Refusal[];
  /** What the operator should know although all is served. */
  readonly notes: readonly string[];
}

/** What {@linkcode forwardingDecision} decides. */
export interface ForwardingDecision {
  readonly plan: ForwardingPlan;
  /** One for each pod that holds its ports and is not leaving, sorted by namespace and name. */
  readonly verdicts: readonly PodVerdict[];
}

/** What this node forwards, and what each pod of a load balancer is told. */
export function forwardingDecision(facts: ForwardingFacts): ForwardingDecision {
  const pods = facts.pods.filter((pod) => podHolds(pod, facts.nodeName)).sort(byName);
  const present = new Set(pods.flatMap((pod) => podServiceKey(pod) ?? []));
  const departed = new Set((facts.departed ?? []).flatMap((pod) => podServiceKey(pod) ?? []));
  const isWanted = (service: Service): boolean =>
    present.has(objectName(service)) ||
    (departed.has(objectName(service)) && service.metadata?.deletionTimestamp === undefined);
  const services = facts.services
    .filter((service) => service.spec?.type === "LoadBalancer" && isWanted(service))
    .sort((a, b) => Number(present.has(objectName(b))) - Number(present.has(objectName(a))) || byAge(a, b));
  const slices = Map.groupBy(facts.slices, sliceServiceKey);
  const owners = claimPorts(services, facts.interfaces);
  const ownIps = new Set(facts.interfaces.flatMap((one) => one.addresses));
  const podRanges = podCidrs(facts.node).flatMap((cidr) => parseIpRange(cidr) ?? []);
  const decisions = new Map(services.map((service) => {
    const key = objectName(service);
    const own = { slices: slices.get(key) ?? [], owners: owners.get(key) ?? new Map() };
    return [key, decideService(service, { facts, ownIps, podRanges, ...own })];
  }));
  return {
    plan: {
      ports: [...decisions.values()].flatMap((one) => one.ports).sort(byPort),
      podCidrs: podCidrs(facts.node),
    },
    verdicts: pods
      .filter((pod) => pod.metadata?.deletionTimestamp === undefined)
      .map((pod) => ({ pod, ...(decisions.get(podServiceKey(pod) ?? "") ?? noService(pod)) })),
  };
}

/** Names one port of one Service, the same in every pass. */
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

/** Whether a Service's status has an address of `node`: the server counts on this node, with or without a pod. */
export function statusLists(service: Service | undefined, node: Node | undefined): boolean {
  const published = splitList(node?.metadata?.annotations?.[PUBLISHED_ADDRESSES_ANNOTATION]);
  const own = [...published, ...(node?.status?.addresses ?? []).map(({ address }) => address)].map(canonicalIp);
  return (service?.status?.loadBalancer?.ingress ?? []).some(({ ip }) =>
    ip !== undefined && own.includes(canonicalIp(ip))
  );
}

/** `NAMESPACE/NAME` of the Service that a pod forwards for; `undefined` if its labels don't say. */
export function podServiceKey(pod: Pod): string | undefined {
  const name = pod.metadata?.labels?.[SERVICE_NAME_LABEL];
  const namespace = pod.metadata?.labels?.[SERVICE_NAMESPACE_LABEL];
  return name && namespace ? `${namespace}/${name}` : undefined;
}

/** `NAMESPACE/NAME` of the Service that a slice belongs to. */
export function sliceServiceKey(slice: EndpointSlice): string {
  return `${slice.metadata?.namespace ?? ""}/${slice.metadata?.labels?.[SLICE_SERVICE_LABEL] ?? ""}`;
}

interface ServiceContext {
  readonly facts: ForwardingFacts;
  readonly slices: readonly EndpointSlice[];
  /** Label of a port (`TCP port 80`) -> the older Service that owns it. */
  readonly owners: ReadonlyMap<string, string>;
  /** Addresses of this node. */
  readonly ownIps: ReadonlySet<string>;
  readonly podRanges: readonly IpRange[];
}

type ServiceDecision = Omit<PodVerdict, "pod">;

function decideService(service: Service, context: ServiceContext): ServiceDecision {
  const ranges = sourceRanges(service);
  const match = addressMatch(service, context.facts.interfaces);
  if ("refusal" in ranges) return refused(ranges.refusal);
  if ("refusal" in match) return refused(match.refusal);
  const decisions = (service.spec?.ports ?? []).map((port) => {
    const forwarded = forwardedPort(service, { port, match: match.value, ranges: ranges.value, context });
    return decidePort(forwarded, context);
  });
  return {
    ports: decisions.flatMap((one) => one.ports),
    refusals: [...decisions.flatMap((one) => one.refusals), ...(match.value.absent ? [match.value.absent] : [])],
    notes: decisions.flatMap((one) => one.notes),
  };
}

interface PortContext {
  readonly port: NonNullable<NonNullable<Service["spec"]>["ports"]>[number];
  readonly match: AddressMatch;
  readonly ranges: readonly string[] | undefined;
  readonly context: ServiceContext;
}

function forwardedPort(service: Service, { port, match, ranges, context }: PortContext): ForwardedPort {
  const spec = service.spec;
  const protocol = (port.protocol ?? "TCP") as Protocol;
  const portName = port.name ?? "";
  const trafficPolicy = spec?.externalTrafficPolicy === "Local" ? "Local" : "Cluster";
  return {
    namespace: service.metadata?.namespace ?? "",
    service: service.metadata?.name ?? "",
    portName,
    protocol,
    port: port.port,
    families: match.families,
    trafficPolicy,
    ...(ranges ? { sourceRanges: ranges } : {}),
    ...(match.addresses ? { matchAddresses: match.addresses } : {}),
    ...(spec?.sessionAffinity === "ClientIP"
      ? { affinitySeconds: spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS }
      : {}),
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

/** Kubernetes' own default for session affinity. */
const DEFAULT_AFFINITY_SECONDS = 10_800;

function decidePort(port: ForwardedPort, context: ServiceContext): ServiceDecision {
  const { facts } = context;
  const label = portLabel(port);
  if (findReservedRange(facts.reserved, port)) {
    return refused({ reason: "ReservedPort", message: `${label} is reserved for the node itself (--reserved-ports)` });
  }
  const owner = context.owners.get(label);
  if (owner !== undefined) {
    return refused({ reason: "PortTaken", message: `${label} is taken by the older Service ${owner}` });
  }
  const listener = foreignListener(port, context);
  if (!listener) return { ports: [port], refusals: [], notes: [] };
  const words = `${label} is in use by ${renderListener(listener)}`;
  if (facts.allowPortOverride || facts.programmed.has(portKey(port))) {
    return { ports: [port], refusals: [], notes: [`${words}, which gets no connections from outside`] };
  }
  return refused({ reason: "PortInUse", message: `${words}; stop it, or allow it with --allow-port-override` });
}

/** A socket that would lose its connections to `port`. An endpoint of the Service itself in the host's network is none. */
function foreignListener(port: ForwardedPort, { facts, slices, ownIps }: ServiceContext): ListeningSocket | undefined {
  const listener = portListener(facts.listeners, port);
  if (!listener) return undefined;
  const endpoints = allEndpoints(slices, { ...port, nodeName: facts.nodeName, localFirst: false });
  return endpoints.some((one) => one.port === port.port && ownIps.has(one.ip)) ? undefined : listener;
}

function refused(refusal: Refusal): ServiceDecision {
  return { ports: [], refusals: [refusal], notes: [] };
}

function noService(pod: Pod): ServiceDecision {
  const key = podServiceKey(pod);
  const message = key === undefined
    ? `Labels ${SERVICE_NAME_LABEL} and ${SERVICE_NAMESPACE_LABEL} don't name a Service`
    : `Service ${key} does not exist or is not of type LoadBalancer`;
  return refused({ reason: "NoSuchService", message });
}

function podCidrs(node: Node | undefined): readonly string[] {
  const { podCIDRs = [], podCIDR } = node?.spec ?? {};
  return podCIDRs.length > 0 ? podCIDRs : podCIDR ? [podCIDR] : [];
}

function objectName(object: Service | Pod): string {
  return `${object.metadata?.namespace ?? ""}/${object.metadata?.name ?? ""}`;
}

function byName(a: Pod, b: Pod): number {
  return compare(objectName(a), objectName(b));
}

function byAge(a: Service, b: Service): number {
  return compare(a.metadata?.creationTimestamp ?? "", b.metadata?.creationTimestamp ?? "") ||
    compare(objectName(a), objectName(b));
}

function byPort(a: ForwardedPort, b: ForwardedPort): number {
  return a.port - b.port || compare(a.protocol, b.protocol) || compare(portKey(a), portKey(b));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
