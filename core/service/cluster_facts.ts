// What a node can't see with its own credentials and needs to decide for itself which Services it serves: published by the server as one
// ConfigMap, read by every agent. Pure. Text in a stable order, so that it is written only when it says something else.
import type { Service } from "../kube/types.ts";
import { flag, list, mapping, oneOf, parseChecked, text, WrongPart } from "../shared/checked_json.ts";
import { compareText } from "../shared/compare_text.ts";
import { canonicalIp } from "../shared/ip_ranges.ts";
import type { ClaimOptions } from "./claim.ts";
import type { NodePortRange } from "./foreign_ports.ts";
import { byAge, objectKey, splitKey } from "./keys.ts";
import type { DataplaneName } from "./labels.ts";
import { MAX_EXTERNAL_IPS, MAX_PORTS, readService } from "./reading.ts";
import { serviceId } from "./service_id.ts";

/** Name of the ConfigMap, in the load balancers' namespace. */
export const FACTS_CONFIG_MAP = "k3slb-facts";
/** Its one key. */
export const FACTS_KEY = "facts";

/** How ports are kept from pods: by placeholder pods with host ports, or not at all. */
export type PortReservationMode = "daemonset" | "none";

/** The kubelet of a node, to be asked whether the node is there. */
export interface NodeToAsk {
  /** In canonical form. */
  readonly ips: readonly string[];
  readonly kubeletPort: number;
}

/** A Service that has been given a port that another one asks for too. */
export interface ContestedPort {
  /** {@linkcode serviceId} of the Service. */
  readonly service: string;
  /** Nodes on which it has not been given the port. */
  readonly without: ReadonlySet<string>;
}

/** What the server publishes. */
export interface ClusterFacts extends ClaimOptions {
  /** Version of the server. */
  readonly server: string;
  /** Who forwards; with `pods` no agent decides anything. */
  readonly dataplane: DataplaneName;
  readonly reservePorts: PortReservationMode;
  /** Whether any node has the `enablelb` key. */
  readonly allowList: boolean;
  readonly honorExcludeLabel: boolean;
  /** Ports that are kept for node ports; absent: none are. */
  readonly nodePortRange?: NodePortRange;
  /** Services of other types that have ports on nodes, with what is read of them ({@linkcode trimForeign}). */
  readonly foreign: readonly Service[];
  /** By port (`80/TCP`) the Services that have it already, for those ports only that several load balancers ask for. */
  readonly contested: ReadonlyMap<string, readonly ContestedPort[]>;
  /** Nodes by name, to be asked whether they are there. */
  readonly nodes: ReadonlyMap<string, NodeToAsk>;
}

/**
 * The text of `facts`, within bounds however many there are: what does not fit is left out, the youngest foreign Services of the namespaces that
 * have most of them, contested ports of the Services that have most of them, and the last nodes by name first, and `cut` counts it.
 */
export function renderFacts(facts: ClusterFacts): string {
  const { nodePortRange: range } = facts;
  const foreign = within(facts.foreign.toSorted(byAge).map(foreignEntry), MAX_FOREIGN_LENGTH, namespaceOf);
  const contested = within([...facts.contested].toSorted(byName).map(contestedEntry), MAX_CONTESTED_LENGTH, holderOf);
  const nodes = within([...facts.nodes].toSorted(byName).map(nodeEntry), MAX_NODES_LENGTH);
  const cut = { foreign: foreign.cut, contested: contested.cut, nodes: nodes.cut };
  return JSON.stringify({
    version: VERSION,
    server: facts.server,
    dataplane: facts.dataplane,
    reservePorts: facts.reservePorts,
    lbClass: facts.lbClass,
    lbDefault: facts.lbDefault,
    allowList: facts.allowList,
    honorExcludeLabel: facts.honorExcludeLabel,
    ...(range === undefined ? {} : { nodePortRange: `${range.from}-${range.to}` }),
    foreign: Object.fromEntries(foreign.entries),
    contested: Object.fromEntries(contested.entries),
    nodes: Object.fromEntries(nodes.entries),
    ...(Object.values(cut).some((count) => count > 0) ? { cut } : {}),
  });
}

/** What `text` says; `undefined` if it is of a version that is not known here, or any part of it is not as it should be. Never throws. */
export function parseFacts(text: string): ClusterFacts | undefined {
  return text.length > MAX_FACTS_LENGTH ? undefined : parseChecked(text, checkedFacts);
}

/** Whether `service` has been given `port` on `node`, as the server says; `undefined` if it does not speak of the port. */
export function hasContestedPort(
  { contested }: Pick<ClusterFacts, "contested">,
  { service, port, node }: { readonly service: Service; readonly port: string; readonly node: string },
): boolean | undefined {
  const id = serviceId(service);
  return contested.get(port)?.some((one) => one.service === id && !one.without.has(node));
}

type Entry = readonly [name: string, value: unknown];

