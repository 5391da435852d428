// When a Service's DaemonSet is made or changed where agents decide by themselves: after its status, after those of other such Services, and one by
// one. Its pods only keep ports from other pods, nobody waits for them, and making and starting them takes most of what a small cluster can do.
// In-memory only, no I/O.
import type { ServiceKey } from "../../service/keys.ts";

/** A Service whose DaemonSet is still to be written. */
interface Place {
  /** When it need not wait for others any longer; once it has a turn, when that is. */
  dueMs: number;
  hasTurn: boolean;
}

/** Whose turn it is. Times are in milliseconds of a clock that never jumps. */
export class LateReservations {
  readonly #onTurn: (key: ServiceKey) => void;
  readonly #places = new Map<ServiceKey, Place>();
  /** Those whose agents have not all said what they do. */
  readonly #unanswered = new Set<ServiceKey>();
  /** Those that wait for the others. */
  readonly #held = new Set<ServiceKey>();
  /** When the next turn may be. */
  #nextMs = -Infinity;

  /** @param onTurn Told that a Service need not wait for others any longer. */
  constructor(onTurn: (key: ServiceKey) => void) {
    this.#onTurn = onTurn;
  }

  /** Milliseconds after which to ask again for the Service's DaemonSet; 0: it is to be written now. */
  delayMs(key: ServiceKey, { isAnswered, nowMs }: { readonly isAnswered: boolean; readonly nowMs: number }): number {
    const place = this.#places.get(key) ?? { dueMs: nowMs + PATIENCE_MS, hasTurn: false };
    this.#places.set(key, place);
    if (isAnswered) this.#unanswered.delete(key);
    else this.#unanswered.add(key);
    if (!place.hasTurn && (this.#unanswered.size === 0 || nowMs >= place.dueMs)) {
      place.hasTurn = true;
      place.dueMs = Math.max(nowMs, this.#nextMs);
      this.#nextMs = place.dueMs + TURN_MS;
      this.#held.delete(key);
    }
    const delayMs = place.dueMs - nowMs;
    if (delayMs <= 0) this.leave(key);
    else if (isAnswered && !place.hasTurn) this.#held.add(key);
    return Math.max(0, delayMs);
  }

  /** The Service has its DaemonSet as it should be, or wants none any more. */
  leave(key: ServiceKey): void {
    this.#places.delete(key);
    this.#held.delete(key);
    this.#unanswered.delete(key);
    if (this.#unanswered.size > 0) return;
    const free = [...this.#held];
    this.#held.clear();
    for (const other of free) this.#onTurn(other);
  }
}

/** Longer than a burst of hundreds takes; an agent that has died must not leave ports unkept for long. */
const PATIENCE_MS = 5_000;
/** From one turn to the next: a Service that is made meanwhile has its status written between them. */
const TURN_MS = 100;
