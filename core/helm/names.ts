// Names, labels and annotations of HelmCharts and of what is made for them. Pure.
// Facts: github.com/k3s-io/helm-controller v0.17.9 `pkg/controllers/chart`, klipper-helm `entry`.
import { createHash } from "node:crypto";

export const FINALIZER = "wrangler.cattle.io/on-helm-chart-remove";
export const MANAGED_BY_ANNOTATION = "helmcharts.cattle.io/managed-by";
export const CHART_LABEL = "helmcharts.helm.cattle.io/chart";
/** On the Job's pod template with all digits, on the release as a label with 63. */
export const CONFIG_HASH_ANNOTATION = "helmcharts.helm.cattle.io/configHash";
export const CHART_URL_ANNOTATION = "helm.cattle.io/chart-url";
/** How many Jobs of the same configuration came before this one. */
export const ATTEMPT_ANNOTATION = "k3slb.io/helm-attempt";
/** On a chart whose Job's image puts no hash on releases: revision and hash of what is deployed. */
export const DEPLOYED_ANNOTATION = "k3slb.io/helm-deployed";
/** Variable of the Job: the revision that its helm is to find. */
export const EXPECTED_REVISION_NAME = "EXPECTED_RELEASE_REVISION";
export const VALUES_SECRET_TYPE = "helmcharts.helm.cattle.io/values";
export const RELEASE_SECRET_TYPE = "helm.sh/release.v1";
/** In the managed-by annotation; charts of other names are left alone. */
export const CONTROLLER_NAME = "k3slb";
/** Longest name whose install Job fits the label that the Job controller writes on pods. */
export const MAX_CHART_NAME_LENGTH = 50;

/** What the Job is for. */
export type JobAction = "install" | "delete";

/** Name of the Secret with the chart's own values. */
export function valuesSecretName(chart: string): string {
  return `chart-values-${chart}`;
}

/** Name of the ConfigMap with an inline chart. */
export function contentConfigMapName(chart: string): string {
  return `chart-content-${chart}`;
}

/** Name of the ServiceAccount under which helm runs. */
export function serviceAccountName(chart: string): string {
  return `helm-${chart}`;
}

/** Name of the Job. */
export function jobName(chart: string, action: JobAction): string {
  return `helm-${action}-${chart}`;
}

/**
 * Name of the binding, as helm-controller has it where that name can mean only one chart. `a-b/c` and `a/b-c` would share one:
 * a namespace with a hyphen gets a hash, but for `kube-system`, and what would be taken for it (`kube/system-…`) gets one too.
 */
export function bindingName(namespace: string, chart: string): string {
  const name = plainBindingName(namespace, chart);
  const isPlain = namespace === "kube-system" ||
    (!namespace.includes("-") && !(namespace === "kube" && chart.startsWith("system-")));
  if (isPlain) return name;
  return `${name}-${createHash("sha256").update(`${namespace}/${chart}`).digest("hex").slice(0, 8)}`;
}

/** Name of the binding as helm-controller has it. */
export function plainBindingName(namespace: string, chart: string): string {
  return `helm-${namespace}-${chart}`;
}
