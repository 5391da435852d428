// One look at one HelmChart: gathers what is seen, asks the plan, carries it out. Events and status follow the writes they speak of,
// and are written only when something changed.
import type { KubeList, ResourceType } from "../kube/contract.ts";
import { isAlreadyExists, isInvalid, isNamespaceTerminating, isNotFound, isRefusal } from "../kube/errors.ts";
import { referenceTo } from "../kube/events.ts";
import { CLUSTER_ROLE_BINDINGS, CONFIG_MAPS, JOBS, SECRETS, SERVICE_ACCOUNTS } from "../kube/resources.ts";
import type { Job, KubeObject } from "../kube/types.ts";
import { errorMessage } from "../shared/errors.ts";
import {
  type ChartFacts,
  type ChartPlan,
  HOW_TO_LEAVE_RELEASE,
  planDelete,
  planInstall,
  planLeaving,
  type PlanSettings,
} from "./chart_plan.ts";
import type { ChartView } from "./chart_view.ts";
import { whyIgnored } from "./releases/check_chart.ts";
import { marked } from "./jobs/desired_objects.ts";
import { chartKey, HELM_CHARTS, type HelmChart, type HelmChartConfig } from "./helm_chart.ts";
import type { HelmOptions } from "./helm_options.ts";
import { type ChartState, helmStatus, isSameStatus } from "./releases/helm_status.ts";
import { JobFailures } from "./jobs/job_log.ts";
import { attemptOf, hashOf, isComplete, resumePatch } from "./jobs/job_state.ts";
import {
  ATTEMPT_ANNOTATION,
  bindingName,
  DEFAULT_CONTROLLER_NAME,
  FINALIZER,
  type JobAction,
  jobName,
  MANAGED_BY_ANNOTATION,
  RELEASE_SECRET_TYPE,
  serviceAccountName,
  valuesSecretName,
} from "./names.ts";
import { latestRelease, type Release, releaseSelector } from "./releases/release.ts";
import type { SecretWatches } from "./secret_watches.ts";
import { removeObject, SetWriter } from "./values/set_writer.ts";
import { StaticCharts } from "./releases/static_charts.ts";
import { mountedSecrets } from "./values/values_files.ts";
import { ValuesWarnings } from "./values/values_warnings.ts";

/** Longest release name in a label. */
const MAX_LABEL_LENGTH = 63;

/** What {@linkcode ChartPasses} works with. */
export interface ChartPassParts extends HelmOptions {
  readonly view: ChartView;
  readonly secrets: SecretWatches;
}

/** Looks at charts, one after the other. */
export class ChartPasses {
  readonly #parts: ChartPassParts;
  readonly #settings: PlanSettings;
  readonly #controllerName: string;
  readonly #writer: SetWriter;
  readonly #failures: JobFailures;
  readonly #staticCharts: StaticCharts;
  readonly #warnings: ValuesWarnings;
  /** How often a configuration was tried, while its next Job waits for the last one to go. */
  readonly #attempts = new Map<string, { readonly hash: string; readonly attempt: number }>();
  /**
   * Uids of charts that were let go. The watch still shows them for a moment, and what is removed with them brings them back here: to make
   * it anew would leave a ClusterRoleBinding that nobody owns.
   */
  readonly #released = new Map<string, string>();

