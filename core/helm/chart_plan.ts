// What is to be done about one HelmChart now, from everything that is seen of it. Pure: the controller looks and carries out.
// Facts: the flows of helm-controller v0.17.9 (`pkg/controllers/chart`). Where it goes wrong we do not follow; docs/compatibility.md
// has the list. A decision depends on the configuration's hash, the Job and the release alone, so each pass can be the first one.
import type { EventContent } from "../kube/events.ts";
import type { Job, Pod } from "../kube/types.ts";
import { chartProblems } from "./releases/check_chart.ts";
import { releaseHash } from "./values/config_hash.ts";
import { desiredJob, type JobFacts, type JobSettings } from "./jobs/desired_job.ts";
import { desiredObjects, type SetObject } from "./jobs/desired_objects.ts";
import { chartKey } from "./helm_chart.ts";
import type { ChartState } from "./releases/helm_status.ts";
import { type JobLook, jobObstacle, type Obstacle, podsLeft } from "./jobs/job_obstacle.ts";
import { attemptOf, hashOf, isComplete, isFailed, isHelmRunning, retryDelayMs } from "./jobs/job_state.ts";
import { releasePolicy } from "./values/merge_config.ts";
import { ATTEMPT_ANNOTATION, CONFIG_HASH_ANNOTATION, type JobAction, jobName } from "./names.ts";
import type { Release } from "./releases/release.ts";
import { sourceDescription } from "./releases/source_description.ts";
import { missingSecrets } from "./values/values_files.ts";

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
  /** Deleted first; created by a later pass, when it and its pods are gone. */
  | { readonly step: "replace"; readonly job: Job }
  /** Deleted and not made again. */
  | { readonly step: "remove"; readonly job: Job }
  | { readonly step: "resume"; readonly job: Job };

/** The decision. */
export interface ChartPlan {
  readonly outcome: "applied" | "unchanged" | "resumed" | "refused" | "finalizer-removed";
  /** Kept as they are said here, at every pass. */
  readonly objects: readonly SetObject[];
  readonly job: JobStep;
  readonly events: readonly EventContent[];
  readonly state: ChartState | undefined;
  /** Milliseconds after which to look again, if nothing happens before. */
  readonly againMs?: number;
}

const LOOK_AGAIN_MS = 5_000;
/** For charts that can't be uninstalled. */
export const HOW_TO_LEAVE_RELEASE = "To leave the release behind, remove the finalizer";
const NOTHING: JobStep = { step: "none" };

/** The plan for a chart that is to be there. */
export function planInstall(facts: ChartFacts, settings: PlanSettings): ChartPlan {
  const { chart, config, installJob: job, release } = facts;
  const refusal = refuse(facts);
  if (refusal !== undefined) return refusal;
  const { namespace, name } = chartKey(chart);
  const objects = desiredObjects({ chart, config }, { action: "install", clusterRole: settings.clusterRole });
  const wanted = desiredJob({ ...facts, revision: release?.revision ?? 0 }, { action: "install", settings });
  const isDeployed = release?.status === "deployed" && release.configHash === releaseHash(wanted.hash);
  const isSameJob = job !== undefined && hashOf(job) === wanted.hash;
  const state = (more: ChartState): Pick<ChartPlan, "objects" | "events" | "state"> => ({
    objects,
    events: [],
    state: more,
  });
  const applying: ChartState = { phase: "applying", job: jobName(name, "install"), namespace };
  const apply = (attempt: number): ChartPlan => ({
    outcome: "applied",
    objects,
    job: { step: job === undefined ? "create" : "replace", job: withAttempt(wanted.job, attempt) },
    events: [{
      type: "Normal",
      reason: "ApplyJob",
      message: `Applying HelmChart from ${sourceDescription(chart)} using Job ${namespace}/${
        jobName(name, "install")
      } `,
      annotations: { [CONFIG_HASH_ANNOTATION]: `SHA256=${wanted.hash}` },
    }],
    state: applying,
  });
  // The release says it, not the Job: a finished Job that someone cleaned up is no reason to upgrade.
  if (isDeployed && (job === undefined || isComplete(job))) {
    return { outcome: "unchanged", job: NOTHING, ...state({ phase: "deployed", revision: release.revision }) };
  }
  if (job === undefined) return apply(0);
  if (!isSameJob) {
    if (job.spec?.suspend !== true && isHelmRunning(job, facts.pods)) {
      // Killed, helm leaves a release that is locked.
      const message = `Waiting for the running Job ${namespace}/${
        jobName(name, "install")
      } before the change is applied`;
      return { ...waitForPods(podsLeft(job, facts).obstacle, message), objects, againMs: LOOK_AGAIN_MS };
    }
    return apply(0);
  }
  if (isFailed(job)) return { ...jobFailed(facts.failure), objects };
  if (job.spec?.suspend === true && !isComplete(job)) return resume(job, { objects, state: applying });
  if (!isComplete(job)) {
    const problem = facts.failure === "" ? {} : { problem: facts.failure };
    const { obstacle, againMs } = lookAt(job, facts, missingSecrets(facts));
    return {
      outcome: "unchanged",
      objects,
      job: NOTHING,
      events: obstacle === undefined ? retrying(facts.failure) : [warningOf(obstacle)],
      state: { ...applying, ...problem, ...(obstacle === undefined ? {} : { obstacle }) },
      ...(againMs === undefined ? {} : { againMs }),
    };
  }
  return afterComplete({ facts, job, objects, apply });
}

