// The plan for a chart that is to be there. Pure: the reconciler reads and carries out.
import { conditionOf } from "../kube/conditions.ts";
import { present } from "../shared/values.ts";
import { chartProblems, chartWarnings } from "./releases/check_chart.ts";
import { releaseHash } from "./values/config_hash.ts";
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
  waitForPods,
  warningOf,
  withAttempt,
} from "./chart_plan.ts";
import { desiredJob } from "./jobs/desired_job.ts";
import { desiredObjects, type SetObject } from "./jobs/desired_objects.ts";
import { chartKey, type HelmChart } from "./helm_chart.ts";
import type { Job } from "../kube/types.ts";
import { type ChartState, JOB_FAILED_MESSAGE } from "./releases/helm_status.ts";
import { podsLeft } from "./jobs/job_obstacle.ts";
import { attemptOf, hashOf, isComplete, isFailed, isHelmRunning, retryDelayMs } from "./jobs/job_state.ts";
import { releasePolicy } from "./values/merge_config.ts";
import { CHART_URL_ANNOTATION, CONFIG_HASH_ANNOTATION, jobName } from "./names.ts";
import { deployedNote, isDeployedFrom, isMadeBy } from "./releases/release.ts";
import { missingSecrets } from "./values/values_files.ts";

const HOW_TO_LEAVE_ABORT = 'failurePolicy is "abort": roll back or uninstall the release, or choose another policy';
const LABELLING_IMAGE = "rancher/klipper-helm:v0.13.3-build20260727 or a newer one (--helm-job-image, spec.jobImage)";

/** The plan for a chart that is to be there. */
export function planInstall(facts: ChartFacts, settings: PlanSettings): ChartPlan {
  const { chart, config, installJob: job, release } = facts;
  const refusal = refuse(facts);
  if (refusal !== undefined) return refusal;
  const { namespace, name } = chartKey(chart);
  const jobKey = `${namespace}/${jobName(name, "install")}`;
  const objects = desiredObjects({ chart, config }, { action: "install", clusterRole: settings.clusterRole });
  const wanted = desiredJob({ ...facts, revision: release?.revision ?? 0 }, { action: "install", settings });
  const configHash = releaseHash(wanted.hash);
  const isSameJob = job !== undefined && hashOf(job) === wanted.hash;
  // Another try of what failed before is said to be one, from its beginning.
  const applying: ChartState = {
    phase: "applying",
    job: jobName(name, "install"),
    namespace,
    ...(isSameJob && facts.failure !== "" ? { problem: facts.failure } : {}),
  };
  const apply = (attempt: number): ChartPlan => ({
    outcome: "applied",
    objects,
    job: { step: job === undefined ? "create" : "replace", job: withAttempt(wanted.job, attempt) },
    events: [{
      type: "Normal",
      reason: "ApplyJob",
      message: `Applying HelmChart from ${withoutPassword(sourceDescription(chart))} using Job ${jobKey} `,
      annotations: { [CONFIG_HASH_ANNOTATION]: `SHA256=${wanted.hash}` },
    }, ...chartWarnings(chart, config).map((message) => warningOf({ reason: "IneffectiveSetting", message }))],
    state: applying,
  });
  // The release says it, not the Job: a finished Job that someone cleaned up is no reason to upgrade.
  const isAtRest = job === undefined || isComplete(job);
  if (release !== undefined && isAtRest && isDeployedFrom(configHash, release, chart)) {
    return unchanged({ objects, state: { phase: "deployed", revision: release.revision } });
  }
  if (job === undefined) return apply(0);
  if (!isSameJob) {
    if (job.spec?.suspend !== true && isHelmRunning(job, facts.pods)) {
      // Killed, helm leaves a release that is locked.
      const message = `Waiting for the running Job ${jobKey} before the change is applied`;
      return { ...waitForPods(podsLeft(job, facts).obstacle, message), objects, againMs: REQUEUE_MS };
    }
    return apply(0);
  }
  if (isFailed(job)) {
    const events = [jobFailedEvent(sentences([JOB_FAILED_MESSAGE, facts.failure], ": "))];
    return unchanged({ objects, events, state: { phase: "job-failed", message: facts.failure } });
  }
  if (job.spec?.suspend === true && !isComplete(job)) return resume(job, { objects, state: applying });
  if (!isComplete(job)) {
    const isAborted = release?.status === "failed" &&
      releasePolicy(chart, { action: "install", config }).failurePolicy === "abort";
    const failure = sentences([facts.failure, isAborted ? HOW_TO_LEAVE_ABORT : ""]);
    const { obstacle, againMs } = obstacleOf(job, facts, missingSecrets(facts));
    return unchanged(present({
      objects,
      events: obstacle === undefined ? retrying(failure) : [warningOf(obstacle)],
      state: { ...applying, ...present({ problem: failure || undefined, obstacle }) },
      againMs,
    }));
  }
  return afterComplete({ facts, job, objects, apply });
}

