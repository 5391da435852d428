// What the loop has seen of its own host: who listens at the ports that matter, and since when, and the interfaces with their addresses.
import { type HostInterface, readHostInterfaces } from "../../../core/node_identity/host_facts.ts";
import type { Clock } from "../../../core/runtime/clock.ts";
import type { HostPorts, WantedPort } from "../../host/host_ports.ts";
import type { SeenListener } from "../plan/service_decision.ts";
import type { ListeningSocket } from "../../host/listening_sockets.ts";

/** What {@linkcode HostWatch} takes. */
export interface HostWatchParts {
  readonly hostPorts: HostPorts;
  readonly clock: Clock;
  /** @default {readHostInterfaces} */
  readonly interfaces?: () => readonly HostInterface[];
}

/** The host as of the last look. */
export class HostWatch {
  /** Sockets that listen at the ports looked at. */
  listeners: readonly SeenListener[] = [];
  interfaces: readonly HostInterface[] = [];
  readonly #parts: HostWatchParts;
  readonly #history = new ListenerHistory();
  #ports: readonly WantedPort[] = [];

  constructor(parts: HostWatchParts) {
    this.#parts = parts;
  }

  /** Looks at everything again. Returns whether anything is otherwise than before. */
  async look(): Promise<boolean> {
    const isChanged = await this.#readListeners(this.#ports);
    // Addresses of the host change without an event: what depends on them is read again with the listeners.
    return this.#readInterfaces() || isChanged;
  }

  /** Looks at the interfaces, and at the listeners of `ports` if those are others than the last time; of fewer ports nothing new can be seen. */
  async lookFor(ports: readonly WantedPort[]): Promise<void> {
    const names = new Set(ports.map(portName));
    const known = new Set(this.#ports.map(portName));
    if ([...names].some((name) => !known.has(name))) await this.#readListeners(ports);
    else {
      this.#ports = ports;
      this.listeners = this.listeners.filter((one) => names.has(portName(one)));
    }
    this.#readInterfaces();
  }

  #readInterfaces(): boolean {
    const before = JSON.stringify(this.interfaces);
    this.interfaces = (this.#parts.interfaces ?? readHostInterfaces)();
    return JSON.stringify(this.interfaces) !== before;
  }

  async #readListeners(ports: readonly WantedPort[]): Promise<boolean> {
    const before = JSON.stringify(this.listeners);
    this.#ports = ports;
    const { hostPorts, clock } = this.#parts;
    this.listeners = this.#history.mark(await hostPorts.listeners(ports), clock.monotonicMs());
    return JSON.stringify(this.listeners) !== before;
  }
}

function portName({ protocol, port }: WantedPort): string {
  return `${port}/${protocol}`;
}

/**
 * Remembers since when sockets have listened, for as long as they are seen. A process of the node has its port before any Service, but a socket that
 * is there for a moment is none: name lookups and other clients bind UDP ports from a range in which Services have ports too.
 */
class ListenerHistory {
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
