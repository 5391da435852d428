// How long the sockets of the host have listened. A process of the node has its port before any Service, but a socket that is there for a
// moment is none: name lookups and other clients bind UDP ports from a range in which Services have ports too.
import type { ListeningSocket } from "../../host/listening_sockets.ts";
import type { SeenListener } from "../plan/service_decision.ts";

/** Remembers since when sockets have listened, for as long as they are seen. */
export class ListenerHistory {
  #since: ReadonlyMap<string, number> = new Map();

  /** `listeners`, with those marked that were seen long enough before `nowMs` (monotonic). */
  mark(listeners: readonly ListeningSocket[], nowMs: number): readonly SeenListener[] {
    const since = new Map(listeners.map((one) => {
      const key = `${one.protocol} ${one.ip} ${one.port}`;
      return [key, this.#since.get(key) ?? nowMs];
    }));
    this.#since = since;
    return listeners.map((one) => {
      const seenMs = since.get(`${one.protocol} ${one.ip} ${one.port}`) ?? nowMs;
      return nowMs - seenMs >= SETTLED_MS ? { ...one, settled: true } : one;
    });
  }
}

/** Below the time between two readings, above that of a name lookup. */
const SETTLED_MS = 8000;
