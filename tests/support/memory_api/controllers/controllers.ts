// The controllers that run beside the API, and the one loop that drives each of them: keys in, one reconcile per key, no polling.
import type { Api } from "../api.ts";
import type { RequestCounts } from "../request_counts.ts";
import { startCustomResourceDefinitions } from "./custom_resource_definitions.ts";
import { startDaemonSets } from "./daemon_sets.ts";
import { startDeployments } from "./deployments.ts";
import { startEndpointSlices } from "./endpoint_slices.ts";
import { startGarbageCollector } from "./garbage_collector.ts";
import { startJobs } from "./jobs.ts";
import { startNodeLifecycle } from "./node_lifecycle.ts";
import { startScheduler } from "./scheduler.ts";

/** Every controller. */
export type ControllerName =
  | "customResourceDefinitions"
  | "garbageCollector"
  | "daemonSets"
  | "deployments"
  | "scheduler"
  | "endpointSlices"
  | "jobs"
  | "nodeLifecycle";

/** What {@linkcode startControllers} takes. */
export interface ControllersOptions {
  readonly counts: RequestCounts;
  readonly only?: readonly ControllerName[];
  readonly nodeGraceMs?: number;
}

/** Starts the controllers; the returned function stops them. */
export function startControllers(api: Api, options: ControllersOptions): () => void {
  const { counts } = options;
  const starts: Readonly<Record<ControllerName, () => () => void>> = {
    customResourceDefinitions: () => startCustomResourceDefinitions(api),
    garbageCollector: () => startGarbageCollector(api, counts),
    daemonSets: () => startDaemonSets(api, counts),
    deployments: () => startDeployments(api, counts),
    scheduler: () => startScheduler(api, counts),
    endpointSlices: () => startEndpointSlices(api, counts),
    jobs: () => startJobs(api, counts),
    nodeLifecycle: () => startNodeLifecycle(api, { counts, graceMs: options.nodeGraceMs }),
  };
  const names = options.only ?? Object.keys(starts) as ControllerName[];
  const stops = names.map((name) => starts[name]());
  return () => {
    for (const stop of stops) stop();
  };
}
