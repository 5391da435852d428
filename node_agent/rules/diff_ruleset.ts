// What must be written so that one rule set becomes another. Pure: compares values, knows nothing of the kernel.
import type { Chain, RuleSet, TableChange, TableName } from "./ruleset.ts";

const TABLES: readonly TableName[] = ["filter", "nat"];

/** Changes that turn `before` into `after` (jumps apart); tables without a change are left out. */
export function diffRuleSet(before: RuleSet | undefined, after: RuleSet): readonly TableChange[] {
  return TABLES
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