/** As many of `entries` as fit: of each group the first, so that one which has much leaves room for the others. */
function within(
  entries: readonly Entry[],
  maxLength: number,
  groupOf: (entry: Entry) => string = () => "",
): { readonly entries: readonly Entry[]; readonly cut: number } {
  const groups = new Map<string, number>();
  const measured = entries.map((entry) => {
    const length = JSON.stringify(entry).length;
    const reach = (groups.get(groupOf(entry)) ?? 0) + length;
    groups.set(groupOf(entry), reach);
    return { entry, length, reach };
  });
  let total = 0;
  const kept = new Set<Entry>();
  for (const { entry, length } of measured.toSorted((a, b) => a.reach - b.reach)) {
    total += length;
    if (total > maxLength) break;
    kept.add(entry);
  }
  return { entries: entries.filter((entry) => kept.has(entry)), cut: entries.length - kept.size };
}

/** The Service that has a contested port; of several, on different nodes, the first. */
function holderOf([, services]: Entry): string {
  return Object.keys(services as object)[0] ?? "";
}

function namespaceOf([key]: Entry): string {
  return splitKey(key).namespace;
}

function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return compareText(a, b);
}

function foreignEntry(service: Service): Entry {
  const ips = service.spec?.externalIPs ?? [];
  return [objectKey(service), {
    created: String(service.metadata?.creationTimestamp ?? ""),
    // `80:30080/TCP` has a node port, `80/TCP` has none.
    ports: readService(service).ports.map(({ port, nodePort, protocol }) =>
      `${port}${nodePort === undefined ? "" : `:${nodePort}`}/${protocol}`
    ),
    ...(ips.length === 0 ? {} : { ips }),
  }];
}

function contestedEntry([port, services]: readonly [string, readonly ContestedPort[]]): Entry {
  const sorted = services.toSorted((a, b) => compareText(a.service, b.service));
  return [
    port,
    Object.fromEntries(sorted.map(({ service, without }) => [service, [...without].toSorted(compareText)])),
  ];
}

function nodeEntry([name, { ips, kubeletPort }]: readonly [string, NodeToAsk]): Entry {
  return [name, { ips, kubeletPort }];
}

function checkedFacts(value: unknown): ClusterFacts {
  const { version, ...fields } = mapping(value);
  if (version !== VERSION) throw new WrongPart("version");
  return {
    server: text(fields["server"]),
    dataplane: oneOf(fields["dataplane"], ["agent", "pods"]),
    reservePorts: oneOf(fields["reservePorts"], ["daemonset", "none"]),
    lbClass: text(fields["lbClass"]),
    lbDefault: flag(fields["lbDefault"]),
    allowList: flag(fields["allowList"]),
    honorExcludeLabel: flag(fields["honorExcludeLabel"]),
    ...(fields["nodePortRange"] === undefined ? {} : { nodePortRange: portRange(fields["nodePortRange"]) }),
    foreign: entries(fields["foreign"]).map(([key, service]) => foreignService(key, mapping(service))),
    contested: new Map(
      entries(fields["contested"]).map(([port, services]) => [
        port,
        entries(services).map(([service, without]) => ({ service, without: new Set(texts(without)) })),
      ]),
    ),
    nodes: new Map(
      entries(fields["nodes"]).map(([name, node]) => {
        const { ips, kubeletPort } = mapping(node);
        return [name, { ips: texts(ips).map(address), kubeletPort: portNumber(kubeletPort) }];
      }),
    ),
  };
}

function foreignService(key: string, { created, ports, ips }: Readonly<Record<string, unknown>>): Service {
  const externalIPs = ips === undefined ? [] : texts(ips).map(address);
  const portTexts = texts(ports);
  if (portTexts.length > MAX_PORTS || externalIPs.length > MAX_EXTERNAL_IPS) throw new WrongPart("too many");
  return {
    metadata: { ...splitKey(key), creationTimestamp: text(created) },
    spec: {
      ...(externalIPs.length === 0 ? {} : { externalIPs }),
      ports: portTexts.map((each) => {
        const match = PORT_REGEXP.exec(each);
        if (match === null) throw new WrongPart("port");
        const [, port, nodePort, protocol = ""] = match;
        return {
          port: portNumber(Number(port)),
          ...(nodePort === undefined ? {} : { nodePort: portNumber(Number(nodePort)) }),
          protocol,
        };
      }),
    },
  };
}

function portRange(range: unknown): NodePortRange {
  const [from, to, ...rest] = text(range).split("-").map(Number);
  if (rest.length > 0) throw new WrongPart("range");
  return { from: portNumber(from), to: portNumber(to) };
}

function entries(value: unknown): readonly (readonly [string, unknown])[] {
  return Object.entries(mapping(value));
}

function texts(value: unknown): readonly string[] {
  return list(value).map((each) => text(each));
}

function address(value: string): string {
  const ip = canonicalIp(value);
  if (ip === undefined) throw new WrongPart("address");
  return ip;
}

function portNumber(value: unknown): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 1 || value > 65535) throw new WrongPart("port");
  return value;
}

const VERSION = 1;
const PORT_REGEXP = /^(\d{1,5})(?::(\d{1,5}))?\/(TCP|UDP|SCTP)$/;
/** Together they, and what else there is, stay below {@linkcode MAX_FACTS_LENGTH}, and that below what an API server takes. */
const MAX_FOREIGN_LENGTH = 196_608;
const MAX_CONTESTED_LENGTH = 65_536;
const MAX_NODES_LENGTH = 196_608;
const MAX_FACTS_LENGTH = 524_288;
