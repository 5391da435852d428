// Who owns a port of a node when several Services want it: who has been given it, then the oldest Service. Pure.
// An edit of an old Service takes no port from a younger one that has it; age decides among those that ask for a free port.
// A Service that loses one of its ports on a node loses the node, and then holds none of its ports there: a pod is scheduled
// with all of its host ports or not at all. A Service that can't be read keeps its claim: a typing error must not hand a port on.
import type { Service } from "../kube/types.ts";
import type { Protocol } from "../shared/ip.ts";
import { byAge, type ServiceKey } from "./keys.ts";
import { readService } from "./reading.ts";

/** A port that another Service has. */
export interface PortConflict {
  /** `80/TCP`. */
  readonly port: string;
  /** The other Service. */
  readonly owner: ServiceKey;
  /** Whose the port is, if not a load balancer's: a sentence. */
  readonly message?: string;
}

/** For each Service that loses somewhere: by node name what it lost there. */
export type PortConflicts = ReadonlyMap<ServiceKey, ReadonlyMap<string, PortConflict>>;

/** How ports are compared: `80/TCP`. */
export function portId(port: { readonly protocol: Protocol; readonly port: number }): string {
  return `${port.port}/${port.protocol}`;
}

/** What a port is called in messages of a node, such as `TCP port 80`. */
export function portLabel(port: { readonly protocol: Protocol; readonly port: number }): string {
  return `${port.protocol} port ${port.port}`;
}

/** Names of the host ports that containers declare, as ports are compared. */
export function hostPortIds(containers: readonly DeclaresPorts[]): ReadonlySet<string> {
  const ports = containers.flatMap((container) => container.ports ?? []);
  return new Set(
    ports.flatMap(({ hostPort, protocol = "TCP" }) =>
      hostPort ? [portId({ protocol: protocol as Protocol, port: hostPort })] : []
    ),
  );
}

interface DeclaresPorts {
  readonly ports?: readonly { readonly hostPort?: number; readonly protocol?: string }[];
}

/** Names of a Service's ports, as they are compared. */
export function portIds(service: Service): readonly string[] {
  const { ports } = readService(service);
  const ids = PORT_IDS.get(ports) ?? ports.map(portId);
  PORT_IDS.set(ports, ids);
  return ids;
}

/** A Service's ports are compared with every change of any other. */
const PORT_IDS = new WeakMap<object, readonly string[]>();

/** The ports of one node, given out one Service after the other. */
export class NodePorts {
  /** Owner by port. */
  readonly #owners = new Map<string, ServiceKey>();

