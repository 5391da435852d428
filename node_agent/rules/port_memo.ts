// Remembers what was computed for a port, so that a pass over hundreds of Services costs what changed and not what there is.
import type { ForwardedPort } from "../dataplane_contract.ts";

/** Values by a port's content. What a whole pass did not ask for is forgotten. */
export class PortMemo<T> {
  #previous = new Map<string, T>();
  #current = new Map<string, T>();

  /** A new pass over all ports begins. */
  startPass(): void {
    this.#previous = this.#current;
    this.#current = new Map();
  }

  /** The value for `port`; `compute` is called when the port was not in this pass or the one before, with the same content. */
  get(port: ForwardedPort, compute: () => T): T {
    const key = JSON.stringify(port);
    const value = this.#current.get(key) ?? this.#previous.get(key) ?? compute();
    this.#current.set(key, value);
    return value;
  }
}
