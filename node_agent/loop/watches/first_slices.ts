// New Services whose first EndpointSlice has not come yet. The cluster's own controller makes one for each Service that chooses its pods by labels,
// with or without endpoints: until then it is not known where the Service leads, and whoever is told its address would be refused.
import type { ObjectChange } from "../../../core/kube/object_store.ts";
import type { EndpointSlice, Service } from "../../../core/kube/types.ts";
import type { Clock } from "../../../core/runtime/clock.ts";
import { objectKey, type ServiceKey, sliceServiceKey } from "../../../core/service/keys.ts";
import { readService } from "../../../core/service/reading.ts";

/** What {@linkcode FirstSlices} takes. */
export interface FirstSlicesOptions {
  readonly clock: Clock;
  /** Forgets everything when it is aborted. */
  readonly signal: AbortSignal;
  /** Told that a Service has waited long enough. */
  readonly onExpire: () => void;
}

/** Which Services wait for their first slice. */
export class FirstSlices {
  readonly #options: FirstSlicesOptions;
  /** By Service how many slices are known. */
  readonly #counts = new Map<ServiceKey, number>();
  /** By Service that waits: ends the wait. */
  readonly #waiting = new Map<ServiceKey, () => void>();

  constructor(options: FirstSlicesOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => [...this.#waiting.keys()].forEach((key) => this.#end(key)), {
      once: true,
    });
  }

  /** Whether the Service is to be judged later. */
  isAwaited(service: ServiceKey): boolean {
    return this.#waiting.has(service);
  }

  /** The Service concerns this node from now on. */
  noteService(service: Service): void {
    const { clock, signal, onExpire } = this.#options;
    const key = objectKey(service);
    // Somebody else writes the slices of a Service without a selector, or nobody.
    if (signal.aborted || this.#counts.has(key) || readService(service).selector === undefined) return;
    this.#end(key);
    const cancel = clock.setTimer(() => {
      this.#end(key);
      onExpire();
    }, PATIENCE_MS);
    this.#waiting.set(key, cancel);
  }

  noteSlice({ before, after }: ObjectChange<EndpointSlice>): void {
    if (before !== undefined && after === undefined) this.#count(sliceServiceKey(before), -1);
    if (before === undefined && after !== undefined) this.#count(sliceServiceKey(after), 1);
  }

  #count(key: ServiceKey | undefined, change: number): void {
    if (key === undefined) return;
    const count = (this.#counts.get(key) ?? 0) + change;
    if (count <= 0) {
      this.#counts.delete(key);
      return;
    }
    this.#counts.set(key, count);
    this.#end(key);
  }

  #end(key: ServiceKey): void {
    this.#waiting.get(key)?.();
    this.#waiting.delete(key);
  }
}

/** A controller that is busy takes a second; one that is away must not keep anybody from hearing that there are no endpoints. */
const PATIENCE_MS = 3000;