/** The plan for a chart that is being deleted. */
export function planDelete(facts: ChartFacts, settings: PlanSettings): ChartPlan {
  const { chart, deleteJob: job, installJob, release } = facts;
  const done: ChartPlan = { outcome: "finalizer-removed", objects: [], job: NOTHING, events: [], state: undefined };
  if (isUnsupported(chart.spec?.helmVersion) || chartProblems(chart, undefined).length > 0 && release === undefined) {
    return done;
  }
  const { namespace, name } = chartKey(chart);
  const jobKey = `${namespace}/${jobName(name, "delete")}`;
  if (job !== undefined && isComplete(job) && release === undefined) {
    const message = `Uninstalled HelmChart using Job ${jobKey}, removing resources`;
    return { ...done, events: [{ type: "Normal", reason: "RemoveJob", message }] };
  }
  const objects = desiredObjects({ chart }, { action: "delete", clusterRole: settings.clusterRole });
  const uninstalling = { phase: "uninstalling", job: jobName(name, "delete") } as const;
  const wait = (problem: string, againMs: number, obstacle?: Obstacle): ChartPlan => ({
    outcome: "unchanged",
    objects,
    job: NOTHING,
    events: obstacle === undefined ? [] : [warningOf(obstacle)],
    state: { ...uninstalling, ...(problem === "" ? {} : { problem }), ...(obstacle === undefined ? {} : { obstacle }) },
    againMs,
  });
  if (installJob !== undefined && !isComplete(installJob) && !isFailed(installJob)) {
    const isLeaving = installJob.metadata?.deletionTimestamp !== undefined;
    if (isLeaving || isHelmRunning(installJob, facts.pods)) {
      return wait("", LOOK_AGAIN_MS, podsLeft(installJob, facts).obstacle);
    }
    // Its next try would find no release any more, and install the chart again after it is gone.
    return { ...wait("", LOOK_AGAIN_MS), outcome: "applied", job: { step: "remove", job: installJob } };
  }
  const revision = release?.revision ?? 0;
  const wanted = desiredJob({ ...facts, config: undefined, revision }, { action: "delete", settings });
  const apply = (attempt: number, events: readonly EventContent[] = []): ChartPlan => ({
    outcome: "applied",
    objects,
    job: { step: job === undefined ? "create" : "replace", job: withAttempt(wanted.job, attempt) },
    events: [...events, {
      type: "Normal",
      reason: "RemoveJob",
      message: `Uninstalling HelmChart using Job ${jobKey} `,
    }],
    state: uninstalling,
  });
  if (job === undefined) return apply(0);
  const failure = facts.failure === "" ? "" : `: ${facts.failure}`;
  if (isComplete(job) || isFailed(job)) {
    const what = isFailed(job)
      ? `Job ${jobKey} failed${failure}`
      : `Job ${jobKey} ended, but release "${name}" is still there, in state "${
        release?.status ?? "unknown"
      }"${failure}`;
    const delayMs = retryDelayMs(job, facts.nowMs);
    if (delayMs <= 0) return apply(attemptOf(job) + 1);
    const problem = `${what}; it is tried again. ${HOW_TO_LEAVE_RELEASE}`;
    return { ...wait(problem, delayMs), events: [{ type: "Warning", reason: "JobFailed", message: problem }] };
  }
  if (job.spec?.suspend === true) return resume(job, { objects, state: uninstalling });
  if (hashOf(job) !== wanted.hash && !isHelmRunning(job, facts.pods)) return apply(0);
  const { obstacle } = lookAt(job, facts);
  const waiting = wait(facts.failure, LOOK_AGAIN_MS, obstacle);
  return obstacle === undefined ? { ...waiting, events: retrying(facts.failure) } : waiting;
}

/** What is said while a Job and its pods are waited for to go, so that another can follow. */
export function planLeaving(
  { chart, job, pods, nowMs }: Pick<ChartFacts, "chart" | "pods" | "nowMs"> & { readonly job: Job },
  action: JobAction,
): ChartPlan {
  const { obstacle, againMs } = podsLeft(job, { pods, nowMs });
  const again = againMs === undefined ? {} : { againMs };
  const nothing: ChartPlan = {
    outcome: "unchanged",
    objects: [],
    job: NOTHING,
    events: [],
    state: undefined,
    ...again,
  };
  if (obstacle === undefined) return nothing;
  if (action === "install") return { ...nothing, ...waitForPods(obstacle, "Waiting for the last Job's pods to go") };
  const state: ChartState = { phase: "uninstalling", job: jobName(chartKey(chart).name, action), obstacle };
  return { ...nothing, events: [warningOf(obstacle)], state };
}

