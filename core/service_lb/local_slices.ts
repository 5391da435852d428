// EndpointSlices of the Services that need them (externalTrafficPolicy Local), and of no others. Adapter.
// The watch starts with the first such Service. A Service that becomes Local later gets its slices by one list: those that came
// before were dropped.
import type { KubeClient } from "../kube/contract.ts";
import { type Reflector, startReflector } from "../kube/reflector.ts";
import { ENDPOINT_SLICES } from "../kube/resources.ts";
import type { EndpointSlice } from "../kube/types.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../shared/log.ts";
import type { ObjectChange } from "./cluster_view.ts";
import { type ServiceKey, sliceServiceKey, splitKey } from "./names.ts";
import { trimEndpointSlice } from "./trim_objects.ts";

/** What {@linkcode LocalSlices} takes. */
export interface LocalSlicesOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly onChange: (change: ObjectChange<EndpointSlice>) => void;
}

/** The slices of chosen Services. */
export class LocalSlices {
  readonly #options: LocalSlicesOptions;
  readonly #wanted = new Set<ServiceKey>();
  readonly #listed = new Set<ServiceKey>();
  #reflector: Reflector<EndpointSlice> | undefined;

  constructor(options: LocalSlicesOptions) {
    this.#options = options;
  }

  /** Resolves when nothing runs any more. */
  get done(): Promise<void> {
    return this.#reflector?.done ?? Promise.resolve();
  }

  /** The Service's slices are no longer needed. Safe to call twice. */
  drop(key: ServiceKey): void {
    this.#wanted.delete(key);
    this.#listed.delete(key);
  }

  /** Resolves when the Service's slices are known; cheap when they are already. */
  async ensure(key: ServiceKey): Promise<void> {
    if (this.#listed.has(key)) return;
    this.#wanted.add(key);
    const first = this.#reflector === undefined;
    this.#reflector ??= this.#start();
    await this.#reflector.synced;
    if (!first) {
      const { namespace, name } = splitKey(key);
      const labelSelector = `kubernetes.io/service-name=${name}`;
      const list = await this.#options.client.list(ENDPOINT_SLICES, {
        namespace,
        labelSelector,
        signal: this.#options.signal,
      });
      this.#reflector.merge(list.items);
    }
    this.#listed.add(key);
  }

  #start(): Reflector<EndpointSlice> {
    return startReflector({
      ...this.#options,
      type: ENDPOINT_SLICES,
      keep: (slice) => {
        const key = sliceServiceKey(slice);
        return key !== undefined && this.#wanted.has(key) ? trimEndpointSlice(slice) : undefined;
      },
    });
  }
}
