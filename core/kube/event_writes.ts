// Writes of Events: in order within a namespace, namespaces beside each other and by turns, so that one whose webhook hangs does not keep the
// Events of others. Adapter.
import type { Clock } from "../runtime/clock.ts";

/** Writes that wait and those under way. */
export class EventWrites {
  readonly #clock: Pick<Clock, "monotonicMs">;
  /** By namespace; the first is next. */
  readonly #waiting = new Map<string, (() => Promise<void>)[]>();
  readonly #busy = new Set<string>();
  /** Namespaces whose last write was quick, the longest known first: the others, of which nothing is known or which hang, have half of the places. */
  readonly #quick = new Set<string>();
  readonly #idle: (() => void)[] = [];
  #queued = 0;

  constructor(clock: Pick<Clock, "monotonicMs">) {
    this.#clock = clock;
  }

  /** Whether one more may wait. When there are too many, a namespace with few still has room. */
  hasRoom(namespace: string): boolean {
    return this.#queued < MAX_QUEUED || (this.#waiting.get(namespace)?.length ?? 0) < FAIR_SHARE;
  }

  /** @param write Never rejects. */
  add(namespace: string, write: () => Promise<void>): void {
    const writes = this.#waiting.get(namespace) ?? [];
    writes.push(write);
    this.#waiting.set(namespace, writes);
    this.#queued++;
    this.#start();
  }

  /** Resolves when nothing waits and nothing is under way. */
  idle(): Promise<void> {
    return this.#queued === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  #start(): void {
    for (const [namespace, writes] of this.#waiting) {
      if (this.#busy.size >= MAX_AT_ONCE) return;
      if (this.#busy.has(namespace) || (!this.#quick.has(namespace) && this.#othersBusy >= MAX_AT_ONCE / 2)) continue;
      const write = writes.shift();
      // Its next turn is behind the others'.
      this.#waiting.delete(namespace);
      if (writes.length > 0) this.#waiting.set(namespace, writes);
      if (write !== undefined) void this.#work(namespace, write);
    }
  }

  async #work(namespace: string, write: () => Promise<void>): Promise<void> {
    this.#busy.add(namespace);
    const startMs = this.#clock.monotonicMs();
    await write();
    this.#busy.delete(namespace);
    this.#quick.delete(namespace);
    if (this.#clock.monotonicMs() - startMs < SLOW_MS) this.#quick.add(namespace);
    if (this.#quick.size > MAX_KNOWN) this.#quick.delete([...this.#quick][0] ?? "");
    this.#queued--;
    if (this.#queued === 0) { for (const resolve of this.#idle.splice(0)) resolve(); }
    this.#start();
  }

  get #othersBusy(): number {
    return [...this.#busy].filter((namespace) => !this.#quick.has(namespace)).length;
  }
}

/** As in client-go: room for the Events of some hundred files or Services that are handled at once. */
const MAX_QUEUED = 1000;
const FAIR_SHARE = 16;
/** Each has a connection. */
const MAX_AT_ONCE = 8;
const SLOW_MS = 2_000;
const MAX_KNOWN = 10_000;
