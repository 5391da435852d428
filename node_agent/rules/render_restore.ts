// Changes of tables as the input of one `iptables-restore --noflush`: the named chains are replaced whole, all others stay.
// A table is one transaction: a line that fails leaves that table as it was (tables before it are written already).
import type { IpFamily } from "../../core/shared/ip.ts";
import { renderRule } from "./render_rule.ts";
import { type Chain, type RuleSet, TABLE_NAMES, type TableChange } from "./ruleset.ts";

/** Input for `iptables-restore --noflush`; empty if there is nothing to do. */
export function renderRestore(changes: readonly TableChange[], family: IpFamily): string {
  return TABLE_NAMES
    .flatMap((table) => changes.filter((change) => change.table === table))
    .filter((change) => !isEmptyChange(change))
    .map((change) => renderTable(change, family))
    .join("");
}

/** Whether a change has nothing to write. */
export function isEmptyChange(change: TableChange): boolean {
  return change.written.length === 0 && change.deleted.length === 0 && change.edits.length === 0;
}

/** The own chains of a rule set as one text, for comparing whole states. */
export function renderRuleSet(ruleSet: RuleSet): string {
  const changes = TABLE_NAMES.map((table) => ({ table, written: ruleSet.tables[table], deleted: [], edits: [] }));
  return renderRestore(changes, ruleSet.family);
}

function renderTable(change: TableChange, family: IpFamily): string {
  const names = [...change.written.map((chain) => chain.name), ...change.deleted];
  const lines = [
    `*${change.table}`,
    ...names.map((name) => `:${name} - [0:0]`),
    ...change.written.flatMap((chain) => renderChain(chain, family)),
    ...change.edits.map((edit) =>
      edit.kind === "delete" ? `-D ${edit.chain} ${edit.spec}` : `-I ${edit.chain} ${edit.position} ${edit.spec}`
    ),
    // A chain can go only when nothing jumps to it any more, so this comes last.
    ...change.deleted.map((name) => `-X ${name}`),
    "COMMIT",
  ];
  return lines.join("\n") + "\n";
}

function renderChain(chain: Chain, family: IpFamily): readonly string[] {
  return chain.rules.map((rule) => `-A ${chain.name} ${renderRule(rule, family)}`);
}
