// Which nodes' agents have not been heard for too long. In-memory only, no I/O.
// Counted from when this program saw the heartbeat change, not from the time inside it: nodes' clocks differ.
import type { Node } from "../../kube/types.ts";
import type { ObjectChange } from "../../kube/object_store.ts";
import { heartbeatOf } from "../../service/node_report.ts";

/** What the count goes by, in milliseconds. */
export interface SilenceTimes {
  /** Time that never jumps. */
  readonly monotonicMs: number;
  /** Wall time. */
  readonly wallMs: number;
}

/** Watches heartbeats. */
export class AgentSilence {
  /** Node name to when its heartbeat last changed. */
  readonly #heardAtMs = new Map<string, number>();
  #silent: ReadonlySet<string> = new Set();

  /** Nodes that were silent at the last {@linkcode check}. */
  get nodes(): ReadonlySet<string> {
    return this.#silent;
  }

  /** Takes notice of a changed Node. Returns whether a silent agent has come back. */
  note(name: string, change: ObjectChange<Node>, times: SilenceTimes): boolean {
    const heartbeat = heartbeatOf(change.after)?.lastHeartbeatTime;
    if (heartbeat === undefined) {
      this.#heardAtMs.delete(name);
      return this.#drop(name);
    }
    const isNew = heartbeatOf(change.before)?.lastHeartbeatTime !== heartbeat;
    if (!isNew) return false;
    // A heartbeat found at the start may be old; only when it is so by far, as clocks may differ by minutes.
    const ageMs = change.before === undefined ? times.wallMs - Date.parse(heartbeat) : 0;
    const isStale = ageMs > CLEARLY_STALE_MS;
    this.#heardAtMs.set(name, isStale ? times.monotonicMs - SILENCE_MS : times.monotonicMs);
    return !isStale && this.#drop(name);
  }

  /**
   * Nodes whose agent has fallen silent since the last check.
   *
   * @param options.watchLost No heartbeat could be heard lately, as the watch was away: the count starts over. Else all would be silent when
   * the API server comes back, and the first agent to write would take the addresses from the others.
   */
  check(times: SilenceTimes, options: { readonly watchLost: boolean } = { watchLost: false }): readonly string[] {
    if (options.watchLost) {
      for (const name of this.#heardAtMs.keys()) {
        if (!this.#silent.has(name)) this.#heardAtMs.set(name, times.monotonicMs);
      }
      return [];
    }
    const silent = new Set<string>();
    for (const [name, heardAtMs] of this.#heardAtMs) if (times.monotonicMs - heardAtMs >= SILENCE_MS) silent.add(name);
    const fresh = [...silent].filter((name) => !this.#silent.has(name));
    this.#silent = silent;
    return fresh;
  }

  #drop(name: string): boolean {
    if (!this.#silent.has(name)) return false;
    this.#silent = new Set([...this.#silent].filter((other) => other !== name));
    return true;
  }
}

const SILENCE_MS = 180_000;
const CLEARLY_STALE_MS = 600_000;
