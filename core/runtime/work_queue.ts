// A queue of keys for level-based controllers: what is to be reconciled, not what happened.
// A key is handled by one worker at a time; added while it is handled, it is handled once more afterwards.
// Groups of keys (namespaces) take turns. Work that hangs takes no worker from others: past the patience its worker's place is free again,
// and until the key is handled within the patience once, it and all of its group wait for places that only such groups have.
import { isAbort } from "../shared/errors.ts";
import type { Clock } from "./clock.ts";
import type { QueueObserver } from "./queue_metrics.ts";
import { Turns } from "./turns.ts";
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
  /** Told what happens, for metrics. */
  readonly observer?: QueueObserver | undefined;
  /**
   * Keys of one group stand behind each other; groups take turns.
   * @default {(key) => key}
   */
  readonly groupOf?: (key: string) => string;
}

/** What {@linkcode WorkQueue.run} takes. */
export interface RunOptions {
  /** Handles one key. */
  readonly reconcile: Reconcile;
  readonly signal: AbortSignal;
  /**
   * Keys that are handled at a time; as many again of those that took longer than the patience before.
   * @default {1}
   */
  readonly workers?: number;
  /**
   * Time in milliseconds after which a key that is being handled no longer counts as one of `workers`; absent: it always does.
   */
  readonly patienceMs?: number;
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
  readonly #observer: QueueObserver | undefined;
  readonly #groupOf: (key: string) => string;
  readonly #waiting: Turns;
  /** Waiting keys of groups that have slow ones. */
  readonly #slowWaiting: Turns;
  /** Keys that took longer than the patience when they were last handled, by group. */
  readonly #slow = new Map<string, Set<string>>();
  readonly #running = new Set<string>();
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #delayed = new Map<string, { readonly dueMs: number; readonly cancel: () => void }>();
  /** Keys that are handled still, and have given their places to others. */
  #left = 0;
  #start: () => void = () => {};
  #isStopped = false;

  constructor(options: WorkQueueOptions) {
    this.#clock = options.clock;
    this.#firstBackoffMs = options.firstBackoffMs ?? 500;
    this.#maxBackoffMs = options.maxBackoffMs ?? 60_000;
    this.#observer = options.observer;
    this.#groupOf = options.groupOf ?? ((key) => key);
    this.#waiting = new Turns(this.#groupOf);
    this.#slowWaiting = new Turns(this.#groupOf);
    this.#observer?.started(() => this.length);
  }

  get length(): number {
    return this.#waiting.size + this.#slowWaiting.size;
  }

  add(key: string): void {
    if (this.#isStopped) return;
    this.#dropTimer(key);
    this.#observer?.added();
    if (this.#running.has(key)) {
      this.#again.add(key);
      return;
    }
    (this.#slow.has(this.#groupOf(key)) ? this.#slowWaiting : this.#waiting).add(key);
    this.#start();
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

  #addFailed(key: string): void {
    const failures = this.failures(key) + 1;
    this.#failures.set(key, failures);
    const fullMs = Math.min(this.#maxBackoffMs, this.#firstBackoffMs * 2 ** Math.min(failures - 1, 30));
    // Half fixed, half random: many keys that failed together do not come back together.
    this.addAfter(key, fullMs * (0.5 + this.#clock.random() / 2));
  }

  failures(key: string): number {
    return this.#failures.get(key) ?? 0;
  }

  async run(options: RunOptions): Promise<void> {
    const { signal, workers = 1 } = options;
    const underWay = new Set<Promise<void>>();
    const mostLeft = MAX_LEFT_PER_WORKER * workers;
    const lanes = [
      { waiting: this.#waiting, places: workers, mostLeft },
      // Some are kept for groups of which nothing is known yet.
      { waiting: this.#slowWaiting, places: workers, mostLeft: mostLeft / 2 },
    ];
    const stopped = Promise.withResolvers<void>();
    const stop = (): void => {
      this.#isStopped = true;
      for (const { cancel } of this.#delayed.values()) cancel();
      this.#delayed.clear();
      for (const { waiting } of lanes) waiting.clear();
      stopped.resolve();
    };
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    this.#start = () => {
      for (const lane of lanes) {
        while (lane.places > 0) {
          const key = lane.waiting.take();
          if (key === undefined) break;
          lane.places--;
          const { mostLeft } = lane;
          const work = this.#work(key, { ...options, mostLeft, leave: () => void lane.places++ });
          underWay.add(work);
          void work.then(() => underWay.delete(work));
        }
      }
    };
    this.#start();
    await stopped.promise;
    await Promise.all(underWay);
    signal.removeEventListener("abort", stop);
  }

  /** @param options.leave Gives the place to another key; called once. */
  async #work(
    key: string,
    options: RunOptions & { readonly leave: () => void; readonly mostLeft: number },
  ): Promise<void> {
    const { patienceMs, leave, mostLeft } = options;
    let isSlow = false;
    let hasLeft = false;
    this.#running.add(key);
    const cancelPatience = patienceMs === undefined ? () => {} : this.#clock.setTimer(() => {
      isSlow = true;
      this.#noteSlow(key);
      // Each holds a connection, of which there are not many.
      if (this.#left >= mostLeft) return;
      hasLeft = true;
      this.#left++;
      leave();
      this.#start();
    }, patienceMs);
    // Whoever adds a key goes on first.
    await Promise.resolve();
    if (!this.#isStopped) await this.#handle(key, options);
    cancelPatience();
    this.#running.delete(key);
    if (!isSlow) this.#noteQuick(key);
    if (hasLeft) this.#left--;
    else leave();
    if (this.#again.delete(key)) this.add(key);
    this.#start();
  }

  /** What waits of its group is likely to be as slow. */
  #noteSlow(key: string): void {
    const group = this.#groupOf(key);
    this.#slow.set(group, (this.#slow.get(group) ?? new Set()).add(key));
    for (const other of this.#waiting.takeGroup(group)) this.#slowWaiting.add(other);
  }

  #noteQuick(key: string): void {
    const group = this.#groupOf(key);
    const slow = this.#slow.get(group);
    slow?.delete(key);
    if (slow?.size === 0) this.#slow.delete(group);
  }

  async #handle(key: string, options: RunOptions): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const told = (isFailed: boolean): void => this.#observer?.handled(this.#clock.monotonicMs() - startMs, isFailed);
    try {
      const delayMs = await options.reconcile(key, options.signal);
      told(false);
      this.#failures.delete(key);
      if (typeof delayMs === "number") this.addAfter(key, delayMs);
    } catch (error) {
      if (isAbort(error) && options.signal.aborted) return;
      told(true);
      this.#observer?.retried();
      this.#addFailed(key);
      options.onFailure?.(key, error, this.failures(key));
    }
  }

  #dropTimer(key: string): void {
    this.#delayed.get(key)?.cancel();
    this.#delayed.delete(key);
  }
}

const MAX_LEFT_PER_WORKER = 4;
