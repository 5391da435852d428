// A wait for changes in the folder that lets several changes at once count as one.
import type { Clock } from "../../runtime/clock.ts";

const COALESCE_MS = 20;

/** Told of changes, and waited on. */
export class ChangeSignal {
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #wake: () => void = () => {};

  constructor(options: { readonly clock: Clock; readonly signal: AbortSignal }) {
    this.#clock = options.clock;
    this.#signal = options.signal;
  }

  /** Something has changed; nothing happens if nobody waits. */
  wake(): void {
    this.#wake();
  }

  /** Resolves a moment after the next change, after `intervalMs`, or at the end. */
  next(intervalMs: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = (): void => {
        cancel();
        this.#wake = () => {};
        this.#signal.removeEventListener("abort", finish);
        resolve();
      };
      let cancel = this.#clock.setTimer(finish, intervalMs);
      this.#wake = () => {
        this.#wake = () => {};
        cancel();
        cancel = this.#clock.setTimer(finish, COALESCE_MS);
      };
      this.#signal.addEventListener("abort", finish, { once: true });
      if (this.#signal.aborted) finish();
    });
  }
}
