// Services that this node served until now: their pod ended or went, or the node is not chosen for them any more. They are served on until
// another pod comes or the node is chosen again, or until the time is up and the server's status does not list this node either: a rollout,
// an eviction, a drain, a label that is moved take nothing from a client before the address that it uses is gone.
import type { Clock } from "../../../core/runtime/clock.ts";
import type { ServiceKey } from "../../../core/service/keys.ts";
import type { DepartedService } from "../plan/contenders.ts";

/** What {@linkcode DepartedServices} takes. */
export interface DepartedServicesOptions {
  readonly clock: Clock;
  /** Forgets everything when it is aborted. */
  readonly signal: AbortSignal;
  /** Whether the cluster still counts on this node for the Service; asked when its time is up, which then begins anew. */
  readonly isCountedOn: (departed: DepartedService) => boolean;
  /** Told when the time of a Service is up for good. */
  readonly onExpire: () => void;
}

/** The departed Services. */
export class DepartedServices {
  readonly #options: DepartedServicesOptions;
  readonly #entries = new Map<ServiceKey, { readonly departed: DepartedService; readonly cancel: () => void }>();

  constructor(options: DepartedServicesOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => [...this.#entries.keys()].forEach((key) => this.remove(key)), {
      once: true,
    });
  }

  /** The Services whose time is not up. */
  list(): readonly DepartedService[] {
    return [...this.#entries.values()].map(({ departed }) => departed);
  }

  /** The Service was served here until now. */
  add(departed: DepartedService): void {
    if (this.#options.signal.aborted) return;
    this.remove(departed.service);
    const cancel = this.#options.clock.setTimer(() => {
      if (this.#options.isCountedOn(departed)) return this.add(departed);
      this.remove(departed.service);
      this.#options.onExpire();
    }, LINGER_MS);
    this.#entries.set(departed.service, { departed, cancel });
  }

  /** The Service is served here in its own right again, or not to be served at all; where `which` is given, only such a one. */
  remove(service: ServiceKey, which?: Pick<DepartedService, "hadPod">): void {
    const entry = this.#entries.get(service);
    if (which !== undefined && entry?.departed.hadPod !== which.hadPod) return;
    entry?.cancel();
    this.#entries.delete(service);
  }
}

/** Well above the time in which a DaemonSet's next pod is bound. */
const LINGER_MS = 8000;
