// Copies of the charts and of everything that is made for them, kept by watches that select these objects alone, and which chart
// each change is about.
import type { ResourceType, Selection, Surroundings } from "../kube/contract.ts";
import { type Reflector, startReflector } from "../kube/reflector.ts";
import { objectKey } from "../kube/request_path.ts";
import { CLUSTER_ROLE_BINDINGS, CONFIG_MAPS, JOBS, PODS, SECRETS, SERVICE_ACCOUNTS } from "../kube/resources.ts";
import type { ClusterRoleBinding, ConfigMap, Job, KubeObject, Pod, Secret, ServiceAccount } from "../kube/types.ts";
import {
  OWNER_NAME_ANNOTATION,
  OWNER_NAMESPACE_ANNOTATION,
  SET_HASH_LABEL,
  SET_ID_ANNOTATION,
} from "../shared/k3s_names.ts";
import { HELM_CHART_CONFIGS, HELM_CHARTS, type HelmChart, type HelmChartConfig } from "./helm_chart.ts";
import { CHART_LABEL, VALUES_SECRET_TYPE } from "./names.ts";

/** The copies, each by `namespace/name`. */
export interface ChartView {
  readonly charts: Reflector<HelmChart>;
  readonly configs: Reflector<HelmChartConfig>;
  readonly jobs: Reflector<Job>;
  readonly pods: Reflector<Pod>;
  readonly valuesSecrets: Reflector<Secret>;
  readonly configMaps: Reflector<ConfigMap>;
  readonly serviceAccounts: Reflector<ServiceAccount>;
  readonly bindings: Reflector<ClusterRoleBinding>;
  readonly synced: Promise<unknown>;
  readonly done: Promise<unknown>;
}

/** What {@linkcode startChartView} takes. */
export interface ChartViewOptions extends Surroundings {
  /** Told the chart, as `namespace/name`, that a change is about. */
  readonly onChange: (chart: string) => void;
}

/** Starts the watches. */
export function startChartView({ onChange, ...parts }: ChartViewOptions): ChartView {
  const watch = <T extends KubeObject>(
    type: ResourceType<T>,
    chartOf: (object: T) => string | undefined,
    more: { readonly selection?: Selection; readonly keep?: (object: T) => T | undefined } = {},
  ): Reflector<T> =>
    startReflector({
      ...parts,
      ...more,
      type,
      onChange: ({ before, after }) => {
        const object = after ?? before;
        const chart = object === undefined ? undefined : chartOf(object);
        if (chart !== undefined) onChange(chart);
      },
    });
  const set = { selection: { labelSelector: SET_HASH_LABEL }, keep: ofCharts };
  const view = {
    charts: watch(HELM_CHARTS, objectKey),
    configs: watch(HELM_CHART_CONFIGS, objectKey),
    jobs: watch<Job>(JOBS, labelledChart, { selection: { labelSelector: CHART_LABEL } }),
    pods: watch<Pod>(PODS, labelledChart, { selection: { labelSelector: CHART_LABEL } }),
    valuesSecrets: watch<Secret>(SECRETS, ownerKey, {
      selection: { labelSelector: SET_HASH_LABEL, fieldSelector: `type=${VALUES_SECRET_TYPE}` },
      keep: ofCharts,
    }),
    configMaps: watch<ConfigMap>(CONFIG_MAPS, ownerKey, set),
    serviceAccounts: watch<ServiceAccount>(SERVICE_ACCOUNTS, ownerKey, set),
    bindings: watch<ClusterRoleBinding>(CLUSTER_ROLE_BINDINGS, ownerKey, set),
  };
  const all = Object.values(view);
  return {
    ...view,
    synced: Promise.all(all.map(({ synced }) => synced)),
    done: Promise.all(all.map(({ done }) => done)),
  };
}

function labelledChart({ metadata }: KubeObject): string | undefined {
  const name = metadata?.labels?.[CHART_LABEL];
  return name === undefined ? undefined : `${metadata?.namespace}/${name}`;
}

function ownerKey({ metadata }: KubeObject): string {
  const annotations = metadata?.annotations ?? {};
  return `${annotations[OWNER_NAMESPACE_ANNOTATION]}/${annotations[OWNER_NAME_ANNOTATION]}`;
}

/** Objects of a chart's set; those of manifests carry the same label. */
function ofCharts<T extends KubeObject>(object: T): T | undefined {
  return object.metadata?.annotations?.[SET_ID_ANNOTATION]?.endsWith("chart-registration") ? object : undefined;
}
