// When a status that differs is to be written: at once if someone would miss it, a little later if more is about to change. Pure.
// The aim: one write per Service while its nodes come up one after the other, and none for a state that passes by itself.

/** What the decision is made from. Times are in milliseconds of one clock that never jumps. */
export interface StatusTimingFacts {
  readonly nowMs: number;
  /** Addresses in the status and not wanted any more. */
  readonly lost: boolean;
  /** Addresses wanted and not in the status. */
  readonly gained: boolean;
  /** Whether the status has addresses now. */
  readonly hadAddresses: boolean;
  /** The condition's status or reason differ. */
  readonly conditionFlips: boolean;
  /** Nothing is expected to change by itself. */
  readonly complete: boolean;
  /** Since when something is expected to change by itself; `undefined` if nothing is. */
  readonly waitingSinceMs: number | undefined;
  /** Since when an address is wanted that is not in the status. */
  readonly gainSinceMs: number | undefined;
  readonly lastWriteMs: number | undefined;
}

/** Milliseconds until the write; 0 or less means now. */
export function statusWriteDelayMs(facts: StatusTimingFacts): number {
  const sinceWrite = (gapMs: number): number =>
    facts.lastWriteMs === undefined ? 0 : facts.lastWriteMs + gapMs - facts.nowMs;
  if (facts.lost) return 0;
  if (facts.gained) {
    if (facts.complete) return 0;
    if (!facts.hadAddresses) return (facts.gainSinceMs ?? facts.nowMs) + FIRST_ADDRESS_WINDOW_MS - facts.nowMs;
    return sinceWrite(MIN_WRITE_GAP_MS);
  }
  if (facts.complete) return facts.conditionFlips ? 0 : sinceWrite(MIN_WRITE_GAP_MS);
  const patienceMs = (facts.waitingSinceMs ?? facts.nowMs) + PATIENCE_MS - facts.nowMs;
  return Math.max(patienceMs, sinceWrite(MIN_WRITE_GAP_MS));
}

/** The first address waits this long for those of other nodes. */
const FIRST_ADDRESS_WINDOW_MS = 100;
/** Between writes that only add to what is there. */
const MIN_WRITE_GAP_MS = 1_000;
/** How long a state that may pass by itself is not told. */
export const PATIENCE_MS = 2_000;
