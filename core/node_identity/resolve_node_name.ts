// Which node am I: the chain from `--node-name` to the Node that has this machine's id. Pure; `find_node_name.ts` gathers the facts.
import { K3slbError } from "../shared/errors.ts";
import { canonicalIp } from "../shared/ip_ranges.ts";
import { nearestNames, type ParsedNodeName, parseHostName, parseNodeName, suggestedNodeName } from "./node_name.ts";

/** Everything that may say which node this is. */
export interface NodeNameFacts {
  /** An agent needs a Node object; a server only a name for elections and Events. */
  readonly role: "agent" | "server";
  /** Value of `--node-name`. */
  readonly flag?: string;
  /** Value of `K3S_NODE_NAME`. */
  readonly env?: string;
  /** NAME, if the API server knows these credentials as `system:node:NAME`. */
  readonly selfSubjectReviewName?: string;
  readonly hostName: string;
  readonly machineId: string;
  readonly systemUuid: string;
  readonly addresses: readonly string[];
  /** The cluster's Nodes; absent: they could not be read, or the first name that holds is known to have one. */
  readonly nodes?: readonly NodeSummary[];
}

/** The part of a Node by which its machine can be recognised. */
export interface NodeSummary {
  readonly name: string;
  readonly machineId: string;
  readonly systemUuid: string;
  readonly addresses: readonly string[];
}

/** Where a name came from. */
export type NodeNameSource = "flag" | "environment" | "credentials" | "host-name" | "machine" | "fallback";

/** This node's name and how it was found. */
export interface NodeIdentity {
  readonly name: string;
  readonly source: NodeNameSource;
  /** What was looked at before, and why it gave no name. */
  readonly tried: readonly string[];
  /** The text that was given, if it had to be changed to be a valid name. */
  readonly correctedFrom?: string;
}

/**
 * The name of this node, by the first of these that holds: `--node-name`, `K3S_NODE_NAME`, the name inside the credentials, the
 * host name, the one Node with this machine's ids or addresses. A host name without a Node gives way to the machine's Node.
 *
 * @throws {K3slbError} code "node-name-unknown" if nothing or more than one Node fits, a given name is not valid, or it has no Node
 */
export function resolveNodeName(facts: NodeNameFacts): NodeIdentity {
  const tried: string[] = [];
  const given = firstGiven(facts, tried);
  if (given) {
    if (hasNode(given.name, facts)) return { ...given, tried };
    throw noSuchNode(given, facts);
  }
  const host = parseHostName(facts.hostName);
  if (host && hasNode(host.name, facts)) return { ...host, source: "host-name", tried };
  tried.push(host ? `host name "${host.name}": no such Node` : `host name "${facts.hostName}": not a valid node name`);
  if (facts.role === "server") return { name: machineName(facts, tried), source: "fallback", tried };
  const [match, ...others] = machineNodes(facts, tried);
  if (match !== undefined && others.length === 0) return { name: match, source: "machine", tried };
  throw unknownNode(facts, { tried, host, matches: match === undefined ? [] : [match, ...others] });
}

