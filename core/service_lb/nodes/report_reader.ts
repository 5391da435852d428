// When what a node's agent says is read: at once, but not again and again. In-memory only, no I/O.
import type { Clock } from "../../runtime/clock.ts";
import { createWorkQueue, type WorkQueue } from "../../runtime/work_queue.ts";

/** Reads the reports of nodes at a pace that each of them has for itself. */
export class ReportReader {
  readonly #clock: Clock;
  readonly #read: (node: string) => void;
  readonly #queue: WorkQueue;
  readonly #readMs = new Map<string, number>();

  constructor({ clock, read }: { readonly clock: Clock; readonly read: (node: string) => void }) {
    this.#clock = clock;
    this.#read = read;
    this.#queue = createWorkQueue({ clock });
  }

  /** The node may say something else. */
  note(node: string): void {
    const readMs = this.#readMs.get(node) ?? -Infinity;
    this.#queue.addAfter(node, readMs + GAP_MS - this.#clock.monotonicMs());
  }

  /** Reads it now. */
  read(node: string): void {
    this.#readMs.set(node, this.#clock.monotonicMs());
    this.#read(node);
  }

  /** Reads until the signal is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#queue.run({ signal, reconcile: (node) => Promise.resolve(this.read(node)) });
  }
}

/** An agent leaves more between two reports; whoever has stolen a node's credentials may not. */
const GAP_MS = 100;
