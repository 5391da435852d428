// The firewall rules that this program makes, as values, and what differs between two sets of them. Pure. render_rule.ts says what the values
// mean and writes them the way `iptables -S` prints them; desired_ruleset.ts says which of them are wanted.
import type { IpFamily, Protocol } from "../../core/shared/ip.ts";

/** The tables that hold rules of ours. */
export type TableName = "nat" | "filter";

/** All of them, in the order in which they are written: packets that nat marks must already meet the filter's rules. */
export const TABLE_NAMES: readonly TableName[] = ["filter", "nat"];

/** The built-in chains that get a jump into ours. */
export type BuiltinChain = "PREROUTING" | "OUTPUT" | "POSTROUTING" | "INPUT" | "FORWARD";

/** The packet mark bits; each is a single bit of 32 and differs from the others. */
export interface MarkBits {
  /** The packet is for a port of ours and may be forwarded. */
  readonly ours: number;
  /** The packet leaves with this node's address. */
  readonly masquerade: number;
  /** Dropped in INPUT. */
  readonly drop: number;
  /** Refused in INPUT. */
  readonly reject: number;
}

/** What a packet must be like for a rule. All that are given must hold. */
export interface Match {
  /** Range in canonical form; negated if it must not match. */
  readonly source?: { readonly cidr: string; readonly negated?: true };
  /** Packets to this range. */
  readonly destination?: { readonly cidr: string; readonly negated?: true };
  /** Transport protocol. */
  readonly protocol?: Protocol;
  /** First and last port, inclusive. Needs a protocol. */
  readonly destinationPorts?: { readonly from: number; readonly to: number };
  /** From an address of the node. */
  readonly localSource?: true;
  /** To an address of the node. */
  readonly localDestination?: true;
  /** With this mark bit. */
  readonly mark?: { readonly bit: number; readonly negated?: true };
  /** The packet belongs to a connection that was seen in both directions, or to one related to it. */
  readonly established?: true;
  /** The packet belongs to a translated connection whose first packet got through, whether or not anybody has answered. */
  readonly admitted?: true;
  /** Chance in units of 2^-31, the kernel's own. */
  readonly chance?: number;
  /** A list of client addresses. `set` always matches. */
  readonly recent?: {
    readonly list: string;
    readonly action: "set" | "check" | "update";
    /** Age in seconds that an entry may have for `check` and `update`. */
    readonly seconds?: number;
  };
}

/** What happens to a packet that matches. */
export type Target =
  | { readonly kind: "jump"; readonly chain: string }
  | { readonly kind: "accept" | "return" | "drop" | "reset" | "reject" }
  | { readonly kind: "set-mark" | "clear-mark"; readonly bits: number }
  | { readonly kind: "dnat"; readonly ip: string; readonly port: number }
  | { readonly kind: "masquerade"; readonly randomFully: boolean };

/** One rule of a chain. */
export interface Rule {
  /** Which packets. */
  readonly match: Match;
  /** Shown beside the rule. */
  readonly comment?: string;
  /** What happens to them. */
  readonly target: Target;
}

/** A chain of ours. */
export interface Chain {
  /** Name of the chain. */
  readonly name: string;
  /** In order. */
  readonly rules: readonly Rule[];
}

/** A rule of ours in a chain that everybody uses. */
export interface Jump {
  /** Table of iptables. */
  readonly table: TableName;
  /** The built-in chain. */
  readonly chain: BuiltinChain;
  /** The only rule in it that is ours. */
  readonly rule: Rule;
  /** Chains whose jumps stand before ours; where there is none of them, ours is the first rule. */
  readonly below: readonly string[];
}

/** Everything of ours in one address family. Chain names are unique in a table. */
export interface RuleSet {
  /** Address family. */
  readonly family: IpFamily;
  /** Own chains by table. */
  readonly tables: Readonly<Record<TableName, readonly Chain[]>>;
  /** Ways from built-in chains into own ones. */
  readonly jumps: readonly Jump[];
}

/** What is to be written into one table with one transaction. */
export interface TableChange {
  /** Table of iptables. */
  readonly table: TableName;
  /** Chains to create or to replace, whole. */
  readonly written: readonly Chain[];
  /** Names of chains to delete; they need not exist. */
  readonly deleted: readonly string[];
  /** Single rules to take out of or put into built-in chains, in this order. */
  readonly edits: readonly JumpEdit[];
}

/** One change of a built-in chain. */
export type JumpEdit =
  | { readonly kind: "delete"; readonly chain: BuiltinChain; readonly spec: string }
  | { readonly kind: "insert"; readonly chain: BuiltinChain; readonly position: number; readonly spec: string };

/** Changes that turn `before` into `after` (jumps apart); tables without a change are left out. */
export function diffRuleSet(before: RuleSet | undefined, after: RuleSet): readonly TableChange[] {
  return TABLE_NAMES
    .map((table) => diffTable(table, before?.tables[table] ?? [], after.tables[table]))
    .filter((change) => change.written.length > 0 || change.deleted.length > 0);
}

function diffTable(table: TableName, before: readonly Chain[], after: readonly Chain[]): TableChange {
  const old = new Map(before.map((chain) => [chain.name, chain]));
  const written = after.filter((chain) => !isSameChain(old.get(chain.name), chain));
  const kept = new Set(after.map((chain) => chain.name));
  const deleted = before.map((chain) => chain.name).filter((name) => !kept.has(name));
  return { table, written, deleted, edits: [] };
}

function isSameChain(a: Chain | undefined, b: Chain): boolean {
  return a !== undefined && (a === b || JSON.stringify(a.rules) === JSON.stringify(b.rules));
}
