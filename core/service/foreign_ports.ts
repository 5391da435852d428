// Ports of the nodes that belong to Services without this program: node ports, and ports of external IPs. Pure.
// kube-proxy serves them on every node; a load balancer's rules come before its own, and would take them away.
import { pick, trimMetadata } from "../kube/trim.ts";
import type { Node, Service } from "../kube/types.ts";
import { canonicalIp } from "../shared/ip_ranges.ts";
import { heldBy } from "./address_rules.ts";
import { byAge, objectKey, type ServiceKey } from "./keys.ts";
import { type PortConflict, portId, portIds } from "./port_owners.ts";
import { MAX_EXTERNAL_IPS, MAX_PORTS, readService } from "./reading.ts";

/** Numbers that node ports are given out from; both ends belong to it. */
export interface NodePortRange {
  /** The first. */
  readonly from: number;
  /** The last. */
  readonly to: number;
}

/** What a Service has at one port on nodes. */
interface ForeignPort {
  readonly service: Service;
  readonly isNodePort: boolean;
  /** At these external IPs. */
  readonly ips: readonly string[];
}

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
export function foreignPortIds(service: Service | undefined): Iterable<string> {
  return service === undefined ? [] : portsOf(service).keys();
}

/** All foreign ports of `services`. */
export function foreignPorts(services: Iterable<Service>): ForeignPorts {
  const ports = new ForeignPorts();
  ports.become(services);
  return ports;
}

/** Foreign ports by name, such as `80/TCP`, kept change by change: a tenant may have hundreds of Services with a thousand ports at 32 IPs each. */
export class ForeignPorts {
  readonly #byId = new Map<string, Map<ServiceKey, ForeignPort>>();
  /** Those of the last list. */
  #services: ReadonlyMap<ServiceKey, Service> = new Map();

  /** Records that a Service came, changed or went. */
  note(before: Service | undefined, after: Service | undefined): void {
    for (const id of foreignPortIds(before)) {
      const claims = this.#byId.get(id);
      claims?.delete(objectKey(before ?? {}));
      if (claims?.size === 0) this.#byId.delete(id);
    }
    if (after === undefined) return;
    const key = objectKey(after);
    for (const [id, port] of portsOf(after)) this.#byId.set(id, (this.#byId.get(id) ?? new Map()).set(key, port));
  }

  /** Records that these are all the Services now; of several with one key the last counts. Not to be mixed with {@linkcode note}. */
  become(services: Iterable<Service>): void {
    const now = new Map<ServiceKey, Service>();
    for (const service of services) now.set(readService(service).key, service);
    for (const [key, before] of this.#services) if (!now.has(key)) this.note(before, undefined);
    for (const [key, after] of now) {
      const before = this.#services.get(key);
      if (before !== after) this.note(before, after);
    }
    this.#services = now;
  }

  /** Who has the port `id`. */
  of(id: string): Iterable<ForeignPort> {
    return this.#byId.get(id)?.values() ?? [];
  }

  keys(): Iterable<string> {
    return this.#byId.keys();
  }
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
  // Of several at one address the oldest has it.
  const oldest = new Map<string, Claim>();
  for (const claim of claimsOn(service, facts)) {
    if (byAge(claim.service, service) >= 0) continue;
    const place = `${claim.id} ${claim.ip ?? ""}`;
    const known = oldest.get(place);
    if (known === undefined || byAge(claim.service, known.service) < 0) oldest.set(place, claim);
  }
  const named = [...oldest.values()].map(({ id, service: owner, ip }): PortReservation => {
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

/** Ports of `service` that younger Services have been given on nodes where it may be; of many the first. */
export function lateClaims(service: Service, facts: ForeignFacts): readonly LateClaim[] {
  const late: LateClaim[] = [];
  for (const { id, service: other, ip } of claimsOn(service, facts)) {
    if (byAge(other, service) > 0) late.push({ other, port: id, what: describe({ service: other, ip }) });
    if (late.length === MAX_LATE) break;
  }
  return late;
}

interface Claim {
  readonly id: string;
  readonly service: Service;
  /** The external IP, which some node has; absent for a node port. */
  readonly ip?: string;
}

function* claimsOn(service: Service, { ports, nodes }: ForeignFacts): Generator<Claim> {
  const { key } = readService(service);
  let here: ReadonlySet<string> | undefined;
  for (const id of portIds(service)) {
    for (const { service: other, isNodePort, ips } of ports.of(id)) {
      if (readService(other).key === key) continue;
      if (isNodePort) yield { id, service: other };
      if (ips.length > 0) here ??= new Set([...nodes.values()].flatMap((node) => [...heldBy(node).ips]));
      for (const ip of ips) if (here?.has(ip)) yield { id, service: other, ip };
    }
  }
}

function describe({ service, ip }: { readonly service: Service; readonly ip: string | undefined }): string {
  const { key } = readService(service);
  return ip === undefined ? `the node port of Service ${key}` : `at ${ip} an external IP's of Service ${key}`;
}

function portsOf(service: Service): ReadonlyMap<string, ForeignPort> {
  const { ports } = readService(service);
  const ips = [...new Set((service.spec?.externalIPs ?? []).flatMap((ip) => canonicalIp(ip) ?? []))];
  const found = new Map<string, ForeignPort>();
  if (ips.length > 0) { for (const port of ports) found.set(portId(port), { service, isNodePort: false, ips }); }
  for (const { protocol, nodePort } of ports) {
    if (nodePort === undefined) continue;
    const id = portId({ protocol, port: nodePort });
    found.set(id, { service, isNodePort: true, ips: found.get(id)?.ips ?? [] });
  }
  return found;
}

function hasAddress(node: Node | undefined, ip: string): boolean {
  return node !== undefined && heldBy(node).ips.has(ip);
}

/** More than these would tell nobody anything new. */
const MAX_LATE = 32;
