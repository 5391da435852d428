// When a status that differs is to be written: at once if someone would miss it, a little later if more is about to change. Pure.
// The aim: one write per Service while its nodes come up one after the other, and none for a state that ends by itself.

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
  /** When a state that may end by itself is told all the same; `undefined` if nothing is expected to change. */
  readonly patienceEndMs: number | undefined;
  /** Since when something is expected to change by itself; `undefined` if nothing is. */
  readonly waitingSinceMs: number | undefined;
  /** Since when an address is wanted that is not in the status. */
  readonly gainSinceMs: number | undefined;
  readonly lastWriteMs: number | undefined;
}

/** The shortest of `delays`; `undefined` if there is none. */
export function earliest(...delays: readonly (number | undefined)[]): number | undefined {
  const known = delays.filter((delay) => delay !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/** Milliseconds until the write; 0 or less means now. */
export function statusWriteDelayMs(facts: StatusTimingFacts): number {
  const sinceWrite = (gapMs: number): number =>
    facts.lastWriteMs === undefined ? 0 : facts.lastWriteMs + gapMs - facts.nowMs;
  if (facts.lost) return 0;
  if (facts.gained) {
    if (facts.complete) return 0;
    if (!facts.hadAddresses) return (facts.gainSinceMs ?? facts.nowMs) + firstWindowMs(facts) - facts.nowMs;
    return sinceWrite(GROWTH_GAP_MS);
  }
  if (facts.complete) return facts.conditionFlips ? 0 : sinceWrite(MIN_WRITE_GAP_MS);
  const patienceMs = (facts.patienceEndMs ?? facts.nowMs) - facts.nowMs;
  return Math.max(patienceMs, sinceWrite(MIN_WRITE_GAP_MS));
}

/** What a Service waits for: the cluster's own controllers, which are slow in a burst, or the node. */
export type WaitsFor = "cluster" | "node";

/**
 * When a state that may end by itself is told all the same.
 *
 * @param options.sinceMs Since when the Service waits
 * @param options.progressMs When a node's state last changed
 */
export function patienceEndMs(
  waitsFor: WaitsFor,
  options: { readonly sinceMs: number; readonly progressMs: number },
): number {
  return Math.min(options.progressMs + PATIENCE_MS[waitsFor], options.sinceMs + MAX_PATIENCE_MS);
}

/** Others have as long again as the first node took: where all is slow, as in a burst, the nodes of a Service are far apart too. */
function firstWindowMs(facts: StatusTimingFacts): number {
  const waitedMs = (facts.gainSinceMs ?? facts.nowMs) - (facts.waitingSinceMs ?? facts.nowMs);
  // Longer than any burst: an agent has come back.
  if (waitedMs > MAX_PATIENCE_MS) return FIRST_ADDRESS_WINDOW_MS;
  return Math.min(MAX_FIRST_ADDRESS_WINDOW_MS, Math.max(FIRST_ADDRESS_WINDOW_MS, waitedMs));
}

/** The first address waits this long for those of other nodes at least. */
const FIRST_ADDRESS_WINDOW_MS = 100;
const MAX_FIRST_ADDRESS_WINDOW_MS = 2_000;
/** Between writes that tell of something else than addresses. */
const MIN_WRITE_GAP_MS = 1_000;
/** Between writes that only add addresses while more are to come. */
const GROWTH_GAP_MS = 3_000;
const PATIENCE_MS: Readonly<Record<WaitsFor, number>> = { node: 10_000, cluster: 15_000 };
/** However much moves: a pod that fails and comes back without end is told of. */
const MAX_PATIENCE_MS = 30_000;
