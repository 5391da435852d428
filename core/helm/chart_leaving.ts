// How a chart leaves the controller, and what goes with it: the rights that its Jobs had, then the finalizer. Its release stays unless it was
// uninstalled before.
import type { KubeClient } from "../kube/contract.ts";
import { isNotFound } from "../kube/errors.ts";
import { removeObject } from "../kube/one_object.ts";
import { type EventRecorder, type ObjectReference, referenceTo } from "../kube/events.ts";
import { objectKey } from "../kube/request_path.ts";
import { apiVersionOf, CLUSTER_ROLE_BINDINGS, JOBS, SERVICE_ACCOUNTS } from "../kube/resources.ts";
import type { ClusterRoleBinding, Job, Pod } from "../kube/types.ts";
import type { Logger } from "../shared/log.ts";
import type { ChartView } from "./chart_view.ts";
import { chartKey, HELM_CHARTS, type HelmChart } from "./helm_chart.ts";
import { OWNER_NAME_ANNOTATION, OWNER_NAMESPACE_ANNOTATION } from "../shared/k3s_names.ts";
import { isComplete, isFailed, isHelmRunning } from "./jobs/job_state.ts";
import {
  bindingName,
  FINALIZER,
  jobName,
  MANAGED_BY_ANNOTATION,
  plainBindingName,
  serviceAccountName,
} from "./names.ts";
import { readRelease } from "./releases/read_release.ts";
import type { ChartScope, whyIgnored } from "./releases/check_chart.ts";

const WAIT_MS = 5_000;

/** What {@linkcode ChartLeaving} works with. */
export interface ChartLeavingParts {
  readonly client: KubeClient;
  readonly view: Pick<ChartView, "bindings" | "jobs" | "pods">;
  readonly events: Pick<EventRecorder, "record">;
  readonly logger: Logger;
  readonly scope: ChartScope;
}

/** Lets charts go. */
export class ChartLeaving {
  readonly #parts: ChartLeavingParts;
  /**
   * Uids of charts that were let go. The watch still shows them for a moment, and what is removed with them brings them back: to make it anew
   * would leave a ClusterRoleBinding that nobody owns.
   */
  readonly #released = new Map<string, string>();

  constructor(parts: ChartLeavingParts) {
    this.#parts = parts;
  }

  /** Whether the chart was let go already. */
  isGone(chart: HelmChart): boolean {
    return this.#released.get(objectKey(chart)) === chart.metadata?.uid;
  }

  /** Forgets the chart `key`, `namespace/name`. */
  forget(key: string): void {
    this.#released.delete(key);
  }

  /** Takes away what has no owner that would take it along, and the finalizer. */
  async letGo(chart: HelmChart, signal: AbortSignal): Promise<void> {
    const { client, view } = this.#parts;
    await removeForeignBinding(client, chart, { bindings: view.bindings.objects, signal });
    await removeSet(client, chart, signal);
    await dropFinalizer(client, chart, signal);
    this.#released.set(objectKey(chart), chart.metadata?.uid ?? "");
  }

  /** A chart that is not, or no longer, to be managed: what was claimed is given back, so that it can be deleted. */
  async leave(
    chart: HelmChart,
    reason: NonNullable<ReturnType<typeof whyIgnored>>,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const { client, view, events } = this.#parts;
    const { metadata } = chart;
    const { namespace, name } = chartKey(chart);
    const isClaimed = metadata?.annotations?.[MANAGED_BY_ANNOTATION] === this.#parts.scope.controllerName;
    const isDeleting = metadata?.deletionTimestamp !== undefined;
    // No controller serves an unmanaged chart, so nobody else would let it go.
    const isStuck = reason === "Unmanaged" && isDeleting && metadata.finalizers?.includes(FINALIZER);
    if (!(isClaimed || isStuck) || this.isGone(chart)) return undefined;
    const installJob = view.jobs.objects.get(`${namespace}/${jobName(name, "install")}`);
    if (!await handBack(client, chart, { installJob, pods: [...view.pods.objects.values()], signal })) return WAIT_MS;
    if (isDeleting) this.#released.set(objectKey(chart), metadata?.uid ?? "");
    const message = `The chart is no longer managed (${reason}). Its release stays, to remove it: ${
      uninstallCommand(chart)
    }`;
    events.record(chartReference(chart), { type: "Normal", reason: "HandedBack", message });
    return undefined;
  }

