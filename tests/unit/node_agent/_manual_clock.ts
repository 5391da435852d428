// A clock that stands still until a test moves it.
import { setImmediate } from "node:timers";
import type { Clock } from "../../../core/runtime/clock.ts";

interface Timer {
  readonly dueMs: number;
  readonly callback: () => void;
}

/** A clock for tests; starts on 2026-11-23T00:00:00Z. */
export class ManualClock implements Clock {
  #elapsedMs = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return Date.UTC(2026, 10, 23) + this.#elapsedMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  random(): number {
    return 0;
  }

  setTimer(callback: () => void, delayMs: number): () => void {
    const timer = { dueMs: this.#elapsedMs + delayMs, callback };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (): void => {
        cancel();
        reject(new DOMException("The operation was aborted", "AbortError"));
      };
      const cancel = this.setTimer(() => {
        signal?.removeEventListener("abort", fail);
        resolve();
      }, delayMs);
      if (signal?.aborted) return fail();
      signal?.addEventListener("abort", fail, { once: true });
    });
  }

  /** Time that work takes: timers that were due meanwhile come later. */
  work(durationMs: number): void {
    this.#elapsedMs += durationMs;
  }

  /** Moves time on, timer by timer, and lets what each of them starts run. */
  async advance(durationMs: number): Promise<void> {
    const endMs = this.#elapsedMs + durationMs;
    await settle();
    while (true) {
      const [next] = [...this.#timers].filter((one) => one.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs);
      if (!next) break;
      this.#elapsedMs = Math.max(this.#elapsedMs, next.dueMs);
      this.#timers.delete(next);
      next.callback();
      await settle();
    }
    this.#elapsedMs = endMs;
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
