// EndpointSlices of the Services that need them (externalTrafficPolicy Local), and of no others. Adapter.
// The watch starts with the first such Service. Each Service gets its slices by one list when it is first asked for: those that came
// before were dropped. Nobody waits for the watch here: a server that may not read slices goes on serving everything else.
import type { KubeClient } from "../kube/contract.ts";
import { type Reflector, startReflector } from "../kube/reflector.ts";
import { ENDPOINT_SLICES } from "../kube/resources.ts";
import type { EndpointSlice } from "../kube/types.ts";
import type { Clock } from "../runtime/clock.ts";
import { K3slbError } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import type { ObjectChange } from "./cluster_view.ts";
import { type ServiceKey, SLICE_SERVICE_LABEL, sliceServiceKey, splitKey } from "../service/keys.ts";
import { trimEndpointSlice } from "../service/trim.ts";

/** What {@linkcode LocalSlices} takes. */
export interface LocalSlicesOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly onChange: (change: ObjectChange<EndpointSlice>) => void;
  /** The slices of this Service, which was asked for too early, can be had now. */
  readonly onReady: (key: ServiceKey) => void;
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

  /**
   * Whether the Service's slices are known; if not, `onReady` tells when to ask again. Cheap when they are known.
   *
   * @throws {K3slbError} code "endpoint-slices-unknown" if they could not be read so far
   */
  async ensure(key: ServiceKey): Promise<boolean> {
    if (this.#listed.has(key)) return true;
    this.#wanted.add(key);
    const reflector = this.#reflector ??= this.#start();
    if (!reflector.isSynced) {
      if (reflector.lastError === undefined) return false;
      throw new K3slbError(`Cannot read EndpointSlices: ${reflector.lastError.message}`, {
        code: "endpoint-slices-unknown",
        hint: "externalTrafficPolicy Local needs the right to list and watch endpointslices.discovery.k8s.io",
        retriable: true,
        cause: reflector.lastError,
      });
    }
    const { client, signal } = this.#options;
    const { namespace, name } = splitKey(key);
    const labelSelector = `${SLICE_SERVICE_LABEL}=${name}`;
    const list = await client.list(ENDPOINT_SLICES, { namespace, labelSelector, signal });
    reflector.merge(list.items);
    this.#listed.add(key);
    return true;
  }

  #start(): Reflector<EndpointSlice> {
    const reflector = startReflector({
      ...this.#options,
      type: ENDPOINT_SLICES,
      keep: (slice) => {
        const key = sliceServiceKey(slice);
        return key !== undefined && this.#wanted.has(key) ? trimEndpointSlice(slice) : undefined;
      },
    });
    const tell = (): void => {
      for (const key of this.#wanted) this.#options.onReady(key);
    };
    // It ends without having been ready when the controller ends.
    reflector.synced.then(tell, () => {});
    return reflector;
  }
}
