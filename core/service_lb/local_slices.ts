// EndpointSlices of the Services that need them (externalTrafficPolicy Local), and of no others. Adapter.
// The watch starts with the first such Service. Nobody waits for it here: a server that may not read slices goes on serving everything else.
import type { Surroundings } from "../kube/contract.ts";
import { type Reflector, startReflector } from "../kube/reflector.ts";
import { ENDPOINT_SLICES } from "../kube/resources.ts";
import type { EndpointSlice } from "../kube/types.ts";
import { WantedSlices } from "../kube/wanted_slices.ts";
import { K3slbError } from "../shared/errors.ts";
import type { ObjectChange } from "../kube/object_store.ts";
import { type ServiceKey, sliceServiceKey } from "../service/keys.ts";
import { trimEndpointSlice } from "../service/trim.ts";

/** What {@linkcode LocalSlices} takes. */
export interface LocalSlicesOptions extends Surroundings {
  readonly onChange: (change: ObjectChange<EndpointSlice>) => void;
  /** The slices of this Service, which was asked for too early, can be had now. */
  readonly onReady: (key: ServiceKey) => void;
}

/** The slices of chosen Services. */
export class LocalSlices {
  readonly #options: LocalSlicesOptions;
  readonly #keys = new Set<ServiceKey>();
  readonly #wanted: WantedSlices;
  #watch: { readonly reflector: Reflector<EndpointSlice>; readonly listing: Promise<void> } | undefined;

  constructor(options: LocalSlicesOptions) {
    this.#options = options;
    this.#wanted = new WantedSlices({
      ...options,
      merge: (slices) => this.#watch?.reflector.merge(slices),
      onListed: (keys) => keys.forEach((key) => options.onReady(key)),
    });
  }

  /** Resolves when nothing runs any more. */
  get done(): Promise<unknown> {
    return Promise.all([this.#watch?.reflector.done, this.#watch?.listing]);
  }

  /** Every slice that is known. */
  get all(): readonly EndpointSlice[] {
    return [...this.#watch?.reflector.objects.values() ?? []];
  }

  /** The Service's slices are no longer needed. Safe to call twice. */
  drop(key: ServiceKey): void {
    if (this.#keys.delete(key)) this.#wanted.replace(new Set(this.#keys));
  }

  /**
   * Whether the Service's slices are known; if not, `onReady` tells when to ask again. Cheap when they are known.
   *
   * @throws {K3slbError} code "endpoint-slices-unknown" if they could not be read so far
   */
  isKnown(key: ServiceKey): boolean {
    if (!this.#keys.has(key)) {
      this.#keys.add(key);
      // The first list brings what is wanted before it starts.
      this.#wanted.replace(new Set(this.#keys));
    }
    const { reflector } = this.#watch ??= this.#start();
    if (reflector.isSynced) return this.#wanted.isComplete(key);
    if (reflector.lastError === undefined) return false;
    throw new K3slbError(`Cannot read EndpointSlices: ${reflector.lastError.message}`, {
      code: "endpoint-slices-unknown",
      hint: "externalTrafficPolicy Local needs the right to list and watch endpointslices.discovery.k8s.io",
      retriable: true,
      cause: reflector.lastError,
    });
  }

  #start(): { readonly reflector: Reflector<EndpointSlice>; readonly listing: Promise<void> } {
    const reflector = startReflector({
      ...this.#options,
      type: ENDPOINT_SLICES,
      keep: (slice) => this.#wanted.keeps(sliceServiceKey(slice) ?? "") ? trimEndpointSlice(slice) : undefined,
    });
    const tell = (): void => this.#keys.forEach((key) => this.#options.onReady(key));
    // It ends without having been ready when the controller ends.
    reflector.synced.then(tell, () => {});
    return { reflector, listing: this.#wanted.run() };
  }
}
