// Pods of load balancers that ended or went. Their Services are served on until another pod of them comes, or until the time is up and
// the server's status does not list this node either: a rollout, an eviction or a drain takes the node's pod away for a while, and
// refuses no connection.
import type { Pod } from "../../core/kube/types.ts";
import type { Clock } from "../../core/runtime/clock.ts";
import { servedServiceKey } from "../../core/service/keys.ts";

/** What {@linkcode DepartedPods} takes. */
export interface DepartedPodsOptions {
  readonly clock: Clock;
  /** Forgets everything when it is aborted. */
  readonly signal: AbortSignal;
  /** Whether the cluster still counts on this node for the pod's Service; asked when the time of a pod is up, which then begins anew. */
  readonly isCountedOn: (pod: Pod) => boolean;
  /** Told when the time of a pod is up for good. */
  readonly onExpire: () => void;
}

/** The departed pods, one for each Service. */
export class DepartedPods {
  readonly #options: DepartedPodsOptions;
  readonly #entries = new Map<string, { readonly pod: Pod; readonly cancel: () => void }>();

  constructor(options: DepartedPodsOptions) {
    this.#options = options;
    options.signal.addEventListener("abort", () => [...this.#entries.keys()].forEach((key) => this.#remove(key)), {
      once: true,
    });
  }

  /** The pods whose time is not up. */
  list(): readonly Pod[] {
    return [...this.#entries.values()].map(({ pod }) => pod);
  }

  /** `pod` held its ports until now. */
  add(pod: Pod): void {
    const key = servedServiceKey(pod);
    if (key === undefined || this.#options.signal.aborted) return;
    this.#remove(key);
    const cancel = this.#options.clock.setTimer(() => {
      if (this.#options.isCountedOn(pod)) return this.add(pod);
      this.#remove(key);
      this.#options.onExpire();
    }, LINGER_MS);
    this.#entries.set(key, { pod, cancel });
  }

  /** `pod` is here: its Service needs no departed one. */
  replaceBy(pod: Pod): void {
    this.#remove(servedServiceKey(pod) ?? "");
  }

  #remove(key: string): void {
    this.#entries.get(key)?.cancel();
    this.#entries.delete(key);
  }
}

/** Well above the time in which a DaemonSet's next pod is bound. */
const LINGER_MS = 8000;
