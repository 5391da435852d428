// Who owns a port of a node when several Services want it: the oldest Service. Pure.
// A Service that loses one of its ports on a node loses the node, and then holds none of its ports there: a pod is scheduled
// with all of its host ports or not at all.
import type { Service } from "../kube/types.ts";
import { portsOf, protocolOf } from "./desired_daemonset.ts";
import { objectKey, type ServiceKey } from "./names.ts";

/** A port that an older Service has. */
export interface PortConflict {
  /** `80/TCP`. */
  readonly port: string;
  readonly owner: ServiceKey;
}

/** For each Service that loses somewhere: by node name what it lost there. */
export type PortConflicts = ReadonlyMap<ServiceKey, ReadonlyMap<string, PortConflict>>;

/**
 * Every conflict among `services`.
 *
 * @param candidatesOf Names of the nodes that may serve a Service; asked only for Services that share a port with another.
 */
export function portConflicts(
  services: Iterable<Service>,
  candidatesOf: (service: Service) => Iterable<string>,
): PortConflicts {
  const contested = contestedServices(services).toSorted(byAge);
  /** Owner by node and port. */
  const owners = new Map<string, ServiceKey>();
  const conflicts = new Map<ServiceKey, Map<string, PortConflict>>();
  for (const service of contested) {
    const key = objectKey(service);
    const ports = portsOf(service).map((port) => `${port.port}/${protocolOf(port)}`);
    for (const node of candidatesOf(service)) {
      const lost = ports.find((port) => owners.has(`${node} ${port}`));
      if (lost === undefined) {
        for (const port of ports) owners.set(`${node} ${port}`, key);
        continue;
      }
      const byNode = conflicts.get(key) ?? new Map<string, PortConflict>();
      byNode.set(node, { port: lost, owner: owners.get(`${node} ${lost}`) ?? "" });
      conflicts.set(key, byNode);
    }
  }
  return conflicts;
}

/** Oldest first; of two of the same second the one whose namespace and name sort first, so that the order is the same everywhere. */
export function byAge(a: Service, b: Service): number {
  return compareText(String(a.metadata?.creationTimestamp ?? ""), String(b.metadata?.creationTimestamp ?? "")) ||
    compareText(objectKey(a), objectKey(b));
}

function contestedServices(services: Iterable<Service>): readonly Service[] {
  const byPort = new Map<string, Service[]>();
  for (const service of services) {
    for (const port of portsOf(service)) {
      const name = `${port.port}/${protocolOf(port)}`;
      const sharers = byPort.get(name);
      if (sharers === undefined) byPort.set(name, [service]);
      else if (sharers.at(-1) !== service) sharers.push(service);
    }
  }
  const contested = new Set<Service>();
  for (const sharers of byPort.values()) {
    if (sharers.length > 1) {
      for (const service of sharers) contested.add(service);
    }
  }
  return [...contested];
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
