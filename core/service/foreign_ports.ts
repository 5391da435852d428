// Ports of the nodes that belong to Services without this program: node ports, and ports of external IPs. Pure.
// kube-proxy serves them on every node; a load balancer's rules come before its own, and would take them away.
import { pick, trimMetadata } from "../kube/trim.ts";
import type { Node, Service } from "../kube/types.ts";
import { canonicalIp } from "../shared/ip_ranges.ts";
import { byAge, type ServiceKey } from "./keys.ts";
import { type PortConflict, portId } from "./port_owners.ts";
import { MAX_EXTERNAL_IPS, MAX_PORTS, readService } from "./reading.ts";

/** Numbers that node ports are given out from; both ends belong to it. */
export interface NodePortRange {
  readonly from: number;
  readonly to: number;
}

/** One port that a Service has on nodes. */
interface ForeignPort {
  readonly service: Service;
  /** The external IP; absent for a node port. */
  readonly ip?: string;
}

/** Foreign ports by name, such as `80/TCP`. */
export type ForeignPorts = ReadonlyMap<string, readonly ForeignPort[]>;

/** A port that can't be had on some nodes, or on all. */
export interface PortReservation extends PortConflict {
  /** Absent: on every node. */
  readonly onNode?: (name: string) => boolean;
}

/** A younger Service has come to a port that a load balancer serves. */
export interface LateClaim {
  /** The younger Service. */
  readonly other: Service;
  /** `80/TCP`. */
  readonly port: string;
  /** As the end of a sentence, such as `the node port of Service demo/np`. */
  readonly what: string;
}

/** What is kept of a Service of another type: nothing, if it has no port on nodes. */
export function trimForeign(service: Service): Service | undefined {
  const { spec } = service;
  const hasNodePort = spec?.ports?.some(({ nodePort }) => nodePort) ?? false;
  if (!hasNodePort && (spec?.externalIPs ?? []).length === 0) return undefined;
  return {
    metadata: trimMetadata(service.metadata, {}),
    spec: {
      ...pick(spec, ["type"]),
      ...(spec?.externalIPs === undefined ? {} : { externalIPs: spec.externalIPs.slice(0, MAX_EXTERNAL_IPS) }),
      ports: (spec?.ports ?? []).slice(0, MAX_PORTS).map((port) => ({
        port: port.port,
        ...pick(port, ["protocol", "nodePort"]),
      })),
    },
  };
}

/** The ports on nodes of `service`, named as load balancers' ports are. */
export function foreignPortIds(service: Service | undefined): readonly string[] {
  return service === undefined ? [] : portsOf(service).map(({ id }) => id);
}

/** All foreign ports of `services`. */
export function foreignPorts(services: Iterable<Service>): ForeignPorts {
  const ports = new Map<string, ForeignPort[]>();
  for (const service of services) {
    for (const { id, ...port } of portsOf(service)) {
      const known = ports.get(id);
      if (known === undefined) ports.set(id, [port]);
      else known.push(port);
    }
  }
  return ports;
}

/** What is known beside the Service. */
export interface ForeignFacts {
  readonly ports: ForeignPorts;
  readonly nodes: ReadonlyMap<string, Node>;
  /** Kept from load balancers; absent: nothing is. */
  readonly nodePortRange?: NodePortRange;
}

/** Ports of `service` that older Services have on nodes, and those kept for node ports. Its own node ports are its own. */
export function reservedPorts(service: Service, facts: ForeignFacts): readonly PortReservation[] {
  const older = claimsOn(service, facts).filter((claim) => byAge(claim.service, service) < 0);
  const named = older.map(({ id, service: owner, ip }): PortReservation => {
    const { key } = readService(owner);
    const message = `port ${id} is ${describe({ service: owner, ip })}`;
    if (ip === undefined) return { port: id, owner: key, message };
    return { port: id, owner: key, message, onNode: (name) => hasAddress(facts.nodes.get(name), ip) };
  });
  const { nodePortRange: range } = facts;
  const inRange = range === undefined
    ? []
    : readService(service).ports.filter(({ port, nodePort }) =>
      port >= range.from && port <= range.to && nodePort !== port
    );
  return [
    ...named,
    ...inRange.map((port): PortReservation => ({
      port: portId(port),
      owner: "" satisfies ServiceKey,
      message: `port ${portId(port)} is kept for node ports, which are ${range?.from} to ${range?.to}`,
    })),
  ];
}

/** Ports of `service` that younger Services have been given on nodes where it may be. */
export function lateClaims(service: Service, facts: ForeignFacts): readonly LateClaim[] {
  return claimsOn(service, facts)
    .filter((claim) => byAge(claim.service, service) > 0)
    .filter(({ ip }) => ip === undefined || [...facts.nodes.values()].some((node) => hasAddress(node, ip)))
    .map(({ id, service: other, ip }) => ({ other, port: id, what: describe({ service: other, ip }) }));
}

function claimsOn(service: Service, { ports }: ForeignFacts): readonly { id: string; service: Service; ip?: string }[] {
  const { key, ports: own } = readService(service);
  return own.flatMap((port) => {
    const id = portId(port);
    return (ports.get(id) ?? []).filter((claim) => readService(claim.service).key !== key)
      .map((claim) => ({ id, ...claim }));
  });
}

function describe({ service, ip }: { readonly service: Service; readonly ip: string | undefined }): string {
  const { key } = readService(service);
  return ip === undefined ? `the node port of Service ${key}` : `at ${ip} an external IP's of Service ${key}`;
}

function portsOf(service: Service): readonly (ForeignPort & { readonly id: string })[] {
  const { ports } = readService(service);
  const nodePorts = ports.flatMap(({ protocol, nodePort }) =>
    nodePort === undefined ? [] : [{ id: portId({ protocol, port: nodePort }), service }]
  );
  const ips = (service.spec?.externalIPs ?? []).flatMap((ip) => canonicalIp(ip) ?? []);
  return [...nodePorts, ...ports.flatMap((port) => ips.map((ip) => ({ id: portId(port), service, ip })))];
}

function hasAddress(node: Node | undefined, ip: string): boolean {
  return node?.status?.addresses?.some(({ address }) => canonicalIp(address) === ip) ?? false;
}
