// Reconciles one HelmChart: gathers what is seen, asks the plan, carries it out. Events and status follow the writes they speak of,
// and are written only when something changed.
import { isAlreadyExists, isInvalid, isNamespaceTerminating, isNotFound, isRefusal } from "../kube/errors.ts";
import { objectKey } from "../kube/request_path.ts";
import { keyOf, removeObject } from "../kube/one_object.ts";
import { JOBS } from "../kube/resources.ts";
import { errorMessage } from "../shared/errors.ts";
import { ChartLeaving, chartReference, otherNamespaceMessage, removeForeignBinding } from "./chart_leaving.ts";
import { type ChartFacts, type ChartPlan, planLeaving, type PlanSettings, withAttempt } from "./chart_plan.ts";
import { HOW_TO_LEAVE_RELEASE, planDelete } from "./delete_plan.ts";
import { planInstall } from "./install_plan.ts";
import type { ChartView } from "./chart_view.ts";
import { type ChartScope, whyIgnored } from "./releases/check_chart.ts";
import { marked } from "./jobs/desired_objects.ts";
import { chartKey, HELM_CHARTS, type HelmChart, type HelmChartConfig } from "./helm_chart.ts";
import type { HelmOptions } from "./helm_options.ts";
import { type ChartState, helmStatus, isSameStatus } from "./releases/helm_status.ts";
import { ClusterNames } from "./jobs/no_proxy.ts";
import { JobFailures } from "./jobs/job_log.ts";
import { attemptOf, hashOf, isComplete, resumePatch } from "./jobs/job_state.ts";
import {
  CONTROLLER_NAME,
  DEPLOYED_ANNOTATION,
  FINALIZER,
  type JobAction,
  jobName,
  MANAGED_BY_ANNOTATION,
} from "./names.ts";
import { readRelease } from "./releases/read_release.ts";
import type { SecretWatches } from "./secret_watches.ts";
import { SetWriter } from "./jobs/set_writer.ts";
import { withStaticChart } from "./releases/static_charts.ts";
import { MAX_SECRETS, watchedSecrets } from "./values/values_files.ts";
import { prepareValues } from "./values/prepare_values.ts";

/** What {@linkcode ChartReconciler} works with. */
export interface ChartReconcilerParts extends HelmOptions {
  readonly view: ChartView;
  readonly secrets: SecretWatches;
}

/** A chart, as it is claimed, and what is done about it. */
interface Work {
  readonly key: string;
  readonly chart: HelmChart;
  readonly action: JobAction;
  readonly signal: AbortSignal;
}

/** Brings charts to what is wanted, each by itself. */
export class ChartReconciler {
  readonly #parts: ChartReconcilerParts;
  readonly #settings: PlanSettings;
  readonly #scope: ChartScope;
  readonly #writer: SetWriter;
  readonly #failures: JobFailures;
  readonly #names: ClusterNames;
  /** How often a configuration was tried, while its next Job waits for the last one to go. */
  readonly #attempts = new Map<string, { readonly hash: string; readonly attempt: number }>();
  readonly #leaving: ChartLeaving;

