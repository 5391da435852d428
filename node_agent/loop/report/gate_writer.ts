// Writes readiness gates: only those that change, a few at a time, again and again until the API takes them.
import type { Surroundings } from "../../../core/kube/contract.ts";
import { isConflict, isNotFound } from "../../../core/kube/errors.ts";
import { objectKey } from "../../../core/kube/request_path.ts";
import type { Reflector } from "../../../core/kube/reflector.ts";
import { PODS } from "../../../core/kube/resources.ts";
import type { Pod } from "../../../core/kube/types.ts";
import { apiTime } from "../../../core/runtime/clock.ts";
import type { ObserveQueue } from "../../../core/runtime/queue_metrics.ts";
import { createWorkQueue } from "../../../core/runtime/work_queue.ts";
import { errorMessage } from "../../../core/shared/errors.ts";
import { gatePatch, type GateState, saysTheSame } from "./desired_gate.ts";
import type { PodVerdict } from "../plan/forwarding_plan.ts";

/** What {@linkcode createGateWriter} takes. */
export interface GateWriterOptions extends Surroundings {
  /** Observes its queue, for metrics. */
  readonly observeQueue?: ObserveQueue;
  readonly pods: Reflector<Pod>;
}

/** A pod and what its gate is to say. */
export interface GateWish {
  readonly pod: Pod;
  readonly state: GateState;
}

/** Brings the pods' gates to what was last published. */
export interface GateWriter {
  /** Replaces all wishes. */
  publish(wishes: readonly GateWish[]): void;
  /** Writes until the signal is aborted. Never rejects. */
  run(): Promise<void>;
}

/** A writer without wishes. */
export function createGateWriter(options: GateWriterOptions): GateWriter {
  const { client, pods, clock, logger, signal } = options;
  const queue = createWorkQueue({ clock, maxBackoffMs: MAX_BACKOFF_MS, observer: options.observeQueue?.("gates") });
  const wishes = new Map<string, GateWish>();
  const patchFor = (key: string): ReturnType<typeof gatePatch> => {
    const [pod, wish] = [pods.objects.get(key), wishes.get(key)];
    return pod && wish && gatePatch(pod, wish.state, apiTime(clock.now()));
  };
  return {
    publish: (list) => {
      wishes.clear();
      for (const wish of list) {
        const key = objectKey(wish.pod);
        wishes.set(key, wish);
        if (!patchFor(key)) continue;
        // Whether there are endpoints, say, may change every second during a rollout; the address depends on status and reason.
        queue.addAfter(key, saysTheSame(pods.objects.get(key) ?? wish.pod, wish.state) ? NOTE_DELAY_MS : 0);
      }
    },
    run: () =>
      queue.run({
        signal,
        workers: GATE_WRITERS,
        reconcile: async (key) => {
          const patch = patchFor(key);
          const wish = wishes.get(key);
          if (!patch || !wish) return;
          const { namespace = "", name = "" } = wish.pod.metadata ?? {};
          try {
            const written = await client.patch(PODS, { namespace, name }, patch, { subresource: "status", signal });
            pods.merge([written]);
          } catch (error) {
            // The pod is gone, or another one has its name: the watch will say so.
            if (isNotFound(error) || isConflict(error)) return;
            throw error;
          }
          const level = wish.state.status === "True" ? "info" : "warn";
          logger[level](`Pod gate is ${wish.state.status}`, {
            pod: key,
            reason: wish.state.reason,
            message: wish.state.message,
          });
        },
        onFailure: (key, error, failures) => {
          const level = failures === 1 ? "warn" : "debug";
          logger[level]("Cannot write a pod's gate; it is tried again", { pod: key, error: errorMessage(error) });
        },
      }),
  };
}

/** For a change of the message alone. */
const NOTE_DELAY_MS = 3000;
const GATE_WRITERS = 8;
/** A node's address waits for its gates. */
const MAX_BACKOFF_MS = 10_000;

/** Milliseconds that a pod may be without its Service before anybody is told. */
export const SERVICE_GRACE_MS = 2000;

/**
 * Remembers since when pods have been without their Service. Pods and Services come through different watches, so a pod may be seen before
 * its Service: its "NoSuchService" waits a moment, so that a gate doesn't close and open again for nothing.
 */
export class ServiceGrace {
  #since: ReadonlyMap<string, number> = new Map();

  /** The verdicts that may be told at `nowMs` (monotonic), and whether others wait. */
  due(
    verdicts: readonly PodVerdict[],
    nowMs: number,
  ): { readonly due: readonly PodVerdict[]; readonly waits: boolean } {
    const missing = verdicts.filter((one) => one.refusals.some((refusal) => refusal.reason === "NoSuchService"));
    const since = new Map(missing.map((one) => {
      const key = objectKey(one.pod);
      return [key, this.#since.get(key) ?? nowMs];
    }));
    this.#since = since;
    const due = verdicts.filter((one) => nowMs - (since.get(objectKey(one.pod)) ?? -Infinity) >= SERVICE_GRACE_MS);
    return { due, waits: due.length < verdicts.length };
  }
}
