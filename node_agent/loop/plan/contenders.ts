// Which Services contend for this node's ports, and with which of theirs: those whose pods the scheduler has put here, or, where the agent
// decides for itself, those that this node is to serve. Pure. In the order in which ports are given out.
import type { Pod, Service } from "../../../core/kube/types.ts";
import { byAge, objectKey, servedServiceKey, type ServiceKey } from "../../../core/service/keys.ts";
import type { ServiceShare } from "../../../core/service/node_share.ts";
import { NodePorts, portId, portIds, portLabel } from "../../../core/service/port_owners.ts";
import { readService, type SettingsProblem } from "../../../core/service/reading.ts";
import { heldPorts, isPlaceholder } from "./load_balancer_pods.ts";

/** One Service and its standing on this node. */
export interface Contender {
  readonly service: Service;
  /** Ports (`80/TCP`) that are its own here: reserved for its pod, or nobody else's. */
  readonly ports: ReadonlySet<string>;
  /** Why it gets none of them. */
  readonly problem: SettingsProblem | undefined;
  /**
   * `reserved`: the scheduler keeps its ports for it. `first`: it keeps them from pods that came later. `guest`: it is served only for a while
   * still, and gives way to everybody.
   */
  readonly standing: "reserved" | "first" | "guest";
}

/** A Service that was served here. */
export interface DepartedService {
  /** Which Service. */
  readonly service: ServiceKey;
  /** Its ports here, as `portId` writes them. */
  readonly ports: ReadonlySet<string>;
  /** Its pod was here: pods of somebody else's load balancer come and go too. */
  readonly hadPod: boolean;
  /** The node's addresses at which it was served; absent: all. */
  readonly servedAddresses?: readonly string[];
}

/** What contends by its pods. */
export interface PodFacts {
  readonly services: readonly Service[];
  /** Pods that hold their ports here. */
  readonly pods: readonly Pod[];
  readonly departed: readonly DepartedService[];
}

/** The Services whose pods hold ports here: the oldest first, those without a pod last. */
export function podContenders({ services, pods, departed }: PodFacts): readonly Contender[] {
  const podsOf = Map.groupBy(pods, servedServiceKey);
  const portsOf = new Map(departed.map((one) => [one.service, one.ports]));
  const present = services.filter((service) => podsOf.has(objectKey(service))).map((service): Candidate => ({
    service,
    ports: heldPorts(podsOf.get(objectKey(service)) ?? []),
    standing: "reserved",
  }));
  return settled([...present, ...guests(services, { portsOf, isPresent: (key) => podsOf.has(key) })]);
}

/** What contends by the agent's own decision. */
export interface ShareFacts {
  readonly services: readonly Service[];
  /** Pods that hold their ports here. */
  readonly pods: readonly Pod[];
  /** By Service what this node is to do. */
  readonly share: ReadonlyMap<ServiceKey, ServiceShare>;
  readonly departed: readonly DepartedService[];
  /** Ports (`80/TCP`) of a Service that the kernel has. */
  readonly served: (service: Service) => ReadonlySet<string>;
}

/**
 * The Services that this node is to serve: the oldest first, then those of others' load balancers whose pods hold ports here, and those that it
 * served until now last.
 */
export function shareContenders({ services, pods, share, departed, served }: ShareFacts): readonly Contender[] {
  const portsOf = new Map(departed.map((one) => [one.service, one.ports]));
  const podsOf = Map.groupBy(pods.filter((pod) => !isPlaceholder(pod)), servedServiceKey);
  const present: Contender[] = [];
  for (const service of services.toSorted(byAge)) {
    const own = share.get(objectKey(service));
    if (own?.part !== "serve" && own?.part !== "lost") continue;
    present.push({
      service,
      ports: own.part === "lost" ? NO_PORTS : new Set(portIds(service)),
      problem: own.part === "lost" ? own.problem : undefined,
      standing: "first",
    });
  }
  const foreign = services.flatMap((service): readonly Candidate[] => {
    const key = objectKey(service);
    const own = podsOf.get(key);
    if (own === undefined || share.get(key)?.part !== "none") return [];
    return [{ service, ports: heldPorts(own), standing: "reserved" }];
  });
  const keys = new Set([...present, ...foreign].map(({ service }) => objectKey(service)));
  const taken = new NodePorts();
  for (const { service, problem } of present) if (problem === undefined) taken.claim(service);
  const leaving = guests(services, { portsOf, isPresent: (key) => keys.has(key) })
    .map((one) => {
      const here = served(one.service);
      return { ...one, ports: new Set([...one.ports].filter((port) => here.has(port))) };
    })
    .filter(({ ports }) => ports.size > 0);
  return [...present, ...settled([...foreign, ...leaving], taken)];
}

const NO_PORTS: ReadonlySet<string> = new Set();

type Candidate = Omit<Contender, "problem">;

function guests(
  services: readonly Service[],
  { portsOf, isPresent }: {
    readonly portsOf: ReadonlyMap<ServiceKey, ReadonlySet<string>>;
    readonly isPresent: (key: ServiceKey) => boolean;
  },
): readonly Candidate[] {
  return services.flatMap((service): Candidate[] => {
    const key = objectKey(service);
    const ports = portsOf.get(key);
    if (ports === undefined || isPresent(key) || readService(service).isBeingDeleted) return [];
    return [{ service, ports, standing: "guest" }];
  });
}

/** Ports are given to the oldest of those with a pod, then to the others. */
function settled(candidates: readonly Candidate[], taken = new NodePorts()): readonly Contender[] {
  const order = candidates.toSorted((a, b) =>
    Number(a.standing === "guest") - Number(b.standing === "guest") || byAge(a.service, b.service)
  );
  return order.map((one) => {
    const conflict = taken.claim(one.service, one.ports);
    if (conflict === undefined) return { ...one, problem: undefined };
    const lost = readService(one.service).ports.find((port) => portId(port) === conflict.port);
    const message = `${lost ? portLabel(lost) : conflict.port} is taken by the older Service ${conflict.owner}`;
    return { ...one, problem: { reason: "PortTaken", message } };
  });
}
