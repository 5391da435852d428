// What makes a chart impossible to install, so that it is said instead of being refused later without a word. Pure.
// Facts: limits of names and labels in Kubernetes and of release names in helm; helm-controller stops for all charts at a bad
// `timeout` or at an integer of `set` beyond 32 bits, so each chart is looked at alone.
import { apiVersionOf } from "../../kube/resources.ts";
import { Buffer } from "node:buffer";
import { parseGoDuration } from "../jobs/go_duration.ts";
import { chartKey, type HelmChart, type HelmChartConfig } from "../helm_chart.ts";
import type { KubeObject } from "../../kube/types.ts";
import { HELM_CHART_TYPE, UNMANAGED_ANNOTATION } from "../../shared/k3s_names.ts";
import { MANAGED_BY_ANNOTATION, MAX_CHART_NAME_LENGTH } from "../names.ts";
import { errorMessage, isK3slbError } from "../../shared/errors.ts";
import { MAX_SECRETS, valuesData, type ValuesOwners, watchedSecrets } from "../values/values_files.ts";

const MAX_INT32 = 2 ** 31 - 1;
/** All data of one Secret or ConfigMap. */
const MAX_DATA_BYTES = 1 << 20;

const MAX_TOLD = 5;
const MAX_QUOTED = 100;

/** Everything that is wrong, as sentences without a period; empty if nothing is. */
export function chartProblems(chart: HelmChart, config: HelmChartConfig | undefined): readonly string[] {
  const { backOffLimit, set = {}, timeout } = chart.spec ?? {};
  const { name } = chartKey(chart);
  const problems: string[] = [];
  if (name.length > MAX_CHART_NAME_LENGTH) {
    problems.push(
      `The name has ${name.length} characters; its Job "helm-install-NAME" allows at most ${MAX_CHART_NAME_LENGTH}`,
    );
  }
  if (timeout !== undefined && parseGoDuration(timeout) === undefined) {
    problems.push(`spec.timeout "${shortened(timeout)}" is not a duration such as "5m" or "300s"`);
  }
  if (backOffLimit !== undefined && (backOffLimit < 0 || backOffLimit > MAX_INT32 || !Number.isInteger(backOffLimit))) {
    problems.push(`spec.backOffLimit ${backOffLimit} is not a whole number from 0 to ${MAX_INT32}`);
  }
  const wrong = Object.entries(set).filter(([, value]) => !isSettable(value));
  for (const [path, value] of wrong.slice(0, MAX_TOLD)) {
    problems.push(
      typeof value === "boolean"
        ? `spec.set "${shortened(path)}" is ${value}; write "${value}" in quotes`
        : `spec.set "${shortened(path)}" must be a string or a 32-bit whole number; put quotes around other numbers`,
    );
  }
  if (wrong.length > MAX_TOLD) problems.push(`${wrong.length - MAX_TOLD} more of spec.set are not strings either`);
  const secrets = watchedSecrets({ chart, config }).length;
  if (secrets > MAX_SECRETS) problems.push(`valuesSecrets name ${secrets} Secrets, at most ${MAX_SECRETS} are watched`);
  problems.push(...sizeProblems(chart, config));
  return problems;
}

function isSettable(value: unknown): boolean {
  return typeof value === "string" ||
    (typeof value === "number" && Number.isInteger(value) && value <= MAX_INT32 && value >= -MAX_INT32 - 1);
}

/** What a reader needs to find it. */
function shortened(text: string): string {
  return text.length <= MAX_QUOTED ? text : `${text.slice(0, MAX_QUOTED)}…`;
}

/** {@linkcode chartProblems} of an object of any kind. */
export function helmProblems(object: KubeObject): readonly string[] {
  const isChart = object.kind === HELM_CHART_TYPE.kind && object.apiVersion === apiVersionOf(HELM_CHART_TYPE);
  return isChart ? chartProblems(object as HelmChart, undefined) : [];
}

/** What the ConfigMap of the archive and the Secret of the values can't hold. */
function sizeProblems(chart: HelmChart, config: HelmChartConfig | undefined): readonly string[] {
  const content = chart.spec?.chartContent?.length ?? 0;
  return [
    ...(content <= MAX_DATA_BYTES ? [] : [
      `The chart has ${content} bytes in base64, and its ConfigMap holds ${MAX_DATA_BYTES}; install it from a ` +
      "repository, an OCI registry or a URL",
    ]),
    ...valuesProblems({ chart, config }),
  ];
}

function valuesProblems(owners: ValuesOwners): readonly string[] {
  try {
    const size = Object.values(valuesData(owners)).reduce((sum, data) => sum + Buffer.byteLength(data, "base64"), 0);
    return size <= MAX_DATA_BYTES ? [] : [
      `The values have ${size} bytes, and their Secret holds ${MAX_DATA_BYTES}; put some into Secrets of valuesSecrets`,
    ];
  } catch (error) {
    if (isK3slbError(error, "values-invalid")) return [errorMessage(error)];
    throw error;
  }
}

/** What can't work as it is written and is passed over; worth a Warning. */
export function chartWarnings(chart: HelmChart, config: HelmChartConfig | undefined): readonly string[] {
  const warnings: string[] = [];
  const serverSide = config?.spec?.serverSide ?? chart.spec?.serverSide;
  const forceConflicts = config?.spec?.forceConflicts ?? chart.spec?.forceConflicts;
  if (serverSide === "false" && forceConflicts) {
    warnings.push('forceConflicts has no effect with serverSide "false", helm refuses the pair');
  }
  for (const [kind, owner] of Object.entries({ HelmChart: chart, HelmChartConfig: config })) {
    for (const { name = "", keys = [] } of owner?.spec?.valuesSecrets ?? []) {
      if (keys.length > 0) continue;
      warnings.push(`valuesSecrets entry "${name}" of the ${kind} names no keys and has no effect`);
    }
  }
  return warnings;
}

/** Whose charts are taken, and where. */
export interface ChartScope {
  readonly controllerName: string;
  /** Empty: all. */
  readonly namespaces: readonly string[];
}

/** Why the controller leaves the chart alone; `undefined` if it is its own. */
export function whyIgnored(
  chart: HelmChart,
  { controllerName, namespaces }: ChartScope,
): "NoChart" | "Unmanaged" | "OtherController" | "OtherNamespace" | undefined {
  const { annotations = {}, deletionTimestamp } = chart.metadata ?? {};
  const manager = annotations[MANAGED_BY_ANNOTATION];
  if (UNMANAGED_ANNOTATION in annotations) return "Unmanaged";
  if (manager !== undefined && manager !== "" && manager !== controllerName) return "OtherController";
  // What it installed before is uninstalled all the same.
  const isUninstall = manager === controllerName && deletionTimestamp !== undefined;
  if (!chart.spec?.chart && !chart.spec?.chartContent && !isUninstall) return "NoChart";
  return namespaces.length === 0 || namespaces.includes(chartKey(chart).namespace) ? undefined : "OtherNamespace";
}
