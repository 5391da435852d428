// What is to be done about one HelmChart now: the words in which a decision is said, and what installing and deleting have in common. Pure.
// Facts: the flows of helm-controller v0.17.9 (`pkg/controllers/chart`). Where it goes wrong we do not follow; docs/compatibility.md
// has the list. A decision depends on the configuration's hash, the Job and the release alone, so each reconcile can be the first one.
import { conditionOf, isTrue } from "../kube/conditions.ts";
import type { EventContent } from "../kube/events.ts";
import type { Job, Pod } from "../kube/types.ts";
import type { JobFacts, JobSettings } from "./jobs/desired_job.ts";
import type { SetObject } from "./jobs/desired_objects.ts";
import { jobObstacle, type JobSight, type Obstacle, podsLeft } from "./jobs/job_obstacle.ts";
import { chartKey } from "./helm_chart.ts";
import { ATTEMPT_ANNOTATION, type JobAction, jobName } from "./names.ts";
import type { ChartState } from "./releases/helm_status.ts";
import type { Release } from "./releases/release.ts";

/** Settings of the planner. */
export interface PlanSettings extends JobSettings {
  readonly clusterRole: string;
}

/** What is seen. */
export interface ChartFacts extends Omit<JobFacts, "revision"> {
  /** The latest revision, read from the server just now. */
  readonly release: Release | undefined;
  readonly installJob?: Job | undefined;
  readonly deleteJob?: Job | undefined;
  /** Pods of both Jobs. */
  readonly pods: readonly Pod[];
  /** What helm said when it last failed; empty if it didn't. */
  readonly failure: string;
  readonly nowMs: number;
}

/** What happens to the Job. */
export type JobStep =
  | { readonly step: "none" }
  | { readonly step: "create"; readonly job: Job }
  /** Deleted first; created by a later reconcile, when it and its pods are gone. */
  | { readonly step: "replace"; readonly job: Job }
  /** Deleted and not made again. */
  | { readonly step: "remove"; readonly job: Job }
  | { readonly step: "resume"; readonly job: Job };

/** The decision. */
export interface ChartPlan {
  readonly outcome: "applied" | "unchanged" | "resumed" | "refused" | "finalizer-removed";
  /** Kept as they are said here, at every reconcile. */
  readonly objects: readonly SetObject[];
  readonly job: JobStep;
  readonly events: readonly EventContent[];
  readonly state: ChartState | undefined;
  /** To be noted on the chart, with the Event; see {@linkcode deployedNote}. */
  readonly note?: string;
  /** Milliseconds after which to come again, if nothing happens before. */
  readonly againMs?: number;
}

export const REQUEUE_MS = 5_000;
export const NOTHING: JobStep = { step: "none" };

/** Nothing is done now but what `more` says. */
export function unchanged(more: Partial<ChartPlan>): ChartPlan {
  return { outcome: "unchanged", objects: [], job: NOTHING, events: [], state: undefined, ...more };
}

/** What is said while a Job and its pods are waited for to go, so that another can follow. */
export function planLeaving(
  { chart, job, pods, nowMs }: Pick<ChartFacts, "chart" | "pods" | "nowMs"> & { readonly job: Job },
  action: JobAction,
): ChartPlan {
  const { obstacle, ...again } = podsLeft(job, { pods, nowMs });
  if (obstacle === undefined) return unchanged(again);
  if (action === "install") return { ...waitForPods(obstacle, "Waiting for the last Job's pods to go"), ...again };
  const state: ChartState = { phase: "uninstalling", job: jobName(chartKey(chart).name, action), obstacle };
  return unchanged({ ...again, events: [warningOf(obstacle)], state });
}

/** A change has to wait for what runs. */
export function waitForPods(obstacle: Obstacle | undefined, what: string): ChartPlan {
  const { reason, message } = obstacle ?? { reason: "WaitingForJob", message: "" };
  const said = { reason, message: obstacle === undefined ? what : `${what}: ${message}` };
  const events = obstacle === undefined ? [] : [warningOf(said)];
  return unchanged({ events, state: { phase: "waiting", ...said } });
}

/** What keeps the Job, seen beside what the chart says already. */
export function obstacleOf(job: Job, { chart, pods, nowMs }: ChartFacts, missing: readonly string[] = []): JobSight {
  return jobObstacle(job, { pods, nowMs, missing, said: conditionOf(chart, "Deployed") });
}

export function warningOf({ reason, message }: Obstacle): EventContent {
  return { type: "Warning", reason, message };
}

/** What helm says differs from try to try, in a port or a time: one Event has the last of it. */
export function jobFailedEvent(message: string): EventContent {
  return { type: "Warning", reason: "JobFailed", message, isUpdated: true };
}

export function retrying(failure: string): readonly EventContent[] {
  return failure === "" ? [] : [jobFailedEvent(`Job is tried again: ${failure}`)];
}

/** Lets the Job go when its controller has seen it; whatever else is marked on it, it is ours and wanted. */
export function resume(
  job: Job,
  { objects, state }: { readonly objects: readonly SetObject[]; readonly state: ChartState },
): ChartPlan {
  if (!isTrue(job, "Suspended")) return unchanged({ objects, state });
  const { namespace = "", name = "" } = job.metadata ?? {};
  const message = `Resumed synced Job ${namespace}/${name}`;
  const events = [{ type: "Normal", reason: "ResumeJob", message }] as const;
  return { outcome: "resumed", objects, job: { step: "resume", job }, events, state };
}

/** `job` that says how many of the same configuration came before it. */
export function withAttempt(job: Job, attempt: number): Job {
  if (attempt === 0) return job;
  const annotations = { ...job.metadata?.annotations, [ATTEMPT_ANNOTATION]: String(attempt) };
  return { ...job, metadata: { ...job.metadata, annotations } };
}

export function isUnsupported(helmVersion: string | undefined): boolean {
  return helmVersion !== undefined && helmVersion !== "" && helmVersion !== "v3";
}
