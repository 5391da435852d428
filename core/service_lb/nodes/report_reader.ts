// When what a node says is read: at once, but not again and again, and more and more seldom while it takes back what it said. In-memory only, no I/O.
import type { Clock } from "../../runtime/clock.ts";
import { Pace } from "../../runtime/pace.ts";
import { createWorkQueue, type WorkQueue } from "../../runtime/work_queue.ts";

/** What {@linkcode ReportReader} takes. */
export interface ReportReaderOptions {
  readonly clock: Clock;
  /**
   * Reads; says whether the node has taken back what others may rely on, `undefined` if it is gone.
   *
   * @param hasChanged Its addresses or conditions are others since it was read
   */
  readonly read: (node: string, hasChanged: boolean) => boolean | undefined;
}

/** Reads the words of nodes at a pace that each of them has for itself. */
export class ReportReader {
  readonly #options: ReportReaderOptions;
  readonly #queue: WorkQueue;
  readonly #paces = new Map<string, Pace>();
  readonly #changed = new Set<string>();
  /** How often a node has taken something back of late, and when that was reckoned. */
  readonly #waverings = new Map<string, { readonly count: number; readonly atMs: number }>();

  constructor(options: ReportReaderOptions) {
    this.#options = options;
    this.#queue = createWorkQueue({ clock: options.clock });
  }

  /** The node may say something else, or its addresses or conditions have changed. */
  note(node: string, hasChanged = false): void {
    if (hasChanged) this.#changed.add(node);
    this.#queue.addAfter(node, this.#paceOf(node).delayMs(this.#now()));
  }

  /** Reads it now. */
  read(node: string): void {
    this.#paceOf(node).note(this.#now());
    const hasChanged = this.#changed.delete(node);
    const tookBack = this.#options.read(node, hasChanged);
    if (tookBack) this.#waverings.set(node, { count: this.#waveringsOf(node) + 1, atMs: this.#now() });
    if (tookBack !== undefined) return;
    this.#paces.delete(node);
    this.#waverings.delete(node);
  }

  /** Reads until the signal is aborted. Never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    await this.#queue.run({ signal, reconcile: (node) => Promise.resolve(this.read(node)) });
  }

  #paceOf(node: string): Pace {
    const pace = this.#paces.get(node) ?? new Pace({ inARow: READS_IN_A_ROW, intervalMs: () => this.#gapMs(node) });
    this.#paces.set(node, pace);
    return pace;
  }

  #gapMs(node: string): number {
    return Math.min(GAP_MS * 2 ** Math.max(0, this.#waveringsOf(node) - FREE_WAVERINGS), MAX_GAP_MS);
  }

  #waveringsOf(node: string): number {
    const { count, atMs } = this.#waverings.get(node) ?? { count: 0, atMs: 0 };
    return Math.max(0, count - (this.#now() - atMs) / FORGIVEN_AFTER_MS);
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }
}

/** What a node takes back and what it says next must not wait for each other. */
const READS_IN_A_ROW = 3;
/** An agent that goes on leaves more between two reports; whoever has stolen a node's credentials may not. */
const GAP_MS = 100;
/** More than an honest node reaches, whatever is done with it. */
const FREE_WAVERINGS = 60;
/** Each time that a node changes its mind is a write of every Service's status, which all nodes read: in the long run one in ten seconds. */
const FORGIVEN_AFTER_MS = 10_000;
const MAX_GAP_MS = 30_000;