  constructor(parts: ChartReconcilerParts) {
    const { client, view, logger, options, env } = parts;
    this.#parts = parts;
    this.#scope = { controllerName: CONTROLLER_NAME, namespaces: options.namespaces ?? [] };
    this.#settings = {
      defaultImage: options.helmJobImage,
      clusterRole: options.clusterRole ?? "cluster-admin",
      env,
    };
    this.#writer = new SetWriter(client, view);
    this.#failures = new JobFailures(client, logger);
    this.#leaving = new ChartLeaving({ ...parts, scope: this.#scope });
    this.#names = new ClusterNames({ ...parts, clusterDomain: options.clusterDomain ?? "cluster.local" });
  }

  /** Reconciles the chart `key`, `namespace/name`; returns after how many milliseconds to come again. */
  async reconcile(key: string, signal: AbortSignal): Promise<number | undefined> {
    const { view } = this.#parts;
    const seen = view.charts.objects.get(key);
    if (seen === undefined) {
      this.#attempts.delete(key);
      this.#leaving.forget(key);
      await this.#parts.secrets.secretsFor(key, { namespace: "", names: [] });
      this.#failures.keepOnly(view.jobs.objects.values());
      return undefined;
    }
    const ignored = whyIgnored(seen, this.#scope);
    if (ignored !== undefined) {
      const againMs = await this.#leaving.leave(seen, ignored, signal);
      if (ignored === "OtherNamespace" && seen.metadata?.deletionTimestamp === undefined) {
        await this.#sayRefused(seen, otherNamespaceMessage(this.#scope), signal);
      }
      return againMs;
    }
    const isDeleting = seen.metadata?.deletionTimestamp !== undefined;
    if (isDeleting && (!seen.metadata?.finalizers?.includes(FINALIZER) || this.#leaving.isGone(seen))) return undefined;
    const claimed = await this.#claim(seen, signal);
    try {
      return await this.#reconcile(key, claimed, signal);
    } catch (error) {
      if (isDeleting && isNamespaceTerminating(error)) {
        await this.#leaving.sayReleaseStays(claimed, signal);
        await this.#leaving.letGo(claimed, signal);
        return undefined;
      }
      if (isRefusal(error)) await this.#sayRefused(claimed, errorMessage(error), signal);
      throw error;
    }
  }

  async #reconcile(key: string, claimed: HelmChart, signal: AbortSignal): Promise<number | undefined> {
    const action: JobAction = claimed.metadata?.deletionTimestamp === undefined ? "install" : "delete";
    const chart = await withStaticChart(claimed, this.#parts.options.dataDir);
    const { namespace, name } = chartKey(chart);
    const { view } = this.#parts;
    const installJob = view.jobs.objects.get(`${namespace}/${jobName(name, "install")}`);
    const deleteJob = view.jobs.objects.get(`${namespace}/${jobName(name, "delete")}`);
    const job = action === "install" ? installJob : deleteJob;
    const config: HelmChartConfig | undefined = view.configs.objects.get(key);
    await prepareValues({ chart, config }, signal);
    const pods = [...view.pods.objects.values()];
    const nowMs = this.#parts.clock.now();
    if (job?.metadata?.deletionTimestamp !== undefined) {
      // Its pods go first. Its end is a change that brings us back.
      const leaving = planLeaving({ chart, job, pods, nowMs }, action);
      return await this.#carryOut(leaving, { key, chart: claimed, action, signal });
    }
    const release = await readRelease(this.#parts.client, chart, signal);
    const isDone = job !== undefined && isComplete(job) &&
      (action === "install" ? release?.status === "deployed" : !release);
    const facts: ChartFacts = {
      chart,
      config,
      secrets: await this.#secrets(key, { chart, config }),
      direct: await this.#names.entries(signal),
      release,
      installJob,
      deleteJob,
      pods,
      failure: isDone ? "" : await this.#failures.of(job, pods, signal),
      nowMs,
    };
    const plan = action === "install" ? planInstall(facts, this.#settings) : planDelete(facts, this.#settings);
    return await this.#carryOut(plan, { key, chart: claimed, action, signal });
  }

  async #carryOut(
    plan: ChartPlan,
    work: Work,
  ): Promise<number | undefined> {
    const { chart, action, signal } = work;
    const { events } = this.#parts;
    const reference = chartReference(chart);
    if (action === "install") {
      await removeForeignBinding(this.#parts.client, chart, { bindings: this.#parts.view.bindings.objects, signal });
    }
    for (const object of plan.objects) await this.#writer.ensure(marked(object, chart, action), signal);
    const isChanged = await this.#stepJob(plan, work);
    if (plan.outcome === "finalizer-removed") {
      for (const event of plan.events) events.record(reference, event);
      await this.#leaving.letGo(chart, signal);
      return undefined;
    }
    const isNoted = plan.note !== undefined && await this.#note(chart, plan.note, signal);
    const isSaid = plan.state !== undefined && await this.#writeStatus(chart, plan.state, signal);
    const isWrite = plan.job.step !== "none";
    if (isWrite ? isChanged : isSaid || isNoted) { for (const event of plan.events) events.record(reference, event); }
    return plan.againMs;
  }

  /** Whether something was written of which an Event should speak. */
  async #stepJob(
    { job: step }: ChartPlan,
    { key, chart, action, signal }: Work,
  ): Promise<boolean> {
    if (step.step === "none") return false;
    const { client, view } = this.#parts;
    const jobKey = keyOf(step.job);
    if (step.step === "resume") {
      try {
        view.jobs.merge([await client.patch(JOBS, jobKey, { type: "json", body: resumePatch() }, { signal })]);
        return true;
      } catch (error) {
        // Someone else was first, or it is gone: the next change tells.
        if (isInvalid(error) || isNotFound(error)) return false;
        throw error;
      }
    }
    const hash = hashOf(step.job);
    if (step.step === "replace" || step.step === "remove") {
      if (step.step === "replace") this.#attempts.set(key, { hash, attempt: attemptOf(step.job) });
      const uid = view.jobs.objects.get(objectKey(step.job))?.metadata?.uid;
      // In the foreground: the Job goes after its pods, so that never two run at a time.
      await removeObject(client, JOBS, { key: jobKey, propagationPolicy: "Foreground", signal, uid });
      return false;
    }
    const before = this.#attempts.get(key);
    const attempt = before?.hash === hash ? before.attempt : attemptOf(step.job);
    try {
      view.jobs.merge([await client.create(JOBS, marked(withAttempt(step.job, attempt), chart, action), { signal })]);
      this.#attempts.delete(key);
      return true;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      return false;
    }
  }

  /** Takes a chart that no one manages, and holds it until its release is uninstalled. */
  async #claim(chart: HelmChart, signal: AbortSignal): Promise<HelmChart> {
    const { metadata } = chart;
    const isManaged = metadata?.annotations?.[MANAGED_BY_ANNOTATION] === this.#scope.controllerName;
    const finalizers = metadata?.finalizers ?? [];
    const isHeld = finalizers.includes(FINALIZER) || metadata?.deletionTimestamp !== undefined;
    if (isManaged && isHeld) return chart;
    const body = {
      metadata: {
        resourceVersion: metadata?.resourceVersion,
        ...(isManaged ? {} : { annotations: { [MANAGED_BY_ANNOTATION]: this.#scope.controllerName } }),
        ...(isHeld ? {} : { finalizers: [...finalizers, FINALIZER] }),
      },
    };
    const claimed = await this.#parts.client.patch(HELM_CHARTS, chartKey(chart), { type: "merge", body }, { signal });
    this.#parts.view.charts.merge([claimed]);
    return claimed;
  }

  async #secrets(
    key: string,
    { chart, config }: Pick<ChartFacts, "chart" | "config">,
  ): Promise<ChartFacts["secrets"]> {
    const { namespace } = chartKey(chart);
    // Of more than these the plan refuses the chart.
    const names = watchedSecrets({ chart, config }).slice(0, MAX_SECRETS);
    return await this.#parts.secrets.secretsFor(key, { namespace, names });
  }

  async #sayRefused(chart: HelmChart, refusal: string, signal: AbortSignal): Promise<void> {
    const isDeleting = chart.metadata?.deletionTimestamp !== undefined;
    const message = isDeleting ? `${refusal}; ${HOW_TO_LEAVE_RELEASE}` : refusal;
    const state: ChartState = isDeleting
      ? { phase: "uninstalling", job: jobName(chartKey(chart).name, "delete"), problem: message }
      : { phase: "refused", message };
    if (!await this.#writeStatus(chart, state, signal)) return;
    this.#parts.events.record(chartReference(chart), { type: "Warning", reason: "CreateJobFailed", message });
  }

  /** Writes down what is deployed, where the release can't tell; whether it was not written yet. */
  async #note(chart: HelmChart, note: string, signal: AbortSignal): Promise<boolean> {
    if (chart.metadata?.annotations?.[DEPLOYED_ANNOTATION] === note) return false;
    const body = { metadata: { annotations: { [DEPLOYED_ANNOTATION]: note } } };
    const noted = await this.#parts.client.patch(HELM_CHARTS, chartKey(chart), { type: "merge", body }, { signal });
    this.#parts.view.charts.merge([noted]);
    return true;
  }

  /** Whether the status was another one. */
  async #writeStatus(chart: HelmChart, state: ChartState, signal: AbortSignal): Promise<boolean> {
    const status = helmStatus(chart, state);
    if (isSameStatus(chart.status, status)) return false;
    const patch = { type: "merge", body: { status } } as const;
    const written = await this.#parts.client.patch(HELM_CHARTS, chartKey(chart), patch, {
      subresource: "status",
      signal,
    });
    this.#parts.view.charts.merge([written]);
    return true;
  }
}
