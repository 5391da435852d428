// Pods and Services come through different watches: a pod may be seen before its Service. Its "NoSuchService" waits a moment,
// so that a gate doesn't close and open again for nothing.
import { objectKey } from "../../core/kube/object_store.ts";
import type { PodVerdict } from "./forwarding_plan.ts";

/** Milliseconds that a pod may be without its Service before anybody is told. */
export const SERVICE_GRACE_MS = 2000;

/** Remembers since when pods have been without their Service. */
export class ServiceGrace {
  #since: ReadonlyMap<string, number> = new Map();

  /** The verdicts that may be told at `nowMs` (monotonic), and whether others wait. */
  ripe(
    verdicts: readonly PodVerdict[],
    nowMs: number,
  ): { readonly ripe: readonly PodVerdict[]; readonly waits: boolean } {
    const missing = verdicts.filter((one) => one.refusals.some((refusal) => refusal.reason === "NoSuchService"));
    const since = new Map(missing.map((one) => {
      const key = objectKey(one.pod);
      return [key, this.#since.get(key) ?? nowMs];
    }));
    this.#since = since;
    const ripe = verdicts.filter((one) => nowMs - (since.get(objectKey(one.pod)) ?? -Infinity) >= SERVICE_GRACE_MS);
    return { ripe, waits: ripe.length < verdicts.length };
  }
}
