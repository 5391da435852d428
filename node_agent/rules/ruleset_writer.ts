// Keeps one address family's rules in the kernel equal to a rule set. It remembers what was written instead of reading it back
// (reading the nat table takes seconds beside a large kube-proxy) and writes everything anew after any doubt.
import { errorMessage, isAbort, isK3slbError } from "../../core/shared/errors.ts";
import type { Logger } from "../../core/shared/log.ts";
import { BUCKET_PREFIX, CHAIN_PREFIX, chainNamesOfId, LOCAL_CHAIN, SERVICES_CHAIN } from "./desired_chain_names.ts";
import type { Iptables } from "../host/iptables.ts";
import { type ForeignChains, foreignTargets } from "./forward_chain.ts";
import { planJump, planUnhook } from "./jump_plan.ts";
import { renderParts } from "./render_parts.ts";
import { renderRestore } from "./render_restore.ts";
import { lineTarget, ruleTarget } from "./render_rule.ts";
import {
  type BuiltinChain,
  type Chain,
  diffRuleSet,
  type Jump,
  type RuleSet,
  TABLE_NAMES,
  type TableChange,
  type TableName,
} from "./ruleset.ts";

const BUILTIN_CHAINS: Readonly<Record<TableName, readonly BuiltinChain[]>> = {
  filter: ["INPUT", "FORWARD"],
  nat: ["PREROUTING", "OUTPUT", "POSTROUTING"],
};

/** Where it shows that somebody flushed a table or put rules before ours. */
const WATCHED_JUMPS: readonly BuiltinChain[] = ["PREROUTING", "FORWARD"];

/** Checks after which the chains of others are read again, and most of them that are. */
const CHECKS_PER_FOREIGN = 12;
const MAX_FOREIGN = 20;

/** A change of this many parts always fits into one run: the filter's chains, some of nat, jumps and deletions. */
const MAX_SINGLE_PARTS = 5;

/** Times that a write is tried when a chain that others write too changes in between. */
const MAX_TRIES = 3;

/** Writes one family's rules. Calls are made one at a time. */
export class RuleSetWriter {
  readonly #iptables: Iptables;
  readonly #log: Logger;
  /** What the kernel has; absent while that is not known. */
  #written: RuleSet | undefined;
  /** What was wanted last, whether or not it could be written. */
  #wanted: RuleSet | undefined;
  /** Nothing has been written since the last check. */
  #isQuiet = true;
  #checks = 0;
  /** Whether large changes are written in parts, since one run was refused. */
  #inParts = false;
  /** Chains that FORWARD leads to, as of when it had these lines. */
  #foreign: { readonly lines: string; readonly chains: ForeignChains; readonly atCheck: number } | undefined;
  #remarks: readonly string[] = [];

  constructor(iptables: Iptables, log: Logger) {
    this.#iptables = iptables;
    this.#log = log;
  }

  /** What an operator should know of the chains that hold our jumps, as of the last check. */
  get remarks(): readonly string[] {
    return this.#remarks;
  }

