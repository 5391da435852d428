// Large changes in several small restores, for where one large one is refused: in a user namespace (rootless) the kernel limits one
// netlink message to `net.core.wmem_max`, some 400 rules. Not one transaction any more, so the order keeps every state in between whole:
// a chain is written before anything jumps to it, and deleted after.
import type { IpFamily } from "../../core/shared/ip.ts";
import { isEmptyChange, renderRestore } from "./render_restore.ts";
import { type Chain, TABLE_NAMES, type TableChange } from "./ruleset.ts";

/** Rules and chains of one part; a chain is never split. */
const PART_SIZE = 200;

/** Kinds of nat chains by their names, those that are jumped to first. */
const DEPTHS: readonly RegExp[] = [
  /^K3SLB-R-/,
  /^K3SLB-S-/,
  /^K3SLB-F-/,
  /^K3SLB-B-/,
  /^K3SLB-SERVICES$/,
  /^K3SLB-LOCAL$/,
];

/** Inputs for `iptables-restore --noflush`, to be run one after the other. Chains that others jump to from outside come first. */
export function renderParts(changes: readonly TableChange[], family: IpFamily): readonly string[] {
  return TABLE_NAMES
    .flatMap((table) => changes.filter((change) => change.table === table))
    .flatMap(splitChange)
    .map((change) => renderRestore([change], family));
}

function splitChange(change: TableChange): readonly TableChange[] {
  const { table } = change;
  const written = [...change.written].sort((a, b) => depthOf(a.name) - depthOf(b.name));
  const deleted = [...change.deleted].sort((a, b) => depthOf(b) - depthOf(a));
  return [
    ...batches(written, (chain: Chain) => chain.rules.length + 1).map((part) => ({
      table,
      written: part,
      deleted: [],
      edits: [],
    })),
    { table, written: [], deleted: [], edits: change.edits },
    ...batches(deleted, () => 1).map((part) => ({ table, written: [], deleted: part, edits: [] })),
  ].filter((part) => !isEmptyChange(part));
}

/** Verdict chains, which jump to none of ours, are the deepest. */
function depthOf(name: string): number {
  return DEPTHS.findIndex((kind) => kind.test(name));
}

function batches<T>(items: readonly T[], sizeOf: (item: T) => number): readonly (readonly T[])[] {
  const parts: T[][] = [];
  let size = PART_SIZE;
  for (const item of items) {
    if (size + sizeOf(item) > PART_SIZE) {
      parts.push([]);
      size = 0;
    }
    parts.at(-1)?.push(item);
    size += sizeOf(item);
  }
  return parts;
}