/** As what `nodeName` was given, if it was: what equals `K3S_NODE_NAME` in `env` comes from there. */
export function givenAs(
  nodeName: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Pick<NodeNameFacts, "flag" | "env"> {
  if (nodeName === undefined) return {};
  return nodeName === env["K3S_NODE_NAME"] ? { env: nodeName } : { flag: nodeName };
}

/** The name that was given or is inside the credentials, before any look at the host; `undefined` if there is none. */
export function givenNodeName(
  facts: Pick<NodeNameFacts, "flag" | "env" | "selfSubjectReviewName">,
): string | undefined {
  return firstGiven(facts, [])?.name;
}

interface GivenName extends ParsedNodeName {
  readonly source: NodeNameSource;
}

function firstGiven(
  facts: Pick<NodeNameFacts, "flag" | "env" | "selfSubjectReviewName">,
  tried: string[],
): GivenName | undefined {
  const sources = [
    { source: "flag", label: "--node-name", text: facts.flag },
    { source: "environment", label: "K3S_NODE_NAME", text: facts.env },
    { source: "credentials", label: "credentials", text: facts.selfSubjectReviewName },
  ] as const;
  for (const { source, label, text } of sources) {
    if (text === undefined || text.trim() === "") {
      tried.push(`${label}: ${source === "credentials" ? "not those of a node" : "not given"}`);
      continue;
    }
    const parsed = parseNodeName(text);
    if (!parsed) throw invalidName(label, text);
    return { ...parsed, source };
  }
  return undefined;
}

function hasNode(name: string, { role, nodes }: NodeNameFacts): boolean {
  return role === "server" || nodes === undefined || nodes.some((node) => node.name === name);
}

function machineNodes(facts: NodeNameFacts, tried: string[]): readonly string[] {
  const nodes = facts.nodes ?? [];
  const byId = nodes.filter((node) =>
    sameId(node.machineId, facts.machineId) || sameId(node.systemUuid, facts.systemUuid)
  );
  const own = new Set(
    facts.addresses.map((address) => canonicalIp(address)).filter((address) => address !== undefined),
  );
  const byAddress = nodes.filter((node) => node.addresses.some((address) => own.has(canonicalIp(address) ?? "")));
  // Cloned machines share their ids, never their addresses.
  const both = byId.filter((node) => byAddress.includes(node));
  const names = (both.length > 0 ? both : byId.length > 0 ? byId : byAddress).map((node) => node.name).sort();
  const seen = facts.nodes === undefined ? "the Nodes can't be listed" : `${names.length} of ${nodes.length} Nodes`;
  tried.push(`machine id, system uuid and addresses: ${seen}`);
  return names;
}

function sameId(a: string, b: string): boolean {
  const plain = (id: string): string => id.toLowerCase().replaceAll("-", "");
  return /[1-9a-f]/.test(plain(a)) && plain(a) === plain(b);
}

/** A name that stays the same over restarts, for a server on a machine without a name. */
function machineName(facts: NodeNameFacts, tried: string[]): string {
  const id = (facts.machineId || facts.systemUuid).toLowerCase().replaceAll(/[^a-z0-9]/g, "").slice(0, 12);
  if (id === "") throw unknownNode(facts, { tried, host: undefined, matches: [] });
  return `host-${id}`;
}

function invalidName(label: string, text: string): K3slbError {
  const suggestion = suggestedNodeName(text);
  return new K3slbError(`${label} "${text}" is not a valid node name: letters, digits, "-" and "." only`, {
    code: UNKNOWN_CODE,
    hint: suggestion === undefined ? "Give the name that kubectl get nodes shows" : `Try --node-name=${suggestion}`,
  });
}

function noSuchNode(given: GivenName, facts: NodeNameFacts): K3slbError {
  const names = (facts.nodes ?? []).map((node) => node.name);
  const near = nearestNames(given.name, names);
  return new K3slbError(`The cluster has no Node "${given.name}" (from ${SOURCE_LABELS[given.source]})`, {
    code: UNKNOWN_CODE,
    hint: near.length > 0
      ? `Close names are ${near.join(", ")}; choose one with --node-name`
      : "Give the name that kubectl get nodes shows with --node-name",
    details: { nearest: near },
  });
}

interface Failure {
  readonly tried: readonly string[];
  readonly host: ParsedNodeName | undefined;
  readonly matches: readonly string[];
}

function unknownNode(facts: NodeNameFacts, { tried, host, matches }: Failure): K3slbError {
  const names = (facts.nodes ?? []).map((node) => node.name);
  const near = matches.length > 0 ? matches : host ? nearestNames(host.name, names) : [];
  const why = matches.length > 1 ? `${matches.length} Nodes fit this machine (${matches.join(", ")})` : "nothing fits";
  return new K3slbError(`Cannot tell which node this is: ${why}; tried ${tried.join("; ")}`, {
    code: UNKNOWN_CODE,
    hint: near.length > 0
      ? `Choose one of ${near.join(", ")} with --node-name`
      : "Give the node's name with --node-name",
    details: { nearest: near },
  });
}

const UNKNOWN_CODE = "node-name-unknown";

const SOURCE_LABELS: Readonly<Record<NodeNameSource, string>> = {
  flag: "--node-name",
  environment: "K3S_NODE_NAME",
  credentials: "the credentials",
  "host-name": "the host name",
  machine: "the machine id",
  fallback: "the machine id",
};
