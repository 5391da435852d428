// Backoff against another program that undoes what is written here, as both would go on without end: each write waits longer than the one
// before, and from the second change by others on it is reported. Pure.

/** What was written last, and how often somebody else has changed it since. */
export interface Contest {
  readonly wanted: string;
  readonly writtenMs: number;
  readonly count: number;
}

/** What to do about a difference between what is wanted and what is there. */
export interface Turn {
  /** Milliseconds until the write; 0 means now. */
  readonly delayMs: number;
  /** How often what is wanted was changed by others, this time included. */
  readonly count: number;
}

/**
 * Whose turn it is now that `wanted` is not what is there.
 *
 * @param last The last own write; `undefined` if there was none.
 */
export function contestedTurn(last: Contest | undefined, wanted: string, nowMs: number): Turn {
  if (last === undefined || last.wanted !== wanted) return { delayMs: 0, count: 0 };
  // Whoever leaves it alone for long is no opponent.
  const isOver = nowMs - last.writtenMs > MAX_PAUSE_MS * 2;
  const count = isOver ? 1 : last.count + 1;
  const pauseMs = Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (count - 1));
  return { delayMs: Math.max(0, last.writtenMs + pauseMs - nowMs), count };
}

/** What to remember after a write. One that leaves alone what was contested long ago ends the contest. */
export function contestAfterWrite(
  last: Contest | undefined,
  write: { readonly wanted: string; readonly count: number; readonly same: boolean },
  nowMs: number,
): Contest {
  const { wanted, count, same } = write;
  if (!same) return { wanted, writtenMs: nowMs, count };
  const isOver = last === undefined || last.wanted !== wanted || nowMs - last.writtenMs > MAX_PAUSE_MS * 2;
  return { wanted, writtenMs: nowMs, count: isOver ? 0 : last.count };
}

/** Milliseconds for which what was written last still counts as contested; `undefined` if it does not. */
export function contestedForMs(last: Contest | undefined, nowMs: number): number | undefined {
  if (last === undefined || last.count < CONTESTS_BEFORE_WARNING) return undefined;
  const leftMs = last.writtenMs + MAX_PAUSE_MS * 2 - nowMs;
  return leftMs > 0 ? leftMs : undefined;
}

/** From this many changes by others on they are reported. */
export const CONTESTS_BEFORE_WARNING = 2;

const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
