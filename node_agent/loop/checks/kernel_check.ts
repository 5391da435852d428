// Checks from time to time that the kernel still has the rules, has what others changed repaired, and keeps what can't be repaired for reports.
import type { Clock } from "../../../core/runtime/clock.ts";
import type { Logger } from "../../../core/shared/log.ts";
import type { Dataplane } from "../../dataplane_contract.ts";

/** What {@linkcode KernelCheck} takes. */
export interface KernelCheckParts {
  readonly clock: Clock;
  readonly dataplane: Pick<Dataplane, "repair">;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** @default {5000} */
  readonly repairIntervalMs?: number;
  /** Something was repaired, or what can't be repaired has changed. */
  readonly onChange: () => void;
  readonly countRepairs: (count: number) => void;
}

/** The kernel's rules as of the last look. */
export class KernelCheck {
  /** Things that this program can't repair. */
  warnings: readonly string[] = [];
  /** Things of others that an operator should know of. */
  remarks: readonly string[] = [];
  readonly #parts: KernelCheckParts;

  constructor(parts: KernelCheckParts) {
    this.#parts = parts;
  }

  /** Milliseconds between two looks that cost little. */
  get intervalMs(): number {
    return this.#parts.repairIntervalMs ?? REPAIR_INTERVAL_MS;
  }

  /** Checks and repairs; returns the milliseconds until the next check. */
  async look(): Promise<number> {
    const { clock, dataplane, logger, signal, onChange, countRepairs } = this.#parts;
    const startMs = clock.monotonicMs();
    const { repairs, warnings, remarks = [] } = await dataplane.repair(signal);
    const tookMs = clock.monotonicMs() - startMs;
    countRepairs(repairs.length);
    for (const repair of repairs) logger.warn("Repaired the kernel's rules", { what: repair });
    // Gates may still say that a reconcile could not write what is there now.
    if (repairs.length > 0) onChange();
    if ([...warnings, ...remarks].join("\n") !== [...this.warnings, ...this.remarks].join("\n")) {
      for (const why of newOnes(this.warnings, warnings)) logger.warn("Forwarding may be blocked", { why });
      for (const what of newOnes(this.remarks, remarks)) logger.info("Rules of others stand beside ours", { what });
      this.warnings = warnings;
      this.remarks = remarks;
      onChange();
    }
    // Whoever took rules away may do so again in a moment, and writing them anew says nothing of what a check costs.
    if (repairs.length > 0) return this.intervalMs;
    return Math.max(this.intervalMs, Math.min(tookMs * REPAIR_SHARE, MAX_REPAIR_INTERVAL_MS));
  }
}

const REPAIR_INTERVAL_MS = 5000;
/** On a slow or large node the check takes long: it then comes less often, so that it takes no more than a fiftieth of the time. */
const REPAIR_SHARE = 50;
const MAX_REPAIR_INTERVAL_MS = 15_000;

function newOnes(before: readonly string[], after: readonly string[]): readonly string[] {
  return after.filter((text) => !before.includes(text));
}
