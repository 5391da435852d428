// A clock that stands still until the test moves it. Random numbers are always the same.
import { setImmediate } from "node:timers";
import type { Clock } from "../../core/runtime/clock.ts";

/** A clock under the test's control. */
export interface FakeClock extends Clock {
  /** Lets work that waits for promises go on, then moves time and calls every timer that falls due, in order. */
  advance(byMs: number): Promise<void>;
  /** Time that work takes: timers that fall due meanwhile are called later. */
  work(durationMs: number): void;
  /** Number of timers that wait. */
  readonly timers: number;
}

/** A clock that shows `startMs` (wall time in milliseconds since 1970). */
export function createFakeClock(startMs = Date.UTC(2026, 10, 23), random = 0.5): FakeClock {
  let elapsedMs = 0;
  const timers = new Set<{ readonly dueMs: number; readonly callback: () => void }>();
  const setTimer = (callback: () => void, delayMs: number): () => void => {
    const timer = { dueMs: elapsedMs + Math.max(0, delayMs), callback };
    timers.add(timer);
    return () => void timers.delete(timer);
  };
  const advance = async (byMs: number): Promise<void> => {
    const endMs = elapsedMs + byMs;
    for (;;) {
      await settle();
      const [next] = [...timers].filter((timer) => timer.dueMs <= endMs).sort((a, b) => a.dueMs - b.dueMs);
      if (next === undefined) break;
      elapsedMs = Math.max(elapsedMs, next.dueMs);
      timers.delete(next);
      next.callback();
    }
    elapsedMs = endMs;
    await settle();
  };
  return {
    now: () => startMs + elapsedMs,
    monotonicMs: () => elapsedMs,
    sleep: (delayMs, signal) =>
      new Promise((resolve, reject) => {
        const stop = (): void => {
          cancel();
          reject(new DOMException("The operation was aborted", "AbortError"));
        };
        const cancel = setTimer(() => {
          signal?.removeEventListener("abort", stop);
          resolve();
        }, delayMs);
        if (signal?.aborted) stop();
        else signal?.addEventListener("abort", stop, { once: true });
      }),
    setTimer,
    random: () => random,
    advance,
    work: (durationMs) => void (elapsedMs += durationMs),
    get timers() {
      return timers.size;
    },
  };
}

/** Lets everything run that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
}
