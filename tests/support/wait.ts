// Waiting in tests: for a condition, with a deadline, and a failure that says what was last seen. No test sleeps.
import process from "node:process";

const PATIENCE = process.env["K3SLB_WORLD"] === "nodes" ? 4 : 1;

/** How long and how often {@linkcode waitUntil} looks. */
export interface WaitOptions {
  /**
   * Time in milliseconds after which the wait fails; four times as long on real nodes, whose containers take their time.
   * @default {15000}
   */
  readonly deadlineMs?: number;
  /**
   * Time in milliseconds between two looks.
   * @default {25}
   */
  readonly intervalMs?: number;
  readonly signal?: AbortSignal;
  /** Said when the wait fails; usually logs. */
  readonly explain?: () => string | Promise<string>;
}

/** A wait that ended without its condition. */
export class WaitError extends Error {
  override readonly name = "WaitError";
}

/**
 * Calls `look` until it returns something other than `undefined` or `false`, and returns that.
 * An error thrown by `look` counts as "not yet" and is part of the failure's message.
 *
 * @throws {WaitError} when the deadline passes first
 */
export async function waitUntil<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  options: WaitOptions = {},
): Promise<T> {
  const deadlineMs = (options.deadlineMs ?? 15_000) * PATIENCE;
  const startMs = performance.now();
  let last: unknown = "nothing was seen";
  while (true) {
    options.signal?.throwIfAborted();
    try {
      const seen = await look();
      if (seen !== undefined && seen !== false) return seen;
      last = "the condition did not hold";
    } catch (error) {
      last = error;
    }
    if (performance.now() - startMs > deadlineMs) break;
    await new Promise((resolve) => setTimeout(resolve, options.intervalMs ?? 25));
  }
  const explanation = options.explain === undefined ? "" : `\n${await options.explain()}`;
  const words = last instanceof Error ? last.message : String(last);
  throw new WaitError(`Waited ${deadlineMs} ms for ${what}; last: ${words}${explanation}`, { cause: last });
}

/**
 * Looks at `look` for `durationMs` and fails as soon as it no longer holds: for things that must *stay* as they are.
 *
 * @throws {WaitError} when `look` returns `false` or throws
 */
export async function staysTrue(
  what: string,
  look: () => boolean | Promise<boolean>,
  durationMs: number,
  intervalMs = 50,
): Promise<void> {
  const startMs = performance.now();
  while (performance.now() - startMs < durationMs) {
    if (!(await look())) {
      throw new WaitError(`No longer true after ${Math.round(performance.now() - startMs)} ms: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
