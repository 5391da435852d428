// Facts about this node -> what it forwards, and for each Service and pod of a load balancer why it does or does not. Pure.
// Either the pods that are bound to this node decide what it serves, or the agent's own share of all Services does. The order of the facts
// means nothing.
import type { EndpointSlice, Node, Pod, Service } from "../../../core/kube/types.ts";
import { objectKey, servedServiceKey, type ServiceKey, sliceServiceKey } from "../../../core/service/keys.ts";
import { SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../../core/service/labels.ts";
import type { ServiceShare } from "../../../core/service/node_share.ts";
import { readService } from "../../../core/service/reading.ts";
import { compareText } from "../../../core/shared/compare_text.ts";
import { parseIpRange } from "../../../core/shared/ip_ranges.ts";
import type { ForwardedPort, ForwardingPlan } from "../../dataplane_contract.ts";
import { type DepartedService, podContenders, shareContenders } from "./contenders.ts";
import {
  decideService,
  hasOwnAddresses,
  type LocalFacts,
  portKey,
  refused,
  type ServiceDecision,
} from "./service_decision.ts";

/** Everything that decides what this node forwards. */
export interface ForwardingFacts extends LocalFacts {
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
  /** This node's object, once it is known. */
  readonly node?: Node;
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
  /** What the kernel is to forward. */
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
    : shareContenders({ services, pods, share, departed, served: servedPorts(facts.programmed) });
  const slices = Map.groupBy(facts.slices, sliceServiceKey);
  const ownIps = new Set(facts.interfaces.filter(hasOwnAddresses).flatMap((one) => one.addresses));
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
      ...(facts.interfaces.every(hasOwnAddresses) ? {} : { ownAddresses: [...ownIps].sort() }),
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

/** By Service its ports (`80/TCP`) that {@linkcode portKey}s in `programmed` name. Hundreds of Services with a thousand ports each may be asked for. */
export function servedPorts(programmed: ReadonlySet<string>): (service: Service) => ReadonlySet<string> {
  const served = SERVED.get(programmed) ?? portsByService(programmed);
  SERVED.set(programmed, served);
  return (service) => served.get(readService(service).key) ?? NO_PORTS;
}

const SERVED = new WeakMap<ReadonlySet<string>, ReadonlyMap<ServiceKey, ReadonlySet<string>>>();
const NO_PORTS: ReadonlySet<string> = new Set();

function portsByService(portKeys: ReadonlySet<string>): ReadonlyMap<ServiceKey, ReadonlySet<string>> {
  const ports = new Map<ServiceKey, Set<string>>();
  for (const [namespace, service, protocol, port] of [...portKeys].map((key) => key.split("/"))) {
    const key = `${namespace}/${service}`;
    ports.set(key, (ports.get(key) ?? new Set()).add(`${port}/${protocol}`));
  }
  return ports;
}

/**
 * Whether a pod holds its node's ports: bound to `nodeName` and not ended. A leaving pod still holds them: the scheduler gives them
 * to nobody else before it is gone.
 */
export function podHolds(pod: Pod, nodeName: string): boolean {
  return pod.spec?.nodeName === nodeName && pod.status?.phase !== "Failed" && pod.status?.phase !== "Succeeded";
}

function notServed(pod: Pod, share: ServiceShare | undefined): ServiceDecision {
  if (share !== undefined && share.part !== "serve") return refused(share.problem);
  const key = servedServiceKey(pod);
  const message = key === undefined
    ? `Labels ${SERVICE_NAME_LABEL} and ${SERVICE_NAMESPACE_LABEL} don't name a Service`
    : `Service ${key} does not exist or is not of type LoadBalancer`;
  return refused({ reason: "NoSuchService", message });
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
