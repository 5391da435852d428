// Charts and settings for the tests of the Helm controller.
import type { ChartFacts, PlanSettings } from "../../../../core/helm/chart_plan.ts";
import type { HelmChart, HelmChartSpec } from "../../../../core/helm/helm_chart.ts";
import type { Job, Pod } from "../../../../core/kube/types.ts";

export const SETTINGS: PlanSettings = {
  defaultImage: "rancher/klipper-helm:latest",
  env: {},
  clusterRole: "cluster-admin",
};

export const NOW_MS = Date.UTC(2026, 0, 1, 12);

/** A chart from a repository. */
export function chartWith(spec: HelmChartSpec = {}, metadata: HelmChart["metadata"] = {}): HelmChart {
  return {
    apiVersion: "helm.cattle.io/v1",
    kind: "HelmChart",
    metadata: { name: "app", namespace: "kube-system", uid: "chart-uid", ...metadata },
    spec: { chart: "app", repo: "https://charts.example.com", ...spec },
  };
}

/** What is seen of a chart that is new. */
export function factsWith(facts: Partial<ChartFacts> = {}): ChartFacts {
  return {
    chart: chartWith(),
    secrets: new Map(),
    release: undefined,
    pods: [],
    failure: "",
    nowMs: NOW_MS,
    ...facts,
  };
}

/** `job` as its controller has it after a condition, `agoMs` ago. */
export function jobAfter(job: Job, condition: "Suspended" | "Complete" | "Failed" | "Running", agoMs = 0): Job {
  const lastTransitionTime = new Date(NOW_MS - agoMs).toISOString();
  const spec = { ...job.spec, template: job.spec?.template ?? {}, suspend: condition === "Suspended" };
  const status = condition === "Running"
    ? { active: 1 }
    : { conditions: [{ type: condition, status: "True", lastTransitionTime }] };
  return { ...job, metadata: { ...job.metadata, uid: "job-uid" }, spec, status };
}

/** A pod of {@linkcode jobAfter}'s Job, with its container in `state`. */
export function podIn(state: "running" | "crashed" | "failed"): Pod {
  const terminated = { exitCode: 1, finishedAt: "2026-01-01T11:59:00Z" };
  const common = { name: "helm", image: "", imageID: "", ready: false, restartCount: 1 };
  const container = state === "running"
    ? { ...common, state: { running: {} } }
    : state === "crashed"
    ? { ...common, state: { waiting: { reason: "CrashLoopBackOff" } }, lastState: { terminated } }
    : { ...common, state: { terminated } };
  const owner = { apiVersion: "batch/v1", kind: "Job", name: "helm-install-app", uid: "job-uid", controller: true };
  return {
    metadata: { name: "helm-install-app-x", namespace: "kube-system", ownerReferences: [owner] },
    status: { phase: state === "failed" ? "Failed" : "Running", containerStatuses: [container] },
  } as Pod;
}
