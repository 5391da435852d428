// Pods of load balancers that went a moment ago. Their Services are served on until another pod of them comes or the time is up,
// so that a rollout of a DaemonSet, which takes each node's pod away for a moment, refuses no connection.
import type { Pod } from "../../core/kube/types.ts";
import type { Clock } from "../../core/runtime/clock.ts";
import { podServiceKey } from "./forwarding_plan.ts";

/** What {@linkcode DepartedPods} takes. */
export interface DepartedPodsOptions {
  readonly clock: Clock;
  /** Forgets everything when it is aborted. */
  readonly signal: AbortSignal;
  /** Told when the time of a pod is up. */
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
    const key = podServiceKey(pod);
    if (key === undefined || this.#options.signal.aborted) return;
    this.#remove(key);
    const cancel = this.#options.clock.setTimer(() => {
      this.#remove(key);
      this.#options.onExpire();
    }, LINGER_MS);
    this.#entries.set(key, { pod, cancel });
  }

  /** `pod` is here: its Service needs no departed one. */
  replaceBy(pod: Pod): void {
    this.#remove(podServiceKey(pod) ?? "");
  }

  #remove(key: string): void {
    this.#entries.get(key)?.cancel();
    this.#entries.delete(key);
  }
}

/** Well above the time in which a DaemonSet's next pod is bound. */
const LINGER_MS = 5000;
