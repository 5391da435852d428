// A queue of keys for level-based controllers: what is to be reconciled, not what happened.
// A key is handled by one worker at a time; added while it is handled, it is handled once more afterwards.
import { isAbort } from "../shared/errors.ts";
import type { Clock } from "./clock.ts";
import type { Reconcile } from "./reconcile.ts";

/** What {@linkcode createWorkQueue} takes. */
export interface WorkQueueOptions {
  readonly clock: Clock;
  /**
   * Delay in milliseconds before a key that failed once is handled again; doubles with each failure.
   * @default {500}
   */
  readonly firstBackoffMs?: number;
  /** @default {60000} */
  readonly maxBackoffMs?: number;
}

/** What {@linkcode WorkQueue.run} takes. */
export interface RunOptions {
  /** Handles one key. */
  readonly reconcile: Reconcile;
  readonly signal: AbortSignal;
  /** @default {1} */
  readonly workers?: number;
  /** Told about each failure before the key is put back. */
  readonly onFailure?: (key: string, error: unknown, failures: number) => void;
}

/** Keys that wait, each once. */
export interface WorkQueue {
  /** Keys that wait for a worker, delayed ones not counted. */
  readonly length: number;
  add(key: string): void;
  /** Adds the key after a delay; the earliest of several wins. */
  addAfter(key: string, delayMs: number): void;
  /** Adds the key after its backoff delay, which grows until {@linkcode forget}. */
  addFailed(key: string): void;
  /** Ends the key's backoff. */
  forget(key: string): void;
  /** How often the key failed since it last succeeded. */
  failures(key: string): number;
  /**
   * Handles keys until the signal is aborted; then waits for what is under way, drops all timers and resolves. Never rejects.
   * Can be run once.
   */
  run(options: RunOptions): Promise<void>;
}

/** An empty queue. */
export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  return new KeyQueue(options);
}

class KeyQueue implements WorkQueue {
  readonly #clock: Clock;
  readonly #firstBackoffMs: number;
  readonly #maxBackoffMs: number;
  /** Insertion order is the order of handling. */
  readonly #waiting = new Set<string>();
  readonly #running = new Set<string>();
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #delayed = new Map<string, { readonly dueMs: number; readonly cancel: () => void }>();
  readonly #idleWorkers: (() => void)[] = [];
  #isStopped = false;

  constructor(options: WorkQueueOptions) {
    this.#clock = options.clock;
    this.#firstBackoffMs = options.firstBackoffMs ?? 500;
    this.#maxBackoffMs = options.maxBackoffMs ?? 60_000;
  }

  get length(): number {
    return this.#waiting.size;
  }

  add(key: string): void {
    if (this.#isStopped) return;
    this.#dropTimer(key);
    if (this.#running.has(key)) {
      this.#again.add(key);
      return;
    }
    this.#waiting.add(key);
    this.#idleWorkers.shift()?.();
  }

  addAfter(key: string, delayMs: number): void {
    if (this.#isStopped) return;
    if (delayMs <= 0) return this.add(key);
    const dueMs = this.#clock.monotonicMs() + delayMs;
    const present = this.#delayed.get(key);
    if (present !== undefined && present.dueMs <= dueMs) return;
    this.#dropTimer(key);
    this.#delayed.set(key, { dueMs, cancel: this.#clock.setTimer(() => this.add(key), delayMs) });
  }

  addFailed(key: string): void {
    const failures = this.failures(key) + 1;
    this.#failures.set(key, failures);
    const fullMs = Math.min(this.#maxBackoffMs, this.#firstBackoffMs * 2 ** Math.min(failures - 1, 30));
    // Half fixed, half random: many keys that failed together do not come back together.
    this.addAfter(key, fullMs * (0.5 + this.#clock.random() / 2));
  }

  forget(key: string): void {
    this.#failures.delete(key);
  }

  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  async run(options: RunOptions): Promise<void> {
    const stop = (): void => {
      this.#isStopped = true;
      for (const { cancel } of this.#delayed.values()) cancel();
      this.#delayed.clear();
      this.#waiting.clear();
      for (const wake of this.#idleWorkers.splice(0)) wake();
    };
    if (options.signal.aborted) return stop();
    options.signal.addEventListener("abort", stop, { once: true });
    await Promise.all(Array.from({ length: options.workers ?? 1 }, () => this.#work(options)));
    options.signal.removeEventListener("abort", stop);
  }

  async #work(options: RunOptions): Promise<void> {
    while (!this.#isStopped) {
      const [key] = this.#waiting;
      if (key === undefined) {
        await new Promise<void>((resolve) => this.#idleWorkers.push(resolve));
        continue;
      }
      this.#waiting.delete(key);
      this.#running.add(key);
      await this.#handle(key, options);
      this.#running.delete(key);
      if (this.#again.delete(key)) this.add(key);
    }
  }

  async #handle(key: string, options: RunOptions): Promise<void> {
    try {
      const delayMs = await options.reconcile(key, options.signal);
      this.forget(key);
      if (typeof delayMs === "number") this.addAfter(key, delayMs);
    } catch (error) {
      if (isAbort(error) && options.signal.aborted) return;
      this.addFailed(key);
      options.onFailure?.(key, error, this.failures(key));
    }
  }

  #dropTimer(key: string): void {
    this.#delayed.get(key)?.cancel();
    this.#delayed.delete(key);
  }
}
