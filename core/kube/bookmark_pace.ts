// How long a watch may be silent before it counts as dead. Pure.
// A server with a watch cache sends a bookmark about every minute: when it has shown that, silence says much more than
// without bookmarks, where only the end that was asked for is sure to come.

/** Learns from the bookmarks of one watch. */
export class BookmarkPace {
  readonly #fullMs: number;
  #lastMs: number | undefined;
  #regularGaps = 0;

  /** @param fullMs Time in milliseconds that a watch without bookmarks may be silent. */
  constructor(fullMs: number) {
    this.#fullMs = fullMs;
  }

  /** A bookmark came at `nowMs` of a monotonic clock. */
  note(nowMs: number): void {
    const gapMs = this.#lastMs === undefined ? Number.POSITIVE_INFINITY : nowMs - this.#lastMs;
    // Two in a row right after each other, as at the end of a list, show no rhythm.
    if (gapMs >= MIN_REGULAR_GAP_MS) this.#regularGaps = gapMs <= MAX_REGULAR_GAP_MS ? this.#regularGaps + 1 : 0;
    this.#lastMs = nowMs;
  }

  /** Time in milliseconds that the watch may be silent now. */
  get silenceMs(): number {
    return this.#regularGaps > 0 ? Math.min(this.#fullMs, RHYTHMIC_SILENCE_MS) : this.#fullMs;
  }
}

const MIN_REGULAR_GAP_MS = 20_000;
const MAX_REGULAR_GAP_MS = 90_000;
const RHYTHMIC_SILENCE_MS = 200_000;
