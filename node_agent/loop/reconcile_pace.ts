// When the agent may reconcile next: a while after the last time for those whose changes made that necessary, at once for others, so that a
// namespace that changes all the time keeps nobody else waiting. In-memory only, no I/O. Times are in milliseconds of a clock that never jumps.

/** When the rules are looked at. */
export class ReconcilePace {
  /** Namespaces whose changes have not been looked at yet; the empty name is the node itself. */
  #waiting = new Set<string>();
  /** Those that had the last reconcile. */
  #had: ReadonlySet<string> = new Set();
  #startMs = -Infinity;
  /** When whoever had the last one may have another. */
  #nextMs = -Infinity;
  /** The last one came before that time. Not so the next: a tenant may have many namespaces. */
  #wasEarly = false;

  /** Something of a namespace has changed. */
  note(namespace: string): void {
    this.#waiting.add(namespace);
  }

  /** When what has changed may be looked at. */
  get dueMs(): number {
    const isForOthers = [...this.#waiting].some((namespace) => !this.#had.has(namespace));
    return isForOthers && !this.#wasEarly ? this.#startMs + IDLE_INTERVAL_MS : this.#nextMs;
  }

  /** A reconcile begins, of all that has changed. */
  begin(nowMs: number): void {
    // Timers may be a little early.
    this.#wasEarly = nowMs < this.#nextMs - 1;
    this.#had = this.#waiting;
    this.#waiting = new Set();
    this.#startMs = nowMs;
    this.#nextMs = nowMs + INTERVAL_MS;
  }

  /** It ends. */
  end(nowMs: number, { isIdle }: { readonly isIdle: boolean }): void {
    const intervalMs = Math.max(isIdle ? IDLE_INTERVAL_MS : INTERVAL_MS, (nowMs - this.#startMs) * SHARE);
    this.#nextMs = this.#startMs + Math.min(intervalMs, MAX_INTERVAL_MS);
  }
}

/** From the beginning of one reconcile to the next; longer where they take long, so that those of one namespace take a third of the time at most. */
const INTERVAL_MS = 100;
/** The same after one that had nothing to write. */
const IDLE_INTERVAL_MS = 20;
const SHARE = 3;
const MAX_INTERVAL_MS = 1000;