  /**
   * Gives all ports of `service` to it, or none and says which one has gone to whom. Older Services must come first.
   *
   * @param held Ports that its pods hold on the node, if that is known: an edit of an old Service takes no younger one's port that way.
   */
  claim(service: Service, held?: ReadonlySet<string>): PortConflict | undefined {
    const { key } = readService(service);
    const ports = held === undefined ? portIds(service) : portIds(service).filter((port) => held.has(port));
    const lost = ports.find((port) => this.#owners.has(port));
    if (lost !== undefined) return { port: lost, owner: this.#owners.get(lost) ?? "" };
    for (const port of ports) this.#owners.set(port, key);
    return undefined;
  }
}

/** Ports that a Service has been given on a node: all that it asks for, or those of them that are in the set; `undefined`: none. */
export type GivenPorts = "all" | ReadonlySet<string> | undefined;

/** Whether `port` is among them. */
export function hasGiven(given: GivenPorts, port: string): boolean {
  return given === "all" || (given?.has(port) ?? false);
}

/**
 * How much a Service that has been given a port is on a node: served there or with its pod placed there, meant to be there, or on other nodes only.
 * Of several that have a port, who is there more keeps it, then the oldest.
 */
export type Presence = "placed" | "meant" | "absent";

/** What decides about the ports of Services. */
export interface PortFacts {
  /** Names of the nodes that may serve a Service; asked only for Services that share a port with another. */
  readonly candidatesOf: (service: Service) => Iterable<string>;
  /** Ports of a Service that nobody can have as a load balancer, on all nodes or on some; absent: there are none. */
  readonly reservedFor?: (service: Service) => readonly (PortConflict & { onNode?: (name: string) => boolean })[];
  /** What a Service has been given on a node already; absent: nothing. */
  readonly givenOn?: (service: Service, node: string) => GivenPorts;
  /** How much it is on that node, and not on others only; absent: it is there. */
  readonly presenceOn?: (service: Service, node: string) => Presence;
}

/** Every conflict among `services`. */
export function portConflicts(services: Iterable<Service>, facts: PortFacts): PortConflicts {
  const { candidatesOf, reservedFor = () => [], givenOn = () => undefined, presenceOn = () => "placed" } = facts;
  const conflicts = new Map<ServiceKey, Map<string, PortConflict>>();
  const all = [...services];
  const reserved = new Map(all.map((service) => [service, reservedFor(service)]));
  const contested = contestedServices(all);
  const judged = all.filter((service) => contested.has(service) || reserved.get(service)?.length !== 0);
  const claimants = new Map<string, Claimant[]>();
  for (const service of judged.toSorted(byAge)) {
    for (const name of candidatesOf(service)) {
      const here = claimants.get(name) ?? [];
      claimants.set(name, here);
      const reservation = reserved.get(service)?.find(({ onNode }) => onNode?.(name) ?? true);
      const given = givenOn(service, name);
      const presence = given === undefined ? "absent" : presenceOn(service, name);
      here.push({ service, reservation, given, presence });
    }
  }
  // Nodes where the same Services stand alike, as a rule all of them, come to the same end.
  const ends = new Map<string, ReadonlyMap<ServiceKey, PortConflict>>();
  const numbers = new Map<unknown, number>();
  const numberOf = (value: unknown): number => {
    const number = numbers.get(value) ?? numbers.size;
    numbers.set(value, number);
    return number;
  };
  for (const [name, here] of claimants) {
    const standing = here.map((one) => [one.service, one.reservation, one.given, one.presence].map(numberOf).join(" "))
      .join();
    const end = ends.get(standing) ?? conflictsAt(here);
    ends.set(standing, end);
    for (const [key, conflict] of end) {
      const byNode = conflicts.get(key) ?? new Map<string, PortConflict>();
      conflicts.set(key, byNode.set(name, conflict));
    }
  }
  return conflicts;
}

/** A Service on a node that may serve it. */
interface Claimant {
  readonly service: Service;
  readonly reservation: PortConflict | undefined;
  readonly given: GivenPorts;
  readonly presence: Presence;
}

const RANK: Readonly<Record<Presence, number>> = { placed: 0, meant: 1, absent: 2 };

/** On one node, the oldest Service first. */
function conflictsAt(claimants: readonly Claimant[]): ReadonlyMap<ServiceKey, PortConflict> {
  const holders = new Map<string, Service>();
  for (const { service, given } of claimants.toSorted((a, b) => RANK[a.presence] - RANK[b.presence])) {
    if (given === undefined) continue;
    for (const port of portIds(service)) {
      if (!holders.has(port) && hasGiven(given, port)) holders.set(port, service);
    }
  }
  const ports = new NodePorts();
  return new Map(claimants.flatMap(({ service, reservation }): [ServiceKey, PortConflict][] => {
    const conflict = reservation ?? heldByOther(service, holders) ?? ports.claim(service);
    return conflict === undefined ? [] : [[readService(service).key, conflict]];
  }));
}

function heldByOther(service: Service, holders: ReadonlyMap<string, Service>): PortConflict | undefined {
  if (holders.size === 0) return undefined;
  for (const port of portIds(service)) {
    const holder = holders.get(port);
    if (holder !== undefined && holder !== service) return { port, owner: readService(holder).key };
  }
  return undefined;
}

function contestedServices(services: Iterable<Service>): ReadonlySet<Service> {
  const first = new Map<string, Service>();
  const contested = new Set<Service>();
  for (const service of services) {
    for (const name of portIds(service)) {
      const other = first.get(name);
      if (other === undefined) first.set(name, service);
      else if (other !== service) contested.add(other).add(service);
    }
  }
  return contested;
}
