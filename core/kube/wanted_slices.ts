// Which Services' EndpointSlices a program keeps: those of the Services that it needs them for. Where slices of a Service that becomes wanted
// were dropped when the watch brought them, they are listed once; all Services that wait for it in one request. Adapter.
import type { Surroundings } from "./contract.ts";
import { ENDPOINT_SLICES } from "./resources.ts";
import type { EndpointSlice } from "./types.ts";
import { SLICE_SERVICE_LABEL } from "../service/keys.ts";
import { createWorkQueue, type WorkQueue } from "../runtime/work_queue.ts";
import { errorMessage } from "../shared/errors.ts";

/** What {@linkcode WantedSlices} takes. */
export interface WantedSlicesOptions extends Surroundings {
  /** Takes slices of Services that have become wanted, before `onListed`. */
  readonly merge: (slices: readonly EndpointSlice[]) => void;
  /** Told of the Services whose slices are all known now. */
  readonly onListed: (services: readonly string[]) => void;
}

/** The wanted Services, by `NAMESPACE/NAME`, and which of them are still to be listed. */
export class WantedSlices {
  readonly #options: WantedSlicesOptions;
  readonly #queue: WorkQueue;
  #wanted: ReadonlySet<string> = new Set();
  /** Services of which slices were dropped since they were known whole; nobody tells when these go. */
  readonly #dropped = new Set<string>();
  /** There were more of them than are remembered. */
  #hasOthers = false;
  /** Services to be listed -> in which turn they became wanted: a list that was under way by then does not count. */
  readonly #pending = new Map<string, number>();
  #turn = 0;

  constructor(options: WantedSlicesOptions) {
    this.#options = options;
    this.#queue = createWorkQueue({ clock: options.clock });
  }

  /** Whether a slice of this Service, which the watch has brought, is to be kept; remembered if not. */
  keeps(service: string): boolean {
    if (this.#wanted.has(service)) return true;
    if (this.#dropped.size < MAX_DROPPED) this.#dropped.add(service);
    else if (!this.#dropped.has(service)) this.#hasOthers = true;
    return false;
  }

  /** Whether the Service is a wanted one. */
  wants(service: string): boolean {
    return this.#wanted.has(service);
  }

  /** Whether all slices of this Service are known. */
  isComplete(service: string): boolean {
    return !this.#pending.has(service);
  }

  /** Replaces the wanted Services. */
  replace(wanted: ReadonlySet<string>): void {
    this.#turn++;
    for (const key of this.#pending.keys()) if (!wanted.has(key)) this.#pending.delete(key);
    for (const key of wanted) {
      if (!this.#wanted.has(key) && (this.#hasOthers || this.#dropped.has(key))) this.#pending.set(key, this.#turn);
    }
    this.#wanted = wanted;
    if (this.#pending.size > 0) this.#queue.add(LIST);
  }

  /** Lists until the signal is aborted. Never rejects. */
  run(): Promise<void> {
    const { signal, logger } = this.#options;
    return this.#queue.run({
      signal,
      reconcile: () => this.#list(),
      onFailure: (_key, error) => {
        const services = [...this.#pending.keys()].join(" ");
        logger.warn("Cannot list the endpoints of Services", { services, error: errorMessage(error) });
      },
    });
  }

  async #list(): Promise<void> {
    const { client, signal, merge, onListed } = this.#options;
    const batch = [...this.#pending].slice(0, MAX_BATCH);
    if (batch.length === 0) return;
    const namespaces = new Set(batch.map(([key]) => key.slice(0, key.indexOf("/"))));
    const names = new Set(batch.map(([key]) => key.slice(key.indexOf("/") + 1)));
    const [namespace] = namespaces;
    const list = await client.list(ENDPOINT_SLICES, {
      ...(namespaces.size === 1 && namespace !== undefined ? { namespace } : {}),
      labelSelector: `${SLICE_SERVICE_LABEL} in (${[...names].join(",")})`,
      signal,
    });
    merge(list.items);
    for (const [key, turn] of batch) {
      if (this.#pending.get(key) !== turn) continue;
      this.#pending.delete(key);
      this.#dropped.delete(key);
    }
    if (this.#pending.size > 0) this.#queue.add(LIST);
    onListed(batch.map(([key]) => key));
  }
}

const LIST = "list";
/** More than most clusters have. Beyond, a Service that becomes wanted costs a list, whether it had slices or not. */
const MAX_DROPPED = 10_000;
/** Names of 63 characters each fit into a URL that every proxy takes. */
const MAX_BATCH = 100;
