// What is made for a chart beside its Job, and the marks that every object carries. Pure.
// Facts: helm-controller v0.17.9 `pkg/controllers/chart`; wrangler v3 `pkg/apply` (objectset labels: SHA-1 of the values in order).
import { apiVersionOf } from "../../kube/resources.ts";
import { HELM_CHART_TYPE, setMarks } from "../../shared/k3s_names.ts";
import type { ClusterRoleBinding, ConfigMap, Job, ObjectMeta, Secret, ServiceAccount } from "../../kube/types.ts";
import { contentData } from "./desired_job.ts";
import { chartKey, type HelmChart, type HelmChartConfig } from "../helm_chart.ts";
import {
  bindingName,
  contentConfigMapName,
  type JobAction,
  serviceAccountName,
  VALUES_SECRET_TYPE,
  valuesSecretName,
} from "../names.ts";
import { valuesData } from "../values/values_files.ts";

const SET_IDS: Readonly<Record<JobAction, string>> = {
  install: "helm-controller-chart-registration",
  delete: "helm-chart-registration",
};

/** One object of the set; Secret and ConfigMap only for an install. */
export type SetObject = Secret | ConfigMap | ServiceAccount | ClusterRoleBinding;

/** Everything but the Job, in the order in which it is applied. */
export function desiredObjects(
  { chart, config }: { readonly chart: HelmChart; readonly config?: HelmChartConfig | undefined },
  { action, clusterRole }: { readonly action: JobAction; readonly clusterRole: string },
): readonly SetObject[] {
  const { namespace, name } = chartKey(chart);
  const account: ServiceAccount = {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: serviceAccountName(name), namespace },
    automountServiceAccountToken: true,
  };
  const binding: ClusterRoleBinding = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: bindingName(namespace, name) },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: clusterRole },
    subjects: [{ kind: "ServiceAccount", name: serviceAccountName(name), namespace }],
  };
  if (action === "delete") return [account, binding];
  const values: Secret = {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: valuesSecretName(name), namespace },
    type: VALUES_SECRET_TYPE,
    data: valuesData({ chart, config }),
  };
  const content: ConfigMap = {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: contentConfigMapName(name), namespace },
    data: contentData(chart),
  };
  return [values, content, account, binding];
}

/** `object` with the labels, annotations and owner by which wrangler's apply, and garbage collection, know it. */
export function marked<T extends SetObject | Job>(object: T, chart: HelmChart, action: JobAction): T {
  const { namespace, name } = chartKey(chart);
  const { labels, annotations } = setMarks({ id: SET_IDS[action], type: HELM_CHART_TYPE, namespace, name });
  const { metadata } = object;
  const uid = chart.metadata?.uid;
  const owner = { apiVersion: apiVersionOf(HELM_CHART_TYPE), kind: HELM_CHART_TYPE.kind, name, uid: uid ?? "" };
  const merged: ObjectMeta = {
    ...metadata,
    labels: { ...metadata?.labels, ...labels },
    annotations: { ...metadata?.annotations, ...annotations },
    ...(metadata?.namespace === undefined || uid === undefined
      ? {}
      : { ownerReferences: [{ ...owner, controller: false, blockOwnerDeletion: false }] }),
  };
  return { ...object, metadata: merged };
}
