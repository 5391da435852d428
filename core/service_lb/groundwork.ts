// What each active server does once, and tries until it works: makes what the cluster needs beside the Services' own objects. Adapter.
import type { KubeClient } from "../kube/contract.ts";
import { type Clock, pause } from "../runtime/clock.ts";
import { errorMessage } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { desiredPrerequisites } from "./prerequisites.ts";
import type { ServiceLbOptions } from "./service_lb_options.ts";
import { applyPrerequisites } from "./service_writes.ts";

/** What it works with. */
export interface Groundwork {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly options: ServiceLbOptions;
}

/** Without the ServiceAccount no pod starts, without the right no agent knows an endpoint. */
export async function ensurePrerequisites(groundwork: Groundwork): Promise<void> {
  const { dataplane, servicelbNamespace: namespace } = groundwork.options;
  const objects = desiredPrerequisites(dataplane, namespace);
  const failure = "Cannot make the load balancer's ServiceAccount and roles";
  await untilDone(groundwork, failure, () => applyPrerequisites(groundwork, objects));
}

/** Tries `action` until it works. */
export async function untilDone(
  { signal, clock, logger }: Pick<Groundwork, "signal" | "clock" | "logger">,
  failure: string,
  action: () => Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    try {
      return await action();
    } catch (error) {
      if (signal.aborted) return;
      logger.warn(failure, { error: errorMessage(error) });
      await pause(clock, RETRY_MS, signal);
    }
  }
}

const RETRY_MS = 5_000;
