// A queue of keys for level-based controllers: what is to be reconciled, not what happened.
// A key is handled by one worker at a time; added while it is handled, it is handled once more afterwards.
// Groups of keys (namespaces) take turns. Work that hangs takes no worker from others: past the patience its worker's place is free again.
// Groups that were quick so far, those of which nothing is known, and those that hang have places of their own: however many hang, who was
// quick before does not wait for them.
import { isAbort, K3slbError } from "../shared/errors.ts";
import type { Clock } from "./clock.ts";
import type { QueueObserver } from "./queue_metrics.ts";
import { GroupStanding, type Standing } from "./group_standing.ts";
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
  /** Handles one key; the signal ends it when the queue is stopped, or when it hangs and others need its connection. */
  readonly reconcile: Reconcile;
  readonly signal: AbortSignal;
  /**
   * Keys that are handled at a time; with a patience as many of groups that were quick, of new ones, and of those that hang.
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
  readonly #lanes: Readonly<Record<Standing, Lane>>;
  readonly #standing: GroupStanding;
  readonly #running = new Map<string, Work>();
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #delayed = new Map<string, { readonly dueMs: number; readonly cancel: () => void }>();
  #start: () => void = () => {};
  #isStopped = false;

  constructor(options: WorkQueueOptions) {
    this.#clock = options.clock;
    this.#firstBackoffMs = options.firstBackoffMs ?? 500;
    this.#maxBackoffMs = options.maxBackoffMs ?? 60_000;
    this.#observer = options.observer;
    this.#groupOf = options.groupOf ?? ((key) => key);
    this.#standing = new GroupStanding(options.clock);
    const lane = (): Lane => ({ waiting: new Turns(this.#groupOf), places: 0, left: new Set() });
    this.#lanes = { quick: lane(), fresh: lane(), slow: lane() };
    this.#observer?.started(() => this.length);
  }

  get length(): number {
    return Object.values(this.#lanes).reduce((sum, { waiting }) => sum + waiting.size, 0);
  }

  add(key: string): void {
    if (this.#isStopped) return;
    this.#dropTimer(key);
    this.#observer?.added();
    if (this.#running.has(key)) {
      this.#again.add(key);
      return;
    }
    const own = this.#lanes[this.#standing.of(this.#groupOf(key))];
    // It may wait where its group was before.
    for (const lane of Object.values(this.#lanes)) if (lane !== own) lane.waiting.delete(key);
    own.waiting.add(key);
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
    const lanes = Object.values(this.#lanes);
    for (const lane of lanes) lane.places = workers;
    const stopped = Promise.withResolvers<void>();
    const stop = (): void => {
      this.#isStopped = true;
      for (const { cancel } of this.#delayed.values()) cancel();
      this.#delayed.clear();
      for (const { waiting } of lanes) waiting.clear();
      for (const { ending } of this.#running.values()) ending.abort(signal.reason);
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
          const work = this.#work(key, lane, options);
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

  async #work(key: string, lane: Lane, options: RunOptions): Promise<void> {
    const work: Work = { ending: new AbortController(), isSlow: false };
    this.#running.set(key, work);
    const cancelTimers = this.#watch(key, { work, lane, patienceMs: options.patienceMs });
    // Whoever adds a key goes on first.
    await Promise.resolve();
    // What was added up to here is handled now.
    this.#again.delete(key);
    if (!this.#isStopped) await this.#handle(key, work, options);
    cancelTimers();
    this.#running.delete(key);
    if (!work.isSlow && options.patienceMs !== undefined) this.#standing.noteQuick(this.#groupOf(key), key);
    // Whoever has left, or was given up after that, has no place to give back.
    if (!lane.left.delete(work) && !work.ending.signal.aborted) lane.places++;
    if (this.#again.delete(key)) this.add(key);
    this.#start();
  }

  /** Gives a place to others when its work takes long: past the patience, or earlier while there are groups that hang. */
  #watch(
    key: string,
    { work, lane, patienceMs }: { readonly work: Work; readonly lane: Lane; readonly patienceMs: number | undefined },
  ): () => void {
    if (patienceMs === undefined) return () => {};
    const leave = (): void => {
      lane.left.add(work);
      lane.places++;
      this.#start();
    };
    const cancelEarly = this.#standing.hasSlow
      ? this.#clock.setTimer(() => {
        if (lane.left.size < MAX_LEFT) leave();
      }, patienceMs * EARLY_SHARE)
      : () => {};
    const cancel = this.#clock.setTimer(() => {
      work.isSlow = true;
      this.#noteSlow(key);
      if (lane.left.has(work)) return;
      // Each holds a connection, of which there are not many: the one that has had the most time makes room.
      const [oldest] = lane.left;
      if (lane.left.size >= MAX_LEFT && oldest?.isSlow) {
        lane.left.delete(oldest);
        oldest.ending.abort(givenUp(patienceMs));
      }
      leave();
    }, patienceMs);
    return () => {
      cancelEarly();
      cancel();
    };
  }

  /** What waits of its group is likely to be as slow. */
  #noteSlow(key: string): void {
    const group = this.#groupOf(key);
    const { quick, fresh, slow } = this.#lanes;
    for (const { waiting } of [quick, fresh]) for (const other of waiting.takeGroup(group)) slow.waiting.add(other);
    this.#standing.noteSlow(group, key);
  }

  async #handle(key: string, { ending }: Work, options: RunOptions): Promise<void> {
    const startMs = this.#clock.monotonicMs();
    const told = (isFailed: boolean): void => this.#observer?.handled(this.#clock.monotonicMs() - startMs, isFailed);
    try {
      const delayMs = await options.reconcile(key, ending.signal);
      told(false);
      this.#failures.delete(key);
      if (typeof delayMs === "number") this.addAfter(key, delayMs);
    } catch (error) {
      if (isAbort(error) && this.#isStopped) return;
      told(true);
      this.#observer?.retried();
      this.#addFailed(key);
      const isGivenUp = isAbort(error) && ending.signal.aborted;
      options.onFailure?.(key, isGivenUp ? ending.signal.reason : error, this.failures(key));
    }
  }

  #dropTimer(key: string): void {
    this.#delayed.get(key)?.cancel();
    this.#delayed.delete(key);
  }
}

/** Places that only groups of one standing have. */
interface Lane {
  readonly waiting: Turns;
  /** Free ones. */
  places: number;
  /** What is handled still, and has given its place to others; the longest first. */
  readonly left: Set<Work>;
}

/** A key that is being handled. */
interface Work {
  readonly ending: AbortController;
  /** It has taken longer than the patience. */
  isSlow: boolean;
}

function givenUp(patienceMs: number): K3slbError {
  return new K3slbError(`It took longer than ${patienceMs / 1000} s, and too many others hang to wait any longer`, {
    code: "kube-timeout",
    hint: "Look for an admission webhook that does not answer",
    retriable: true,
  });
}

/** Work that has given its place to others and goes on, in each lane. */
const MAX_LEFT = 8;
const EARLY_SHARE = 1 / 8;
