// The hosts file of CoreDNS from the cluster's Nodes. Pure. Form as K3s writes it (k3s `pkg/node/controller.go`): one line an
// address, `IP NAME[ HOSTNAME]`, one InternalIP a family and node, in the order of the addresses.
// A node speaks for itself alone: whoever has its credentials could otherwise answer for any name that pods ask for.
// Lines that users added stay; a record of the nodes that were written tells them from nodes that are gone.
import type { Node } from "../kube/types.ts";
import { type IpFamily } from "../shared/ip.ts";
import { ipFamilyOf, parseIpRange } from "../shared/ip_ranges.ts";
import { isDnsSubdomain } from "../shared/names.ts";

/** What the text is made from. */
export interface NodeHostsInput {
  readonly nodes: Iterable<Pick<Node, "metadata" | "status">>;
  /** The text as it is now. */
  readonly present: string;
  /** Names of nodes that an earlier text was written for. */
  readonly recorded: readonly string[];
}

/** The wanted text. */
export interface NodeHosts {
  /** Lines with line ends; empty if there is nothing to say. */
  readonly text: string;
  /** Names of the nodes in it, sorted. */
  readonly nodeNames: readonly string[];
  /** Lines of the present text that are left out because they are no `IP NAME`. */
  readonly faulty: readonly string[];
}

interface Line {
  readonly ip: string;
  /** The address as a number of 128 bits, an IPv4 address as IPv4-mapped one. */
  readonly order: bigint;
  readonly names: readonly string[];
}

/** The text for the nodes as they are now. */
export function desiredNodeHosts(input: NodeHostsInput): NodeHosts {
  const lines: Line[] = [];
  const nodeNames: string[] = [];
  const nodes = [...input.nodes];
  const taken = takenNames(nodes);
  for (const node of nodes) {
    const { name = "" } = node.metadata ?? {};
    const ofNode = linesOf(name, node.status?.addresses ?? [], taken);
    if (ofNode.length > 0) nodeNames.push(name);
    lines.push(...ofNode);
  }
  const { lines: present, faulty } = parseHosts(input.present);
  const known = new Set([...nodeNames, ...input.recorded]);
  lines.push(...present.filter(({ names }) => !known.has(names[0] ?? "")));
  const texts = lines.toSorted(compareLines).map(({ ip, names }) => `${ip} ${names.join(" ")}\n`);
  return { text: [...new Set(texts)].join(""), nodeNames: nodeNames.sort(), faulty };
}

function linesOf(
  name: string,
  addresses: readonly { readonly type: string; readonly address: string }[],
  taken: ReadonlySet<string>,
): readonly Line[] {
  const hostname = hostnameIn(addresses);
  const names = !taken.has(hostname) && isOwnHostname(hostname, name) ? [name, hostname] : [name];
  const seen = new Set<IpFamily>();
  return addresses.flatMap(({ type, address }) => {
    const line = type === "InternalIP" ? lineOf(address, names) : undefined;
    const family = ipFamilyOf(address);
    if (line === undefined || family === undefined || seen.has(family)) return [];
    seen.add(family);
    return [line];
  });
}

/** Names of nodes, and host names that several nodes call themselves by. */
function takenNames(nodes: readonly Pick<Node, "metadata" | "status">[]): ReadonlySet<string> {
  const taken = new Set(nodes.map(({ metadata }) => metadata?.name ?? ""));
  const seen = new Set<string>();
  for (const { status } of nodes) {
    const hostname = hostnameIn(status?.addresses ?? []);
    if (seen.has(hostname)) taken.add(hostname);
    seen.add(hostname);
  }
  return taken;
}

function hostnameIn(addresses: readonly { readonly type: string; readonly address: string }[]): string {
  return addresses.find(({ type }) => type === "Hostname")?.address ?? "";
}

/** Without a domain, or the node's name with one: names with a domain of their own belong to somebody else. */
function isOwnHostname(hostname: string, name: string): boolean {
  if (!isDnsSubdomain(hostname) || hostname === "localhost") return false;
  return !hostname.includes(".") || hostname.startsWith(`${name}.`);
}

function parseHosts(text: string): { readonly lines: readonly Line[]; readonly faulty: readonly string[] } {
  const lines: Line[] = [];
  const faulty: string[] = [];
  for (const raw of text.split("\n")) {
    const content = raw.split("#", 1)[0]?.trim() ?? "";
    if (content === "") continue;
    const [ip = "", ...names] = content.split(/\s+/);
    const line = names.length > 0 ? lineOf(ip, names) : undefined;
    if (line === undefined) faulty.push(content);
    else lines.push(line);
  }
  return { lines, faulty };
}

function lineOf(ip: string, names: readonly string[]): Line | undefined {
  const range = ip.includes("/") ? undefined : parseIpRange(ip);
  if (range === undefined) return undefined;
  return { ip, names, order: range.family === "IPv4" ? IPV4_MAPPED | range.value : range.value };
}

const IPV4_MAPPED = 0xffffn << 32n;

function compareLines(a: Line, b: Line): number {
  if (a.order !== b.order) return a.order < b.order ? -1 : 1;
  const [one, other] = [a.names.join(" "), b.names.join(" ")];
  return one < other ? -1 : one > other ? 1 : 0;
}
