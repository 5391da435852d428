// What a work queue tells of itself, and those numbers as metrics; names after controller-runtime's `workqueue_*` and `controller_runtime_*`.
import type { MetricRegistry } from "./metrics.ts";

/** Told by one queue what happens in it. */
export interface QueueObserver {
  /** Called once, at the queue's start, with a way to ask how many keys wait. */
  started(depth: () => number): void;
  /** A key was added, whoever did it. */
  added(): void;
  /** A key that failed will come again. */
  retried(): void;
  /** A key was handled, well or not. */
  handled(durationMs: number, isFailed: boolean): void;
}

/** The observer for the queue with this name. */
export type ObserveQueue = (name: string) => QueueObserver;

/** Registers the metrics of queues; a queue that is made again under its name counts on. */
export function createQueueMetrics(registry: MetricRegistry): ObserveQueue {
  const depths = new Map<string, () => number>();
  registry.gaugeOf(
    { name: "k3slb_queue_depth", help: "Keys that wait to be reconciled." },
    () => [...depths].map(([queue, depth]) => [{ queue }, depth()]),
  );
  const adds = registry.counter({ name: "k3slb_queue_adds_total", help: "Keys that were added to a queue." });
  const retries = registry.counter({
    name: "k3slb_queue_retries_total",
    help: "Keys that came again after a failure.",
  });
  const durations = registry.histogram({
    name: "k3slb_reconcile_duration_seconds",
    help: "Time for one key of a queue.",
  });
  const errors = registry.counter({ name: "k3slb_reconcile_errors_total", help: "Reconciliations that failed." });
  return (queue) => {
    // From the start on, so that the first failure is a step of one and not a new series.
    for (const counter of [adds, retries, errors]) counter.add({ queue }, 0);
    return {
      started: (depth) => void depths.set(queue, depth),
      added: () => adds.add({ queue }),
      retried: () => retries.add({ queue }),
      handled: (durationMs, isFailed) => {
        durations.observe(durationMs / 1000, { queue });
        if (isFailed) errors.add({ queue });
      },
    };
  };
}
