// HelmChart and HelmChartConfig as the program reads them: the types made from the CRDs, without TypeScript enums, and where the
// API has them. Pure.
import type { ResourceType } from "../kube/contract.ts";
import type { KubeObject } from "../kube/types.ts";
import type * as chart from "./helm_chart.generated.ts";
import type * as config from "./helm_chart_config.generated.ts";
import { HELM_CHART_TYPE } from "../shared/k3s_names.ts";

/** `T` with words in place of enums, and read-only. */
type Plain<T> = T extends string ? `${T}`
  : T extends readonly (infer U)[] ? readonly Plain<U>[]
  : T extends object ? { readonly [K in keyof T]: Plain<T[K]> }
  : T;

export type HelmChartSpec = Plain<chart.Spec>;
export type HelmChartConfigSpec = Plain<config.Spec>;
export type HelmChartStatus = Plain<chart.Status>;
export type HelmChartCondition = Plain<chart.Condition>;
/** One entry of `valuesSecrets`. */
export type ValuesSecretRef = Plain<chart.ValuesSecret>;

/** A chart that is to be installed. */
export interface HelmChart extends KubeObject {
  readonly spec?: HelmChartSpec;
  readonly status?: HelmChartStatus;
}

/** What users add to a chart of the same name and namespace. */
export interface HelmChartConfig extends KubeObject {
  readonly spec?: HelmChartConfigSpec;
}

export const HELM_CHARTS: ResourceType<HelmChart> = HELM_CHART_TYPE;

export const HELM_CHART_CONFIGS: ResourceType<HelmChartConfig> = {
  ...HELM_CHART_TYPE,
  kind: "HelmChartConfig",
  plural: "helmchartconfigs",
};

/** The chart's name and namespace. */
export function chartKey(chart: KubeObject): { readonly namespace: string; readonly name: string } {
  const { namespace = "default", name = "" } = chart.metadata ?? {};
  return { namespace, name };
}
