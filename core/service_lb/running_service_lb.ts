// What starting the load balancer takes and gives. Types only.
import type { Surroundings } from "../kube/contract.ts";
import type { BeginAsk } from "../runtime/ask_nodes.ts";
import type { ObserveQueue } from "../runtime/queue_metrics.ts";
import type { ClusterSnapshot } from "./answers/explain_service.ts";
import type { ServiceEvents } from "./reconcile_context.ts";
import type { ServiceLbOptions } from "./service_lb_options.ts";

/** What {@linkcode startServiceLb} takes. */
export interface StartServiceLbOptions extends Surroundings {
  readonly options: ServiceLbOptions;
  readonly events: ServiceEvents;
  /** Observes its queue, for metrics. */
  readonly observeQueue?: ObserveQueue;
  /**
   * How a node is asked whether it is there.
   * @default {askByTcp}
   */
  readonly beginAsk?: BeginAsk;
}

/** A running load balancer. */
export interface ServiceLb {
  /** Resolves when all objects are known and reconciling has begun; rejects with an `AbortError` if stopped before. */
  readonly synced: Promise<void>;
  /** Whether every watch is open. */
  readonly isConnected: boolean;
  /** Nodes that have stopped answering. */
  readonly silentNodes: () => number;
  /** The cluster as this load balancer knows it. */
  readonly snapshot: () => ClusterSnapshot;
  /** Resolves when the signal has been aborted and nothing runs any more. Never rejects. */
  readonly done: Promise<void>;
}
