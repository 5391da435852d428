// What each active server does once, and tries until it works: makes what the cluster needs beside the Services' own objects, and looks for what
// earlier servers left. Adapter.
import type { Surroundings } from "../../kube/contract.ts";
import { pause } from "../../runtime/clock.ts";
import type { Node } from "../../kube/types.ts";
import type { ServiceKey } from "../../service/keys.ts";
import { errorMessage } from "../../shared/errors.ts";
import { deleteStrayDaemonSets, deleteStrayFacts, findFormerServices } from "./left_behind.ts";
import { desiredPrerequisites } from "./prerequisites.ts";
import { removeFacts } from "./remove_service_lb.ts";
import type { ServiceLbOptions } from "../service_lb_options.ts";
import { applyPrerequisites } from "../service_writes.ts";

/** What it works with. */
export interface Groundwork extends Surroundings {
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

/** What {@linkcode collectLeftBehind} is told. */
export interface LeftBehindOptions {
  /** Resolves when all objects are known. */
  readonly synced: Promise<void>;
  /** As of now. */
  readonly nodes: () => Iterable<Node>;
  /** Told of Services that are no longer of the type. */
  readonly onFormer: (key: ServiceKey) => void;
}

/** Looks for what earlier servers left. */
export async function collectLeftBehind(
  groundwork: Groundwork,
  { synced, nodes, onFormer }: LeftBehindOptions,
): Promise<void> {
  const { logger, options } = groundwork;
  const namespace = options.servicelbNamespace;
  await untilDone(groundwork, "Cannot look for what earlier servers left behind", async () => {
    await synced;
    for (const key of await findFormerServices(groundwork)) onFormer(key);
    await deleteStrayDaemonSets(groundwork, { namespace, logger });
  });
  await untilDone(
    groundwork,
    "Cannot delete yet what agents decide by in a namespace that is no longer used",
    () => deleteStrayFacts(groundwork, { namespace, logger, nodes: nodes() }),
  );
}

/** Tries `action` until it works and returns nothing that is in the way; says once what is. */
async function untilDone(
  { signal, clock, logger }: Pick<Groundwork, "signal" | "clock" | "logger">,
  failure: string,
  action: () => Promise<string | undefined | void>,
): Promise<void> {
  let told = "";
  while (!signal.aborted) {
    const obstacle = await action().catch(errorMessage);
    if (obstacle === undefined || signal.aborted) return;
    if (obstacle !== told) logger.warn(failure, { error: obstacle });
    told = obstacle;
    await pause(clock, RETRY_MS, signal);
  }
}

const RETRY_MS = 5_000;
