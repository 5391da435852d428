// Time and randomness as a parameter, so that tests decide both.
import { abortError } from "../shared/errors.ts";

/** A source of time, delay and randomness. */
export interface Clock {
  /** Wall time in milliseconds since 1970. */
  now(): number;
  /** Time in milliseconds that never jumps; only differences mean something. */
  monotonicMs(): number;
  /**
   * Resolves when `delayMs` milliseconds are over, not before.
   * @throws {DOMException} "AbortError" as soon as `signal` is aborted
   */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
  /** Calls `callback` once, not before `delayMs` milliseconds are over; the returned function takes it back and is safe to call twice. */
  setTimer(callback: () => void, delayMs: number): () => void;
  /** A number in [0, 1). */
  random(): number;
}

/** Time (milliseconds since 1970) as objects carry it: RFC 3339 in whole seconds. */
export function apiTime(timeMs: number): string {
  return new Date(timeMs).toISOString().replace(/\.\d+Z$/, "Z");
}

/** The machine's own clock. Timers cut fractions off: whoever waits for a moment would wake up before it, and once more a millisecond later. */
export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (delayMs, signal) =>
    new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortError());
      const onAbort = (): void => {
        clearTimeout(timer);
        reject(abortError());
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      }, Math.ceil(delayMs));
      signal?.addEventListener("abort", onAbort, { once: true });
    }),
  setTimer: (callback, delayMs) => {
    const timer = setTimeout(callback, Math.ceil(delayMs));
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** Waits `delayMs` milliseconds, or until `signal` is aborted: for loops that ask the signal themselves. */
export async function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  try {
    await clock.sleep(delayMs, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/**
 * The next of the moments that are `periodMs` apart, by the monotonic clock. Whatever is done again and again is done at such moments, so that an
 * idle program wakes up once for all of it.
 */
export function nextTurn(nowMs: number, periodMs: number): number {
  return (Math.floor(nowMs / periodMs) + 1) * periodMs;
}

/** Calls `action` at each {@linkcode nextTurn} until the returned function is called. */
export function repeat(
  action: () => void,
  options: { readonly clock: Clock; readonly periodMs: number },
): () => void {
  const { clock, periodMs } = options;
  let cancel: () => void;
  const schedule = (): void => {
    const nowMs = clock.monotonicMs();
    cancel = clock.setTimer(() => {
      action();
      schedule();
    }, nextTurn(nowMs, periodMs) - nowMs);
  };
  schedule();
  return () => cancel();
}
