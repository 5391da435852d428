// Pods that asked for a port of this node when a Service had it already, as they may where nobody reserves ports for Services: each is told once.
import type { KubeClient } from "../../../core/kube/contract.ts";
import { createEventRecorder, type EventRecorder } from "../../../core/kube/events.ts";
import type { Clock } from "../../../core/runtime/clock.ts";
import { objectKey, splitKey } from "../../../core/service/keys.ts";
import type { Logger } from "../../../core/shared/log.ts";
import type { ServiceVerdict } from "../plan/forwarding_plan.ts";

/** What {@linkcode LatePods} takes. */
export interface LatePodsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeName: string;
  /** Uid of a pod of this node, by `namespace/name`. */
  readonly uidOf: (pod: string) => string | undefined;
}

/** Tells pods that they came too late. */
export class LatePods {
  readonly #events: EventRecorder;
  readonly #uidOf: LatePodsOptions["uidOf"];
  #told: ReadonlySet<string> = new Set();

  constructor(options: LatePodsOptions) {
    this.#events = createEventRecorder({ ...options, component: "k3slb-agent", host: options.nodeName });
    this.#uidOf = options.uidOf;
  }

  /** Tells those that were not told before; where an Event may not be written, only the Service says it. */
  tell(verdicts: readonly ServiceVerdict[]): void {
    const told = new Set<string>();
    for (const { service, latePods = [] } of verdicts) {
      for (const { pod, port } of latePods) {
        const uid = this.#uidOf(pod);
        const id = `${uid} ${port} ${objectKey(service)}`;
        told.add(id);
        if (uid === undefined || this.#told.has(id)) continue;
        const message = `${port} of the node is served for Service ${objectKey(service)}, which had it first: ` +
          "no connection from outside reaches this pod there";
        this.#events.record({ apiVersion: "v1", kind: "Pod", uid, ...splitKey(pod) }, {
          type: "Warning",
          reason: "PortTaken",
          message,
        });
      }
    }
    this.#told = told;
  }
}
