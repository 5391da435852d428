// How the keys of each group were handled so far, for a queue that keeps those who hang from those who do not. In-memory only, no I/O.
import type { Clock } from "./clock.ts";

/** What a group is taken for: `fresh` while nothing is known of it, or after it hung. */
export type Standing = "quick" | "fresh" | "slow";

/** Groups by how long their keys take. */
export class GroupStanding {
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** Groups that were never slow, the longest known first. */
  readonly #quick = new Set<string>();
  /** Keys that were slow when they were last handled, by group. */
  readonly #slow = new Map<string, Set<string>>();
  /** When a key of the group was slow last, the longest ago first. */
  readonly #slowMs = new Map<string, number>();

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Whether any group hangs. */
  get hasSlow(): boolean {
    return this.#slow.size > 0;
  }

  of(group: string): Standing {
    if (this.#slow.has(group)) return "slow";
    return this.#quick.has(group) ? "quick" : "fresh";
  }

  noteSlow(group: string, key: string): void {
    this.#slow.set(group, (this.#slow.get(group) ?? new Set()).add(key));
    this.#quick.delete(group);
    this.#slowMs.delete(group);
    this.#slowMs.set(group, this.#clock.monotonicMs());
    forgetFirst(this.#slowMs);
  }

  /** Who hung is on probation for a while after: a webhook may hang and answer by turns. */
  noteQuick(group: string, key: string): void {
    const keys = this.#slow.get(group);
    keys?.delete(key);
    if (keys !== undefined && keys.size > 0) return;
    this.#slow.delete(group);
    if (this.#clock.monotonicMs() - (this.#slowMs.get(group) ?? -Infinity) < PROBATION_MS) return;
    this.#slowMs.delete(group);
    this.#quick.add(group);
    forgetFirst(this.#quick);
  }
}

function forgetFirst(known: Set<string> | Map<string, number>): void {
  if (known.size > MAX_KNOWN) known.delete([...known.keys()][0] ?? "");
}

const PROBATION_MS = 600_000;
/** More than there are namespaces in most clusters. */
const MAX_KNOWN = 10_000;
