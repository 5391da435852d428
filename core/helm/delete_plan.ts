// The plan for a chart that is being deleted. Pure: the reconciler reads and carries out.
import { present } from "../shared/values.ts";
import { chartProblems } from "./releases/check_chart.ts";
import {
  type ChartFacts,
  type ChartPlan,
  isUnsupported,
  jobFailedEvent,
  NOTHING,
  obstacleOf,
  type PlanSettings,
  REQUEUE_MS,
  resume,
  retrying,
  unchanged,
  warningOf,
  withAttempt,
} from "./chart_plan.ts";
import { desiredJob } from "./jobs/desired_job.ts";
import { desiredObjects } from "./jobs/desired_objects.ts";
import { chartKey } from "./helm_chart.ts";
import { type Obstacle, podsLeft } from "./jobs/job_obstacle.ts";
import { attemptOf, hashOf, isComplete, isFailed, isHelmRunning, retryDelayMs } from "./jobs/job_state.ts";
import { jobName } from "./names.ts";

/** For charts that can't be uninstalled. */
export const HOW_TO_LEAVE_RELEASE = "To leave the release behind, remove the finalizer";

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
  const wait = (problem: string, againMs: number, obstacle?: Obstacle): ChartPlan =>
    unchanged({
      objects,
      events: obstacle === undefined ? [] : [warningOf(obstacle)],
      state: { ...uninstalling, ...present({ problem: problem || undefined, obstacle }) },
      againMs,
    });
  if (installJob !== undefined && !isComplete(installJob) && !isFailed(installJob)) {
    const isLeaving = installJob.metadata?.deletionTimestamp !== undefined;
    if (isLeaving || isHelmRunning(installJob, facts.pods)) {
      return wait("", REQUEUE_MS, podsLeft(installJob, facts).obstacle);
    }
    // Its next try would find no release any more, and install the chart again after it is gone.
    return { ...wait("", REQUEUE_MS), outcome: "applied", job: { step: "remove", job: installJob } };
  }
  const revision = release?.revision ?? 0;
  const wanted = desiredJob({ ...facts, config: undefined, revision }, { action: "delete", settings });
  const apply = (attempt: number): ChartPlan => ({
    outcome: "applied",
    objects,
    job: { step: job === undefined ? "create" : "replace", job: withAttempt(wanted.job, attempt) },
    events: [{ type: "Normal", reason: "RemoveJob", message: `Uninstalling HelmChart using Job ${jobKey} ` }],
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
    return { ...wait(problem, delayMs), events: [jobFailedEvent(problem)] };
  }
  if (job.spec?.suspend === true) return resume(job, { objects, state: uninstalling });
  if (hashOf(job) !== wanted.hash && !isHelmRunning(job, facts.pods)) return apply(0);
  const { obstacle } = obstacleOf(job, facts);
  const waiting = wait(facts.failure, REQUEUE_MS, obstacle);
  return obstacle === undefined ? { ...waiting, events: retrying(facts.failure) } : waiting;
}