function refuse({ chart, config }: ChartFacts): ChartPlan | undefined {
  const { helmVersion } = chart.spec ?? {};
  const refused = { outcome: "refused", objects: [], job: NOTHING } as const;
  if (isUnsupported(helmVersion)) {
    const message = `Unsupported Helm version ${helmVersion}: only v3 charts are supported`;
    const events = [warningOf({ reason: "UnsupportedVersion", message })];
    return { ...refused, events, state: { phase: "unsupported" } };
  }
  const problems = chartProblems(chart, config);
  if (problems.length === 0) return undefined;
  const message = problems.join("; ");
  return { ...refused, events: [warningOf({ reason: "InvalidChart", message })], state: { phase: "refused", message } };
}

interface Completed {
  readonly facts: ChartFacts;
  readonly job: Job;
  readonly objects: readonly SetObject[];
  readonly apply: (attempt: number) => ChartPlan;
}

/** The Job ended without an error, and yet the release does not say that it is what the chart asks for. */
function afterComplete({ facts, job, objects, apply }: Completed): ChartPlan {
  const { chart, config, release } = facts;
  const { name } = chartKey(chart);
  const configHash = releaseHash(hashOf(job));
  const isOwn = release !== undefined && (release.configHash === configHash || isMadeBy(job, release));
  if (isOwn && release.status === "deployed") {
    const message = `Image "${imageOf(job)}" puts no hash of the configuration on releases, it is too old. Release ` +
      `"${name}" revision ${release.revision} counts as deployed by its Job; use ${LABELLING_IMAGE}`;
    return unchanged({
      objects,
      events: [warningOf({ reason: "ImageTooOld", message })],
      state: { phase: "deployed", revision: release.revision },
      note: deployedNote(release, configHash),
    });
  }
  const what = release === undefined
    ? `The Job ended without an error, but there is no release "${name}"`
    : `The Job ended without an error, but release "${name}" revision ${release.revision} is "${release.status}"`;
  const policy = releasePolicy(chart, { action: "install", config }).failurePolicy;
  const isFinal = isOwn && release.status === "failed" && policy === "abort";
  // What was said with the log at hand is not taken back when the log is gone.
  const said = conditionOf(chart, "Deployed")?.message ?? "";
  const message = facts.failure === "" && said.startsWith(what)
    ? said
    : sentences([`${what}${facts.failure === "" ? "" : `: ${facts.failure}`}`, isFinal ? HOW_TO_LEAVE_ABORT : ""]);
  const delayMs = isFinal ? 0 : retryDelayMs(job, facts.nowMs);
  if (!isFinal && delayMs <= 0) return apply(attemptOf(job) + 1);
  return unchanged({
    objects,
    events: [jobFailedEvent(message)],
    state: { phase: "not-deployed", message, isFinal },
    ...(isFinal ? {} : { againMs: delayMs }),
  });
}

function sentences(parts: readonly string[], between = "; "): string {
  return parts.filter((part) => part !== "").join(between);
}

function imageOf(job: Job): string {
  return job.spec?.template.spec?.containers[0]?.image ?? "";
}

/** Events are read by more people than charts. */
function withoutPassword(text: string): string {
  return text.replaceAll(/(:\/\/[^\s/:@]*:)[^\s/]+@/g, "$1***@");
}

/** One phrase in the words of helm-controller, for "Applying HelmChart from …". */
export function sourceDescription(chart: HelmChart): string {
  const { chart: name = "", chartContent, repo = "", version } = chart.spec ?? {};
  const url = chart.metadata?.annotations?.[CHART_URL_ANNOTATION];
  if (chartContent) return `inline spec.chartContent${url ? ` from ${url}` : ""}`;
  if (name.startsWith("oci://")) {
    return version ? `version ${version} from OCI registry ${name}` : `latest stable version from OCI registry ${name}`;
  }
  if (/^https?:\/\//.test(name)) return name;
  return version
    ? `${name} version ${version} from chart repository ${repo}`
    : `latest stable version of ${name} from chart repository ${repo}`;
}
