// The Job that runs helm for a chart. Pure. Facts: helm-controller v0.17.9 `job`, `pkg/controllers/chart/chart.go`; what is run is the
// contract of rancher/klipper-helm's `entry`. The Job is made suspended and let go when the Job controller has seen it.
import type { Job, Secret, Toleration } from "../../kube/types.ts";
import { configHash, releaseHash } from "../values/config_hash.ts";
import { chartKey, type HelmChart, type HelmChartConfig } from "../helm_chart.ts";
import { setArguments } from "../values/set_values.ts";
import { jobEnvironment, releaseEnvironment, withNoProxy } from "./job_env.ts";
import { jobVolumes } from "./job_volumes.ts";
import { CHART_LABEL, CONFIG_HASH_ANNOTATION, type JobAction, jobName, serviceAccountName } from "../names.ts";
import { mountedSecrets, valuesData } from "../values/values_files.ts";

/** What is the same for every chart. */
export interface JobSettings {
  readonly defaultImage: string;
  /** Environment of the controller, for its proxy variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What a Job is made from. */
export interface JobFacts {
  readonly chart: HelmChart;
  readonly config?: HelmChartConfig | undefined;
  /** Secrets that the chart and its config name, by name; those that are missing are missing here. */
  readonly secrets: ReadonlyMap<string, Secret>;
  /** The release's highest revision; 0 for none. */
  readonly revision: number;
  /** What helm asks without a proxy; see {@linkcode withNoProxy}. */
  readonly direct?: readonly string[];
}

/** A Job and its hash. */
export interface DesiredJob {
  readonly job: Job;
  /** All 64 digits. */
  readonly hash: string;
}

const DEFAULT_BACKOFF_LIMIT = 1000;
const CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane";

const BOOTSTRAP_TOLERATIONS: readonly Toleration[] = [
  { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" },
  { key: "node.kubernetes.io/network-unavailable", effect: "NoSchedule" },
  { key: "node.cloudprovider.kubernetes.io/uninitialized", operator: "Equal", value: "true", effect: "NoSchedule" },
  { key: "CriticalAddonsOnly", operator: "Exists" },
  { key: "node-role.kubernetes.io/etcd", operator: "Exists", effect: "NoExecute" },
  { key: CONTROL_PLANE_LABEL, operator: "Exists", effect: "NoSchedule" },
];

/** The Job for `action`. */
export function desiredJob(
  facts: JobFacts,
  { action, settings }: { readonly action: JobAction; readonly settings: JobSettings },
): DesiredJob {
  const { namespace, name } = chartKey(facts.chart);
  const backoffLimit = facts.chart.spec?.backOffLimit ?? DEFAULT_BACKOFF_LIMIT;
  const template = podTemplate(facts, { action, settings });
  const hash = configHash({ backoffLimit, template, data: action === "delete" ? [] : hashedData(facts) });
  const annotations = { [CONFIG_HASH_ANNOTATION]: `SHA256=${hash}` };
  const [container] = template.spec?.containers ?? [];
  if (container === undefined) throw new RangeError("A Job needs a container");
  const env = [
    ...withNoProxy(jobEnvironment(facts.chart, { action, config: facts.config, ...settings }), facts.direct ?? []),
    ...releaseEnvironment(facts.revision, releaseHash(hash)),
  ];
  return {
    hash,
    job: {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: { name: jobName(name, action), namespace, labels: { [CHART_LABEL]: name } },
      spec: {
        backoffLimit,
        suspend: true,
        template: {
          metadata: { labels: { [CHART_LABEL]: name }, annotations },
          spec: { ...template.spec, containers: [{ ...container, env }] },
        },
      },
    },
  };
}

/** Data of the ConfigMap with an inline chart. */
export function contentData(chart: HelmChart): Readonly<Record<string, string>> {
  const content = chart.spec?.chartContent;
  return content ? { [`${chartKey(chart).name}.tgz.base64`]: content } : {};
}

function podTemplate(
  { chart, config }: JobFacts,
  { action, settings }: { readonly action: JobAction; readonly settings: JobSettings },
): NonNullable<Job["spec"]>["template"] {
  const { name } = chartKey(chart);
  const spec = chart.spec ?? {};
  const isBootstrap = spec.bootstrap ?? false;
  const volumes = jobVolumes({ chart, config }, action);
  return {
    metadata: { labels: { [CHART_LABEL]: name } },
    spec: {
      ...(isBootstrap
        ? { hostNetwork: true, tolerations: [...BOOTSTRAP_TOLERATIONS] }
        : { affinity: { nodeAffinity: CONTROL_PLANE_PREFERRED } }),
      containers: [{
        name: "helm",
        image: spec.jobImage?.trim() || settings.defaultImage,
        imagePullPolicy: "IfNotPresent",
        args: [...jobArguments(chart, action)],
        env: [...jobEnvironment(chart, { action, config, ...settings })],
        resources: {},
        securityContext: spec.securityContext ?? {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ["ALL"] },
          readOnlyRootFilesystem: true,
        },
        volumeMounts: volumes.map(({ volume, mountPath }) => ({ name: volume.name, mountPath })),
      }],
      nodeSelector: { "kubernetes.io/os": "linux", ...(isBootstrap ? { [CONTROL_PLANE_LABEL]: "true" } : {}) },
      priorityClassName: "system-cluster-critical",
      restartPolicy: "OnFailure",
      securityContext: spec.podSecurityContext ?? { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
      serviceAccountName: serviceAccountName(name),
      volumes: volumes.map(({ volume }) => volume),
    },
  };
}

const CONTROL_PLANE_PREFERRED = {
  preferredDuringSchedulingIgnoredDuringExecution: [{
    weight: 100,
    preference: { matchExpressions: [{ key: CONTROL_PLANE_LABEL, operator: "In", values: ["true"] }] },
  }],
};

/** The inline chart, the chart's own values, then the mounted keys of each Secret, as often as it is named. */
function hashedData({ chart, config, secrets }: JobFacts): readonly Readonly<Record<string, string>>[] {
  const referenced = mountedSecrets({ chart, config }).flatMap(({ name, keys, ignoreUpdates }) => {
    const data = secrets.get(name)?.data;
    if (data === undefined || ignoreUpdates) return [];
    return [Object.fromEntries(Object.entries(data).filter(([key]) => keys.includes(key)))];
  });
  return [contentData(chart), valuesData({ chart, config }), ...referenced];
}

/** The container's arguments; helm decides itself whether an install is an upgrade. */
function jobArguments(chart: HelmChart, action: JobAction): readonly string[] {
  if (action === "delete") return ["delete"];
  const { targetNamespace, createNamespace, takeOwnership, version, set } = chart.spec ?? {};
  return [
    "install",
    ...(targetNamespace ? ["--namespace", targetNamespace] : []),
    ...(createNamespace ? ["--create-namespace"] : []),
    ...(takeOwnership ? ["--take-ownership"] : []),
    ...(version ? ["--version", version] : []),
    ...setArguments(set),
  ];
}