  constructor(parts: ChartPassParts) {
    const { client, view, logger, options, env, events } = parts;
    this.#parts = parts;
    this.#controllerName = options.controllerName ?? DEFAULT_CONTROLLER_NAME;
    this.#settings = {
      defaultImage: options.helmJobImage,
      clusterRole: options.clusterRole ?? "cluster-admin",
      apiPort: options.apiPort ?? 6443,
      env,
    };
    this.#writer = new SetWriter(client, view);
    this.#failures = new JobFailures(client, logger);
    this.#staticCharts = new StaticCharts(options.dataDir);
    this.#warnings = new ValuesWarnings(events);
  }

  /** Looks at the chart `key`, `namespace/name`; returns after how many milliseconds to look again. */
  async run(key: string, signal: AbortSignal): Promise<number | undefined> {
    const { view } = this.#parts;
    const seen = view.charts.objects.get(key);
    if (seen === undefined) {
      this.#attempts.delete(key);
      this.#released.delete(key);
      await this.#parts.secrets.secretsFor(key, { namespace: "", names: [] });
      this.#failures.keepOnly(new Set([...view.jobs.objects.values()].map(({ metadata }) => metadata?.uid ?? "")));
      return undefined;
    }
    if (whyIgnored(seen, this.#controllerName) !== undefined) return undefined;
    const isDeleting = seen.metadata?.deletionTimestamp !== undefined;
    const isReleased = !seen.metadata?.finalizers?.includes(FINALIZER) || this.#released.get(key) === seen.metadata.uid;
    if (isDeleting && isReleased) return undefined;
    const claimed = await this.#claim(seen, signal);
    try {
      return await this.#pass(key, claimed, signal);
    } catch (error) {
      if (isDeleting && isNamespaceTerminating(error)) {
        // The binding is in no namespace and has no owner: nothing else would take it away.
        await this.#removeSet(claimed, signal);
        await this.#dropFinalizer(claimed, signal);
        return undefined;
      }
      if (isRefusal(error)) await this.#sayRefused(claimed, errorMessage(error), signal);
      throw error;
    }
  }

  async #pass(key: string, claimed: HelmChart, signal: AbortSignal): Promise<number | undefined> {
    const action: JobAction = claimed.metadata?.deletionTimestamp === undefined ? "install" : "delete";
    const chart = await this.#staticCharts.resolve(claimed);
    const { namespace, name } = chartKey(chart);
    const { view } = this.#parts;
    const installJob = view.jobs.objects.get(`${namespace}/${jobName(name, "install")}`);
    const deleteJob = view.jobs.objects.get(`${namespace}/${jobName(name, "delete")}`);
    const job = action === "install" ? installJob : deleteJob;
    const config: HelmChartConfig | undefined = view.configs.objects.get(key);
    const pods = [...view.pods.objects.values()];
    const nowMs = this.#parts.clock.now();
    if (job?.metadata?.deletionTimestamp !== undefined) {
      // Its pods go first. Its end is a change that brings us back.
      const leaving = planLeaving({ chart, job, pods, nowMs }, action);
      return await this.#carryOut(leaving, { key, chart: claimed, action, signal });
    }
    const release = await this.#release(chart, signal);
    const isDone = job !== undefined && isComplete(job) &&
      (action === "install" ? release?.status === "deployed" : !release);
    const facts: ChartFacts = {
      chart,
      config,
      secrets: await this.#secrets(key, { chart, config }),
      release,
      installJob,
      deleteJob,
      pods,
      failure: isDone ? "" : await this.#failures.of(job, pods, signal),
      nowMs,
    };
    const plan = action === "install" ? planInstall(facts, this.#settings) : planDelete(facts, this.#settings);
    if (action === "install") this.#warnings.say(chart, config);
    return await this.#carryOut(plan, { key, chart: claimed, action, signal });
  }

  async #carryOut(
    plan: ChartPlan,
    { key, chart, action, signal }: {
      readonly key: string;
      readonly chart: HelmChart;
      readonly action: JobAction;
      readonly signal: AbortSignal;
    },
  ): Promise<number | undefined> {
    const { events } = this.#parts;
    const reference = referenceTo({ apiVersion: "helm.cattle.io/v1", kind: "HelmChart", ...chart });
    for (const object of plan.objects) await this.#writer.ensure(marked(object, chart, action), signal);
    const isChanged = await this.#stepJob(plan, { key, chart, action, signal });
    if (plan.outcome === "finalizer-removed") {
      await this.#removeSet(chart, signal);
      for (const event of plan.events) events.record(reference, event);
      await this.#dropFinalizer(chart, signal);
      return undefined;
    }
    const isSaid = plan.state !== undefined && await this.#writeStatus(chart, plan.state, signal);
    const isWrite = plan.job.step !== "none";
    if (isWrite ? isChanged : isSaid) { for (const event of plan.events) events.record(reference, event); }
    return plan.againMs;
  }

  /** Whether something was written of which an Event should speak. */
  async #stepJob(
    { job: step }: ChartPlan,
    { key, chart, action, signal }: {
      readonly key: string;
      readonly chart: HelmChart;
      readonly action: JobAction;
      readonly signal: AbortSignal;
    },
  ): Promise<boolean> {
    if (step.step === "none") return false;
    const { client, view } = this.#parts;
    const { namespace, name } = { namespace: step.job.metadata?.namespace ?? "", name: step.job.metadata?.name ?? "" };
    if (step.step === "resume") {
      try {
        const resumed = await client.patch(JOBS, { namespace, name }, { type: "json", body: resumePatch() }, {
          signal,
        });
        view.jobs.merge([resumed]);
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
      const uid = view.jobs.objects.get(`${namespace}/${name}`)?.metadata?.uid;
      // In the foreground: the Job goes after its pods, so that never two run at a time.
      await client.delete(JOBS, { namespace, name }, {
        propagationPolicy: "Foreground",
        signal,
        ...(uid === undefined ? {} : { uid }),
      }).catch((error: unknown) => {
        if (!isNotFound(error)) throw error;
      });
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
    const isManaged = metadata?.annotations?.[MANAGED_BY_ANNOTATION] === this.#controllerName;
    const finalizers = metadata?.finalizers ?? [];
    const isHeld = finalizers.includes(FINALIZER) || metadata?.deletionTimestamp !== undefined;
    if (isManaged && isHeld) return chart;
    const body = {
      metadata: {
        resourceVersion: metadata?.resourceVersion,
        ...(isManaged ? {} : { annotations: { [MANAGED_BY_ANNOTATION]: this.#controllerName } }),
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
    const { namespace, name } = chartKey(chart);
    const own = valuesSecretName(name);
    const refs = [
      ...mountedSecrets(chart.spec?.valuesSecrets, own),
      ...mountedSecrets(config?.spec?.valuesSecrets, own),
    ].filter(({ ignoreUpdates }) => !ignoreUpdates);
    return await this.#parts.secrets.secretsFor(key, { namespace, names: [...new Set(refs.map((ref) => ref.name))] });
  }

  /** Read from the server: a copy could be a moment behind the Job that changed it. */
  async #release(chart: HelmChart, signal: AbortSignal): Promise<Release | undefined> {
    const { namespace, name } = chartKey(chart);
    // Such a name fits no label, so there can be no release.
    if (name.length > MAX_LABEL_LENGTH) return undefined;
    const selection = {
      namespace: chart.spec?.targetNamespace || namespace,
      labelSelector: releaseSelector(name),
      // A record holds the whole chart, up to 1 MB, ten times over.
      isMetadataOnly: true,
      signal,
    };
    const list = <T extends KubeObject>(type: ResourceType<T>, fieldSelector?: string): Promise<KubeList<T>> =>
      this.#parts.client.list(type, { ...selection, ...(fieldSelector === undefined ? {} : { fieldSelector }) });
    const records = chart.spec?.driver === "configmap"
      ? await list(CONFIG_MAPS)
      : await list(SECRETS, `type=${RELEASE_SECRET_TYPE}`);
    return latestRelease(records.items);
  }

  async #removeSet(chart: HelmChart, signal: AbortSignal): Promise<void> {
    const { namespace, name } = chartKey(chart);
    const { client } = this.#parts;
    await removeObject(client, JOBS, { key: { namespace, name: jobName(name, "delete") }, signal });
    await removeObject(client, CLUSTER_ROLE_BINDINGS, { key: { name: bindingName(namespace, name) }, signal });
    await removeObject(client, SERVICE_ACCOUNTS, { key: { namespace, name: serviceAccountName(name) }, signal });
  }

  async #dropFinalizer(chart: HelmChart, signal: AbortSignal): Promise<void> {
    const { metadata } = chart;
    const finalizers = metadata?.finalizers?.filter((finalizer) => finalizer !== FINALIZER) ?? [];
    const body = { metadata: { resourceVersion: metadata?.resourceVersion, finalizers } };
    try {
      await this.#parts.client.patch(HELM_CHARTS, chartKey(chart), { type: "merge", body }, { signal });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
    const { namespace, name } = chartKey(chart);
    this.#released.set(`${namespace}/${name}`, metadata?.uid ?? "");
  }

  async #sayRefused(chart: HelmChart, refusal: string, signal: AbortSignal): Promise<void> {
    const isDeleting = chart.metadata?.deletionTimestamp !== undefined;
    const message = isDeleting ? `${refusal}; ${HOW_TO_LEAVE_RELEASE}` : refusal;
    const state: ChartState = isDeleting
      ? { phase: "uninstalling", job: jobName(chartKey(chart).name, "delete"), problem: message }
      : { phase: "refused", message };
    if (!await this.#writeStatus(chart, state, signal)) return;
    const reference = referenceTo({ apiVersion: "helm.cattle.io/v1", kind: "HelmChart", ...chart });
    this.#parts.events.record(reference, { type: "Warning", reason: "CreateJobFailed", message });
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

function withAttempt(job: Job, attempt: number): Job {
  if (attempt === 0) return job;
  const { metadata } = job;
  return {
    ...job,
    metadata: { ...metadata, annotations: { ...metadata?.annotations, [ATTEMPT_ANNOTATION]: String(attempt) } },
  };
}