  /** Rules in the kernel, jumps included. */
  get ruleCount(): number {
    const chains = TABLE_NAMES.flatMap((table) => this.#written?.tables[table] ?? []);
    return chains.reduce((sum, chain) => sum + chain.rules.length, this.#written?.jumps.length ?? 0);
  }

  /**
   * Makes the kernel's rules equal to `ruleSet`; returns how many chains were written.
   * @throws {K3slbError} as {@linkcode Iptables.restore}; nothing of the failed table was changed, and the next call writes everything
   */
  async write(ruleSet: RuleSet, signal?: AbortSignal): Promise<number> {
    this.#wanted = ruleSet;
    if (!this.#written || JSON.stringify(this.#written.jumps) !== JSON.stringify(ruleSet.jumps)) {
      this.#isQuiet = false;
      return await this.#writeAll(ruleSet, signal);
    }
    const changes = diffRuleSet(this.#written, ruleSet);
    if (changes.length === 0) {
      // Of two that say the same one is enough to keep.
      this.#written = ruleSet;
      return 0;
    }
    this.#isQuiet = false;
    try {
      await this.#restore(changes, signal);
    } catch (error) {
      this.#written = undefined;
      if (!isK3slbError(error, "iptables-failed")) throw error;
      this.#log.warn("A change of the rules was refused: everything is written anew", { error: errorMessage(error) });
      return await this.#writeAll(ruleSet, signal);
    }
    this.#written = ruleSet;
    return countChains(changes);
  }

  /**
   * Mends jumps, their order and chains of ours. Returns one sentence for each thing that was wrong.
   * Checks a few places each time; only where something is wrong there, everything that does not grow with Services.
   */
  async repair(signal?: AbortSignal): Promise<readonly string[]> {
    const wanted = this.#wanted;
    if (!wanted) return [];
    if (!this.#written) {
      await this.#writeAll(wanted, signal);
      return [`The ${wanted.family} rules were in doubt and were written anew`];
    }
    const suspicions = await this.#check(this.#written, signal);
    if (suspicions.length === 0) return [];
    // Those whose number does not grow with Services: the filter's and the dispatch.
    const fixedCount = this.#written.tables.filter.length + 1;
    const findings = await this.#damagedChains(chainsOf(this.#written).slice(0, fixedCount), signal);
    if (findings.length > 0) {
      await this.#writeAll(wanted, signal, findings);
      return findings;
    }
    const jumps = await this.#planJumps(wanted.jumps, signal);
    if (jumps.findings.length === 0) {
      await this.#writeAll(wanted, signal);
      return suspicions;
    }
    try {
      await this.#restore(jumps.changes, signal);
    } catch (error) {
      this.#written = undefined;
      if (isAbort(error)) throw error;
      await this.#writeAll(wanted, signal);
    }
    return jumps.findings;
  }

  /**
   * Removes every rule and chain of ours, also what an earlier run left. Returns one sentence for each table that had any.
   * A table that refuses keeps no other from being cleaned; its chains are left empty, with nothing of ours that leads to them.
   * Established connections go on as long as another rule of the host needs connection tracking; after the last such rule the kernel turns it off.
   */
  async remove(signal?: AbortSignal): Promise<readonly string[]> {
    this.#written = undefined;
    this.#wanted = undefined;
    return await removeEach(TABLE_NAMES.map((table) => () => this.#removeTable(table, signal)));
  }

  async #removeTable(table: TableName, signal?: AbortSignal): Promise<readonly string[]> {
    const lines = await this.#iptables.listTable(table, signal);
    const deleted = lines.flatMap((line) => /^-N (\S+)/.exec(line)?.[1] ?? []).filter((name) =>
      name.startsWith(CHAIN_PREFIX)
    );
    const edits = BUILTIN_CHAINS[table].flatMap((chain) => planUnhook(chain, lines));
    if (deleted.length + edits.length === 0) return [];
    try {
      await this.#restore([{ table, written: [], deleted, edits }], signal);
    } catch (error) {
      if (!isK3slbError(error, "iptables-failed")) throw error;
      // A rule of somebody else jumps to a chain of ours, which can't be deleted then: an empty one does nothing.
      const written = deleted.map((name): Chain => ({ name, rules: [] }));
      await this.#restore([{ table, written, deleted: [], edits }], signal);
      throw error;
    }
    return [`${this.#family} ${table}: ${deleted.length} chains and ${edits.length} jumps`];
  }

  /** In one run, or in parts where one large run was refused. Throws when the caller must plan the jumps again before it tries in parts. */
  async #restore(changes: readonly TableChange[], signal?: AbortSignal): Promise<void> {
    const parts = renderParts(changes, this.#family);
    const isLarge = parts.length > MAX_SINGLE_PARTS;
    if (!isLarge || !this.#inParts) {
      try {
        return await this.#iptables.restore(renderRestore(changes, this.#family), signal);
      } catch (error) {
        if (!isLarge || !isK3slbError(error, "iptables-failed")) throw error;
        this.#inParts = true;
        // With several tables the first may be written by now, its jumps included.
        if (changes.length > 1) throw error;
      }
    }
    try {
      for (const part of parts) await this.#iptables.restore(part, signal);
    } catch (error) {
      this.#inParts = false;
      throw error;
    }
  }

  get #family(): RuleSet["family"] {
    return this.#iptables.program.family;
  }

  /** Chains, jumps and the removal of what an earlier run left, in one run of the tool. */
  async #writeAll(ruleSet: RuleSet, signal: AbortSignal | undefined, findings?: string[]): Promise<number> {
    this.#written = undefined;
    for (let attempt = 1;; attempt++) {
      const leftover = await this.#leftoverChains(ruleSet, signal);
      const jumps = await this.#planJumps(ruleSet.jumps, signal);
      const changes = TABLE_NAMES.map((table): TableChange => ({
        table,
        written: ruleSet.tables[table],
        deleted: table === "nat" ? leftover : [],
        edits: jumps.changes.find((change) => change.table === table)?.edits ?? [],
      }));
      try {
        await this.#restore(changes, signal);
        this.#written = ruleSet;
        findings?.push(...jumps.findings);
        return countChains(changes);
      } catch (error) {
        // Another program may have changed a built-in chain since it was read.
        if (attempt >= MAX_TRIES || !isK3slbError(error, "iptables-failed")) throw error;
      }
    }
  }

  async #planJumps(
    jumps: readonly Jump[],
    signal?: AbortSignal,
  ): Promise<{ readonly changes: readonly TableChange[]; readonly findings: string[] }> {
    const edits: Record<TableName, TableChange["edits"][number][]> = { nat: [], filter: [] };
    const findings: string[] = [];
    for (const jump of jumps) {
      const lines = await this.#iptables.listChain(jump.table, jump.chain, signal) ?? [];
      const chains = jump.chain === "FORWARD" ? await this.#foreignChains(lines, signal) : undefined;
      const plan = planJump(jump, this.#family, lines, chains);
      if (plan.remarks) this.#remarks = plan.remarks.map((remark) => `${remark} (${this.#family})`);
      edits[jump.table].push(...plan.edits);
      if (plan.finding !== undefined) findings.push(`${plan.finding} (${this.#family})`);
    }
    return {
      changes: TABLE_NAMES.map((table) => ({ table, written: [], deleted: [], edits: edits[table] })),
      findings,
    };
  }

  /** Chains of administrators and other programs that FORWARD leads to. They change seldom, and reading one costs a process. */
  async #foreignChains(lines: readonly string[], signal?: AbortSignal): Promise<ForeignChains> {
    const key = lines.join("\n");
    if (this.#foreign?.lines === key && this.#checks < this.#foreign.atCheck + CHECKS_PER_FOREIGN) {
      return this.#foreign.chains;
    }
    const chains = new Map<string, readonly string[]>();
    const names = [...foreignTargets(lines)];
    for (let name = names.shift(); name !== undefined && chains.size < MAX_FOREIGN; name = names.shift()) {
      if (chains.has(name)) continue;
      // A target of an extension is no chain, and has no rules.
      const found = await this.#iptables.listChain("filter", name, signal) ?? [];
      chains.set(name, found);
      names.push(...foreignTargets(found));
    }
    this.#foreign = { lines: key, chains, atCheck: this.#checks };
    return chains;
  }

  /** Chains of an earlier run, found from the dispatch instead of by reading the whole table. */
  async #leftoverChains(ruleSet: RuleSet, signal?: AbortSignal): Promise<readonly string[]> {
    const found = new Set<string>();
    if (await this.#iptables.listChain("nat", LOCAL_CHAIN, signal)) found.add(LOCAL_CHAIN);
    const dispatch = [SERVICES_CHAIN];
    for (let name = dispatch.pop(); name !== undefined; name = dispatch.pop()) {
      for (const line of await this.#iptables.listChain("nat", name, signal) ?? []) {
        const target = / -j (\S+)/.exec(line)?.[1] ?? "";
        const id = new RegExp(`^${CHAIN_PREFIX}[FSR]-([0-9A-V]+)$`).exec(target)?.[1];
        if (id !== undefined) { for (const chain of Object.values(chainNamesOfId(id))) found.add(chain); }
        else if (target.startsWith(BUCKET_PREFIX) && !found.has(target)) {
          found.add(target);
          dispatch.push(target);
        }
      }
    }
    const wanted = new Set(ruleSet.tables.nat.map((chain) => chain.name));
    return [...found].filter((name) => !wanted.has(name)).sort();
  }

  /**
   * Checks one of the watched jumps, and every second time the next of everything else; says what is wrong there. Each thing that is read
   * costs a process, and an idle agent little else.
   */
  async #check(ruleSet: RuleSet, signal?: AbortSignal): Promise<readonly string[]> {
    // The families take turns: whoever flushes both is seen at once.
    const check = this.#checks++ + (this.#family === "IPv6" ? 1 : 0);
    const watched = ruleSet.jumps.filter((jump) => WATCHED_JUMPS.includes(jump.chain));
    // Whoever writes rules for the same Services does it at about the same time, and may take our place.
    const jumpsNow = this.#isQuiet ? watched.slice(check % watched.length).slice(0, 1) : watched;
    this.#isQuiet = true;
    const { findings } = await this.#planJumps(jumpsNow, signal);
    if (findings.length > 0 || check % 2 === 1) return findings;
    const quiet = ruleSet.jumps.filter((jump) => !WATCHED_JUMPS.includes(jump.chain));
    const chains = chainsOf(ruleSet);
    const next = (check / 2) % (quiet.length + chains.length);
    return next < quiet.length
      ? (await this.#planJumps(quiet.slice(next, next + 1), signal)).findings
      : await this.#damagedChains(chains.slice(next - quiet.length).slice(0, 1), signal);
  }

  /** Compares where the rules of chains send packets. */
  async #damagedChains(chains: readonly TableChain[], signal?: AbortSignal): Promise<string[]> {
    for (const { table, chain } of chains) {
      const lines = await this.#iptables.listChain(table, chain.name, signal);
      const targets = lines?.filter((line) => line.startsWith("-A ")).map(lineTarget);
      const wanted = chain.rules.map(ruleTarget);
      if (targets?.join("\n") === wanted.join("\n")) continue;
      const what = targets === undefined
        ? "was gone"
        : targets.length === wanted.length
        ? "had other rules"
        : `had ${targets.length} rules instead of ${wanted.length}`;
      // One is enough to write everything anew.
      return [`Chain ${chain.name} in ${table} ${what} (${this.#family})`];
    }
    return [];
  }
}

/** Does every one of `removals`, also after one that failed; then throws the first failure, or returns what all of them say. */
export async function removeEach(removals: readonly (() => Promise<readonly string[]>)[]): Promise<readonly string[]> {
  const removed: string[] = [];
  const failures: unknown[] = [];
  for (const remove of removals) {
    try {
      removed.push(...await remove());
    } catch (error) {
      if (isAbort(error)) throw error;
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return removed;
}

interface TableChain {
  readonly table: TableName;
  readonly chain: Chain;
}

/** The filter's before those of nat, of which the dispatch is the first. */
function chainsOf({ tables }: RuleSet): readonly TableChain[] {
  const { filter, nat } = tables;
  return [
    ...filter.map((chain): TableChain => ({ table: "filter", chain })),
    ...nat.map((chain): TableChain => ({ table: "nat", chain })),
  ];
}

function countChains(changes: readonly TableChange[]): number {
  return changes.reduce((sum, change) => sum + change.written.length + change.deleted.length, 0);
}
