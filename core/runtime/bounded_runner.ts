// Runs one task often enough and not too often: many triggers become few runs.
//
// Guarantees:
//  1. A trigger after a quiet time of at least `minIntervalMs` starts a run at once.
//  2. Two runs never overlap, and the starts of two runs are at least `minIntervalMs` apart.
//  3. Every trigger is followed by a complete run that started after it, unless the signal is aborted.
//  4. A failed run is followed by another one after a delay that doubles from `retryMs` to `maxRetryMs`; a trigger does not
//     wait for that delay, only for `minIntervalMs`.
//  5. With `maxIntervalMs`, a run starts at the latest that long after the last one started.
import { isAbort } from "../shared/errors.ts";
import type { Clock } from "./clock.ts";

/** What {@linkcode startBoundedRunner} takes. Times are in milliseconds. */
export interface BoundedRunnerOptions {
  readonly run: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly minIntervalMs: number;
  /** Absent: no run without a trigger. */
  readonly maxIntervalMs?: number;
  /** @default {1000} */
  readonly retryMs?: number;
  /** @default {30000} */
  readonly maxRetryMs?: number;
  /** Told about each failed run. */
  readonly onFailure?: (error: unknown, failures: number) => void;
}

/** A task that can be asked to run. */
export interface BoundedRunner {
  /** Asks for a run; returns at once and never throws. */
  trigger(): void;
  /** Resolves when the signal has been aborted and no run is under way. Never rejects. */
  readonly done: Promise<void>;
}

/** Starts a runner; the first run needs a trigger (or `maxIntervalMs`). */
export function startBoundedRunner(options: BoundedRunnerOptions): BoundedRunner {
  return new TimedRunner(options);
}

class TimedRunner implements BoundedRunner {
  readonly done: Promise<void>;
  readonly #options: BoundedRunnerOptions;
  readonly #setDone: () => void;
  #isRunning = false;
  #isTriggered = false;
  #failures = 0;
  #startedMs: number | undefined;
  #endedMs = 0;
  #cancelTimer: (() => void) | undefined;

  constructor(options: BoundedRunnerOptions) {
    this.#options = options;
    const done = Promise.withResolvers<void>();
    this.done = done.promise;
    this.#setDone = done.resolve;
    this.#endedMs = options.clock.monotonicMs();
    if (options.signal.aborted) this.#stop();
    else options.signal.addEventListener("abort", () => this.#stop(), { once: true });
    this.#schedule();
  }

  trigger(): void {
    if (this.#options.signal.aborted) return;
    this.#isTriggered = true;
    this.#schedule();
  }

  #stop(): void {
    this.#cancelTimer?.();
    if (!this.#isRunning) this.#setDone();
  }

  #schedule(): void {
    const { clock, signal } = this.#options;
    if (this.#isRunning || signal.aborted) return;
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const dueMs = this.#dueMs();
    if (dueMs === undefined) return;
    const delayMs = dueMs - clock.monotonicMs();
    if (delayMs <= 0) void this.#run();
    else this.#cancelTimer = clock.setTimer(() => void this.#run(), delayMs);
  }

  /** When the next run starts; `undefined`: not before a trigger. */
  #dueMs(): number | undefined {
    const { minIntervalMs, maxIntervalMs, retryMs = 1000, maxRetryMs = 30_000 } = this.#options;
    const earliestMs = this.#startedMs === undefined ? 0 : this.#startedMs + minIntervalMs;
    const wishes: number[] = [];
    if (this.#isTriggered) wishes.push(earliestMs);
    if (this.#failures > 0) {
      wishes.push(this.#endedMs + Math.min(maxRetryMs, retryMs * 2 ** Math.min(this.#failures - 1, 30)));
    }
    if (maxIntervalMs !== undefined) wishes.push((this.#startedMs ?? this.#endedMs) + maxIntervalMs);
    return wishes.length === 0 ? undefined : Math.max(earliestMs, Math.min(...wishes));
  }

  async #run(): Promise<void> {
    const { run, signal, clock, onFailure } = this.#options;
    this.#isRunning = true;
    this.#isTriggered = false;
    this.#startedMs = clock.monotonicMs();
    try {
      await run(signal);
      this.#failures = 0;
    } catch (error) {
      if (!(isAbort(error) && signal.aborted)) {
        this.#failures++;
        onFailure?.(error, this.#failures);
      }
    }
    this.#isRunning = false;
    this.#endedMs = clock.monotonicMs();
    if (signal.aborted) this.#setDone();
    else this.#schedule();
  }
}
