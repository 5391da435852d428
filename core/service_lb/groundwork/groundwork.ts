// What each active server does once, and tries until it works: makes what the cluster needs beside the Services' own objects, and looks for what
// earlier servers left. Adapter.
import type { KubeClient } from "../../kube/contract.ts";
import { type Clock, pause } from "../../runtime/clock.ts";
import type { ServiceKey } from "../../service/keys.ts";
import { errorMessage } from "../../shared/errors.ts";
import type { Logger } from "../../shared/log.ts";
import { deleteStrayDaemonSets, findFormerServices } from "./left_behind.ts";
import { desiredPrerequisites } from "./prerequisites.ts";
import { removeFacts } from "./remove_service_lb.ts";
import type { ServiceLbOptions } from "../service_lb_options.ts";
import { applyPrerequisites } from "../service_writes.ts";

/** What it works with. */
export interface Groundwork {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly options: ServiceLbOptions;
}

/** Without the ServiceAccount no pod starts, without the rights no agent knows an endpoint or decides by itself. */
export async function ensurePrerequisites(groundwork: Groundwork): Promise<void> {
  const { client, signal, options } = groundwork;
  const { dataplane, servicelbNamespace: namespace } = options;
  const objects = desiredPrerequisites(dataplane, namespace);
  const failure = "Cannot make the load balancer's ServiceAccount and roles";
  await untilDone(groundwork, failure, () => applyPrerequisites(groundwork, objects));
  if (dataplane === "agent") return;
  await untilDone(
    groundwork,
    "Cannot take back what agents decide by",
    () => removeFacts({ client, namespace, signal }),
  );
}

/** Looks for what earlier servers left; `onFormer` is told of Services that are no longer of the type. */
export async function collectLeftBehind(
  groundwork: Groundwork,
  { synced, onFormer }: { readonly synced: Promise<void>; readonly onFormer: (key: ServiceKey) => void },
): Promise<void> {
  const { logger, options } = groundwork;
  await untilDone(groundwork, "Cannot look for what earlier servers left behind", async () => {
    await synced;
    for (const key of await findFormerServices(groundwork)) onFormer(key);
    await deleteStrayDaemonSets(groundwork, { namespace: options.servicelbNamespace, logger });
  });
}

/** Tries `action` until it works; says once what is in the way. */
async function untilDone(
  { signal, clock, logger }: Pick<Groundwork, "signal" | "clock" | "logger">,
  failure: string,
  action: () => Promise<void>,
): Promise<void> {
  let told = "";
  while (!signal.aborted) {
    try {
      return await action();
    } catch (error) {
      if (signal.aborted) return;
      const message = errorMessage(error);
      if (message !== told) logger.warn(failure, { error: message });
      told = message;
      await pause(clock, RETRY_MS, signal);
    }
  }
}

const RETRY_MS = 5_000;