function waitForPods(obstacle: Obstacle | undefined, what: string): Omit<ChartPlan, "objects"> {
  const { reason, message } = obstacle ?? { reason: "WaitingForJob", message: "" };
  const said = { reason, message: obstacle === undefined ? what : `${what}: ${message}` };
  return {
    outcome: "unchanged",
    job: NOTHING,
    events: obstacle === undefined ? [] : [warningOf(said)],
    state: { phase: "waiting", ...said },
  };
}

function lookAt(job: Job, { chart, pods, nowMs }: ChartFacts, missing: readonly string[] = []): JobLook {
  const said = chart.status?.conditions?.find(({ type }) => type === "Deployed");
  return jobObstacle(job, { pods, nowMs, missing, said });
}

function warningOf({ reason, message }: Obstacle): EventContent {
  return { type: "Warning", reason, message };
}

function refuse({ chart, config }: ChartFacts): ChartPlan | undefined {
  const { helmVersion } = chart.spec ?? {};
  const refused = { outcome: "refused", objects: [], job: NOTHING } as const;
  if (isUnsupported(helmVersion)) {
    const message = `Unsupported Helm version ${helmVersion}: only v3 charts are supported`;
    return {
      ...refused,
      events: [{ type: "Warning", reason: "UnsupportedVersion", message }],
      state: { phase: "unsupported" },
    };
  }
  const problems = chartProblems(chart, config);
  if (problems.length === 0) return undefined;
  const message = problems.join("; ");
  return {
    ...refused,
    events: [{ type: "Warning", reason: "InvalidChart", message }],
    state: { phase: "refused", message },
  };
}

interface Completed {
  readonly facts: ChartFacts;
  readonly job: Job;
  readonly objects: readonly SetObject[];
  readonly apply: (attempt: number) => ChartPlan;
}

/** The Job ended without an error, and yet the release is not what the chart asks for. */
function afterComplete({ facts, job, objects, apply }: Completed): ChartPlan {
  const { chart, config, release } = facts;
  const { name } = chartKey(chart);
  const what = release === undefined
    ? `The Job ended without an error, but there is no release "${name}"`
    : `The Job ended without an error, but release "${name}" revision ${release.revision} is "${release.status}"`;
  const message = `${what}${facts.failure === "" ? "" : `: ${facts.failure}`}`;
  const isOwnFailure = release?.status === "failed" && release.configHash === releaseHash(hashOf(job));
  // `retry` means: when the configuration has changed. The same one again would make failed revisions for ever.
  const isFinal = isOwnFailure && releasePolicy(chart, { action: "install", config }).failurePolicy === "retry";
  const delayMs = isFinal ? 0 : retryDelayMs(job, facts.nowMs);
  if (!isFinal && delayMs <= 0) return apply(attemptOf(job) + 1);
  return {
    outcome: "unchanged",
    objects,
    job: NOTHING,
    events: [{ type: "Warning", reason: "JobFailed", message }],
    state: { phase: "not-deployed", message, isFinal },
    ...(isFinal ? {} : { againMs: delayMs }),
  };
}

function jobFailed(failure: string): Omit<ChartPlan, "objects"> {
  const message = `Job has reached configured number of retries without succeeding${
    failure === "" ? "" : `: ${failure}`
  }`;
  return {
    outcome: "unchanged",
    job: NOTHING,
    events: [{ type: "Warning", reason: "JobFailed", message }],
    state: { phase: "job-failed", message: failure },
  };
}

function retrying(failure: string): readonly EventContent[] {
  return failure === "" ? [] : [{ type: "Warning", reason: "JobFailed", message: `Job is tried again: ${failure}` }];
}

/** Lets the Job go when its controller has seen it; whatever else is marked on it, it is ours and wanted. */
function resume(
  job: Job,
  { objects, state }: { readonly objects: readonly SetObject[]; readonly state: ChartState },
): ChartPlan {
  const isSeen = job.status?.conditions?.some(({ type, status }) => type === "Suspended" && status === "True") ?? false;
  if (!isSeen) return { outcome: "unchanged", objects, job: NOTHING, events: [], state };
  const { namespace = "", name = "" } = job.metadata ?? {};
  const message = `Resumed synced Job ${namespace}/${name}`;
  return {
    outcome: "resumed",
    objects,
    job: { step: "resume", job },
    events: [{ type: "Normal", reason: "ResumeJob", message }],
    state,
  };
}

function withAttempt(job: Job, attempt: number): Job {
  if (attempt === 0) return job;
  return { ...job, metadata: { ...job.metadata, annotations: { [ATTEMPT_ANNOTATION]: String(attempt) } } };
}

function isUnsupported(helmVersion: string | undefined): boolean {
  return helmVersion !== undefined && helmVersion !== "" && helmVersion !== "v3";
}
