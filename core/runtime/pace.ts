// How often something may be done: so many times in a row after a calm time, then once in each interval. In-memory only, no I/O.

/** What {@linkcode Pace} takes. */
export interface PaceOptions {
  /** How often without a pause after a calm time. */
  readonly inARow: number;
  /** Milliseconds from one time to the next afterwards, and in which one of the first ones is regained. */
  readonly intervalMs: number | (() => number);
}

/** Counts what was done. Times are in milliseconds of a clock that never jumps. */
export class Pace {
  readonly #inARow: number;
  readonly #intervalMs: () => number;
  /** When nothing counts any more: each time adds an interval. */
  #calmMs = -Infinity;

  constructor({ inARow, intervalMs }: PaceOptions) {
    this.#inARow = inARow;
    this.#intervalMs = typeof intervalMs === "number" ? () => intervalMs : intervalMs;
  }

  /** Milliseconds until it may be done again; 0 or less: now. */
  delayMs(nowMs: number): number {
    return this.#calmMs - (this.#inARow - 1) * this.#intervalMs() - nowMs;
  }

  /** It was done. */
  note(nowMs: number): void {
    this.#calmMs = Math.max(this.#calmMs, nowMs) + this.#intervalMs();
  }
}
