// When a Service's DaemonSet is made or changed where agents decide by themselves: after its status, and after those of other such Services. Its pods
// only keep ports from other pods, nobody waits for them, and making and starting them takes most of what a small cluster can do. In-memory only, no I/O.
import type { ServiceKey } from "../../service/keys.ts";

/** Whose turn it is. Times are in milliseconds of a clock that never jumps. */
export class LateReservations {
  readonly #onTurn: (key: ServiceKey) => void;
  /** Services whose DaemonSet is still to be written, and since when they are known. */
  readonly #sinceMs = new Map<ServiceKey, number>();
  /** Those of them whose agents have not all said what they do. */
  readonly #unanswered = new Set<ServiceKey>();
  /** Those that wait for the others. */
  readonly #held = new Set<ServiceKey>();

  /** @param onTurn Told that a Service need not wait for others any longer. */
  constructor(onTurn: (key: ServiceKey) => void) {
    this.#onTurn = onTurn;
  }

  /** Milliseconds that the Service's DaemonSet is still to wait at most; 0: it is to be written now. */
  delayMs(key: ServiceKey, { isAnswered, nowMs }: { readonly isAnswered: boolean; readonly nowMs: number }): number {
    const sinceMs = this.#sinceMs.get(key) ?? nowMs;
    this.#sinceMs.set(key, sinceMs);
    if (isAnswered) this.#unanswered.delete(key);
    else this.#unanswered.add(key);
    const delayMs = this.#unanswered.size === 0 ? 0 : sinceMs + PATIENCE_MS - nowMs;
    if (delayMs <= 0) this.leave(key);
    else if (isAnswered) this.#held.add(key);
    return Math.max(0, delayMs);
  }

  /** The Service has its DaemonSet as it should be, or wants none any more. */
  leave(key: ServiceKey): void {
    this.#sinceMs.delete(key);
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