  /** In a namespace that is being deleted nothing can run and no Event can be written: it is said where the release is. */
  async sayReleaseStays(chart: HelmChart, signal: AbortSignal): Promise<void> {
    const { namespace, name } = chartKey(chart);
    const target = chart.spec?.targetNamespace || namespace;
    if (target === namespace) return;
    const release = await readRelease(this.#parts.client, chart, signal);
    if (release === undefined) return;
    const message =
      `Release "${name}" stays: its HelmChart ${namespace}/${name} goes with its namespace, where no Job can ` +
      `uninstall it any more. To remove it: ${uninstallCommand(chart)}`;
    this.#parts.logger.warn(message);
    const reference = { apiVersion: "v1", kind: "Namespace", name: target };
    this.#parts.events.record(reference, { type: "Warning", reason: "ReleaseLeft", message });
  }
}

/** Removes what only an uninstall needs, and every right that was given for the chart. */
async function removeSet(client: KubeClient, chart: HelmChart, signal: AbortSignal): Promise<void> {
  const { namespace, name } = chartKey(chart);
  await removeObject(client, JOBS, { key: { namespace, name: jobName(name, "delete") }, signal });
  await removeObject(client, CLUSTER_ROLE_BINDINGS, { key: { name: bindingName(namespace, name) }, signal });
  await removeObject(client, SERVICE_ACCOUNTS, { key: { namespace, name: serviceAccountName(name) }, signal });
}

/**
 * Removes the binding under the name that helm-controller gave it, if it has another one here and says that it is this chart's. Left alone it
 * would give cluster-admin to whoever makes a ServiceAccount of that name.
 */
export async function removeForeignBinding(
  client: KubeClient,
  chart: HelmChart,
  { bindings, signal }: { readonly bindings: ReadonlyMap<string, ClusterRoleBinding>; readonly signal: AbortSignal },
): Promise<void> {
  const { namespace, name } = chartKey(chart);
  const foreign = plainBindingName(namespace, name);
  if (foreign === bindingName(namespace, name)) return;
  const { annotations, uid } = bindings.get(foreign)?.metadata ?? {};
  if (annotations?.[OWNER_NAMESPACE_ANNOTATION] !== namespace || annotations[OWNER_NAME_ANNOTATION] !== name) return;
  await removeObject(client, CLUSTER_ROLE_BINDINGS, { key: { name: foreign }, uid, signal });
}

/** Lets the chart go; one that is gone already is fine. */
export async function dropFinalizer(client: KubeClient, chart: HelmChart, signal: AbortSignal): Promise<void> {
  await patchMetadata(client, chart, { finalizers: withoutFinalizer(chart), signal });
}

/**
 * Makes the chart as it was before anyone managed it, so that another controller may take it, or nobody. The release stays, and so does an
 * install Job that has ended. Returns whether it was done: a running helm is waited for, as it would leave a release that is locked.
 */
export async function handBack(
  client: KubeClient,
  chart: HelmChart,
  { installJob, pods, signal }: {
    readonly installJob: Job | undefined;
    readonly pods: readonly Pod[];
    readonly signal: AbortSignal;
  },
): Promise<boolean> {
  const { namespace, name } = chartKey(chart);
  if (installJob !== undefined && !isComplete(installJob) && !isFailed(installJob)) {
    if (isHelmRunning(installJob, pods)) return false;
    await removeObject(client, JOBS, { key: { namespace, name: jobName(name, "install") }, signal });
  }
  await removeSet(client, chart, signal);
  await patchMetadata(client, chart, {
    annotations: { [MANAGED_BY_ANNOTATION]: null },
    finalizers: withoutFinalizer(chart),
    signal,
  });
  return true;
}

/** The reference to a chart, for Events. */
export function chartReference(chart: HelmChart): ObjectReference {
  return referenceTo({ apiVersion: apiVersionOf(HELM_CHARTS), kind: HELM_CHARTS.kind, ...chart });
}

/** Why a chart of another namespace is refused. */
export function otherNamespaceMessage({ namespaces }: ChartScope): string {
  return `HelmCharts are taken in ${namespaces.join(", ")} only (--helm-namespaces)`;
}

/** What an administrator types to remove a release that is left. */
export function uninstallCommand(chart: HelmChart): string {
  const { namespace, name } = chartKey(chart);
  return `helm uninstall ${name} --namespace ${chart.spec?.targetNamespace || namespace}`;
}

async function patchMetadata(
  client: KubeClient,
  chart: HelmChart,
  { signal, ...fields }: {
    readonly annotations?: Readonly<Record<string, string | null>>;
    readonly finalizers: readonly string[];
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const body = { metadata: { resourceVersion: chart.metadata?.resourceVersion, ...fields } };
  try {
    await client.patch(HELM_CHARTS, chartKey(chart), { type: "merge", body }, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

function withoutFinalizer({ metadata }: HelmChart): readonly string[] {
  return metadata?.finalizers?.filter((finalizer) => finalizer !== FINALIZER) ?? [];
}
