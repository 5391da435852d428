// The status of a HelmChart. Pure. Facts: helm-controller v0.17.9 has JobCreated and Failed, without times; `Deployed` is ours: it
// says whether the release is what the chart asks for, and if not, why, in helm's own words.
import type { HelmChart, HelmChartCondition, HelmChartStatus } from "../helm_chart.ts";
import { cutToLength } from "../jobs/job_failure.ts";
import type { Obstacle } from "../jobs/job_obstacle.ts";

/** Where a chart is on its way. */
export type ChartState =
  | {
    readonly phase: "applying";
    readonly job: string;
    readonly namespace: string;
    readonly problem?: string;
    readonly obstacle?: Obstacle | undefined;
  }
  | { readonly phase: "waiting"; readonly reason: string; readonly message: string }
  | { readonly phase: "deployed"; readonly revision: number }
  | { readonly phase: "job-failed"; readonly message: string }
  | { readonly phase: "not-deployed"; readonly message: string; readonly isFinal: boolean }
  | { readonly phase: "unsupported" }
  | { readonly phase: "refused"; readonly message: string }
  | {
    readonly phase: "uninstalling";
    readonly job: string;
    readonly problem?: string;
    readonly obstacle?: Obstacle | undefined;
  };

/** As helm-controller says it. */
export const JOB_FAILED_MESSAGE = "Job has reached configured number of retries without succeeding";

/** The status to write for `state`; what a state does not speak of stays as it is. */
export function helmStatus(chart: HelmChart, state: ChartState): HelmChartStatus {
  const before = chart.status ?? {};
  switch (state.phase) {
    case "applying":
      return withConditions({ ...before, jobName: state.job }, [
        created(`Applying HelmChart using Job ${state.namespace}/${state.job}`),
        notFailed(),
        progress(state),
      ]);
    case "waiting":
      return withConditions(before, [deployed("False", state.reason, state.message)]);
    case "deployed":
      return withConditions(before, [notFailed(), deployed("True", "Deployed", `Release revision ${state.revision}`)]);
    case "job-failed":
      return withConditions(before, [
        created(messageOf(before, "JobCreated")),
        failed("Job failed", state.message === "" ? JOB_FAILED_MESSAGE : `${JOB_FAILED_MESSAGE}: ${state.message}`),
        deployed("False", "JobFailed", state.message),
      ]);
    case "not-deployed":
      return withConditions(before, [
        ...(state.isFinal ? [failed("Release failed", state.message)] : []),
        deployed("False", state.isFinal ? "ReleaseFailed" : "Retrying", state.message),
      ]);
    case "unsupported":
      return withConditions(before, [
        { type: "JobCreated", status: "False" },
        failed("Unsupported version", "Only Helm v3 charts are supported"),
        deployed("False", "UnsupportedVersion", ""),
      ]);
    case "refused":
      return withConditions(before, [
        { type: "JobCreated", status: "False" },
        failed("Job create failed", state.message),
        deployed("False", "JobCreateFailed", state.message),
      ]);
    case "uninstalling":
      return withConditions(
        { ...before, jobName: state.job },
        [
          ...(state.problem === undefined ? [] : [failed("Uninstall failed", state.problem)]),
          ...uninstallProgress(before, state.obstacle),
        ],
      );
  }
}

function progress({ problem, obstacle }: Extract<ChartState, { phase: "applying" }>): HelmChartCondition {
  if (obstacle !== undefined) return deployed("False", obstacle.reason, obstacle.message);
  return problem === undefined ? deployed("False", "Applying", "") : deployed("False", "Retrying", problem);
}

/** What keeps the uninstall, until nothing does. */
function uninstallProgress(before: HelmChartStatus, obstacle: Obstacle | undefined): readonly HelmChartCondition[] {
  if (obstacle !== undefined) return [deployed("False", obstacle.reason, obstacle.message)];
  const isSaid = before.conditions?.some(({ type, status }) => type === "Deployed" && status === "False") ?? false;
  return isSaid ? [deployed("False", "Uninstalling", "")] : [];
}

/** Whether writing `wanted` over `seen` changes something. */
export function isSameStatus(seen: HelmChartStatus | undefined, wanted: HelmChartStatus): boolean {
  return JSON.stringify(ordered(seen)) === JSON.stringify(ordered(wanted));
}

function ordered(status: HelmChartStatus | undefined): unknown {
  return [
    status?.jobName ?? "",
    (status?.conditions ?? []).map((
      { type, status: value, reason = "", message = "" },
    ) => [type, value, reason, message]),
  ];
}

function withConditions(status: HelmChartStatus, changed: readonly HelmChartCondition[]): HelmChartStatus {
  const before = status.conditions ?? [];
  const kept = before.map((condition) => changed.find(({ type }) => type === condition.type) ?? condition);
  const added = changed.filter(({ type }) => !before.some((condition) => condition.type === type));
  const conditions = [...kept, ...added];
  return conditions.length === 0 ? status : { ...status, conditions };
}

function created(message: string): HelmChartCondition {
  return { type: "JobCreated", status: "True", reason: "Job created", ...(message === "" ? {} : { message }) };
}

function notFailed(): HelmChartCondition {
  return { type: "Failed", status: "False" };
}

function failed(reason: string, message: string): HelmChartCondition {
  return { type: "Failed", status: "True", reason, message: cutToLength(message) };
}

function deployed(status: "True" | "False", reason: string, message: string): HelmChartCondition {
  return { type: "Deployed", status, reason, ...(message === "" ? {} : { message: cutToLength(message) }) };
}

function messageOf(status: HelmChartStatus, type: string): string {
  return status.conditions?.find((condition) => condition.type === type)?.message ?? "";
}
