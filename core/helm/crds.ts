// The CRDs HelmChart and HelmChartConfig, `helm.cattle.io/v1`. Pure. `*.generated.ts` are made from them.
// Facts: helm-controller v0.17.9 `pkg/apis/helm.cattle.io/v1`. Stricter than the original where a value that it lets through stops
// its controller for all charts; and HelmChartConfig has no default of `failurePolicy`, which would override every chart's own.
import type { CustomResourceDefinition } from "../kube/types.ts";
import { HELM_CHART_TYPE } from "../shared/k3s_names.ts";
import { GO_DURATION_PATTERN } from "./jobs/go_duration.ts";

/** OpenAPI as it is on the wire; the library's model has other names for `enum` and `default`. */
type Schema = Readonly<Record<string, unknown>>;

function text(description: string, more: Schema = {}): Schema {
  return { type: "string", description, ...more };
}

function flag(description: string): Schema {
  return { type: "boolean", description };
}

function open(description: string): Schema {
  return { type: "object", description, "x-kubernetes-preserve-unknown-fields": true };
}

function reference(description: string): Schema {
  return { type: "object", description, properties: { name: text("Name of the object, in the chart's namespace.") } };
}

const FAILURE_POLICY = text("What is done about a failed release.", { enum: ["abort", "reinstall", "retry"] });
const SERVER_SIDE = text("Whether helm applies on the server.", { enum: ["true", "false", "auto"] });
const FORCE_CONFLICTS = flag("Take fields over from other managers; needs server-side apply.");

const VALUES: Readonly<Record<string, Schema>> = {
  values: open("Values as a mapping. Override `valuesContent`."),
  valuesContent: text("Values as YAML text."),
  valuesSecrets: {
    type: "array",
    description: "Values in Secrets of the chart's namespace. Override `values`.",
    items: {
      type: "object",
      properties: {
        name: text("Name of the Secret."),
        keys: { type: "array", description: "Keys that hold YAML; later ones win.", items: { type: "string" } },
        ignoreUpdates: flag("Mark the Secret optional, and do not upgrade when it changes."),
      },
    },
  },
};

const CHART_SPEC: Readonly<Record<string, Schema>> = {
  ...VALUES,
  authPassCredentials: flag("Pass credentials to all hosts, not only to the repository's."),
  authSecret: reference("Secret of type `kubernetes.io/basic-auth` or `kubernetes.io/tls` for the repository."),
  backOffLimit: { type: "integer", format: "int32", minimum: 0, description: "Tries of the Job; 1000 if absent." },
  bootstrap: flag("The chart is needed for the cluster to work: run on a control-plane node with its network."),
  chart: text("Name in the repository, URL of an archive, or OCI reference."),
  chartContent: text("The chart's archive in base64; replaces `chart`."),
  createNamespace: flag("Create the target namespace."),
  dockerRegistrySecret: reference("Secret of type `kubernetes.io/dockerconfigjson` for OCI registries."),
  driver: text("Where helm keeps releases.", {
    enum: ["secret", "configmap"],
    default: "secret",
    "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "driver is immutable" }],
  }),
  failurePolicy: { ...FAILURE_POLICY, default: "reinstall" },
  forceConflicts: FORCE_CONFLICTS,
  helmVersion: text("Deprecated; `v3` is the only one."),
  insecureSkipTLSVerify: flag("Do not check the repository's certificate."),
  jobImage: text("Image of the Job."),
  plainHTTP: flag("Use HTTP for an OCI registry."),
  podSecurityContext: open("Replaces the Job pod's security context."),
  repo: text("URL of the chart repository."),
  repoCA: text("Certificates of authorities for the repository, in PEM."),
  repoCAConfigMap: reference("ConfigMap with certificates of authorities, every key a file."),
  securityContext: open("Replaces the Job container's security context."),
  serverSide: SERVER_SIDE,
  set: {
    type: "object",
    description: "Single values by path. Override everything else.",
    additionalProperties: {
      anyOf: [{ type: "integer" }, { type: "string" }],
      minimum: -2147483648,
      maximum: 2147483647,
      "x-kubernetes-int-or-string": true,
    },
  },
  takeOwnership: flag("Adopt objects that no release owns."),
  targetNamespace: text("Namespace of the release; the chart's own if absent."),
  timeout: text("Helm's time limit, such as `5m`.", { pattern: GO_DURATION_PATTERN, maxLength: 32 }),
  version: text("Version of the chart; the latest if absent."),
};

const STATUS: Schema = {
  type: "object",
  properties: {
    jobName: text("Name of the latest Job."),
    conditions: {
      type: "array",
      items: {
        type: "object",
        required: ["type", "status"],
        properties: {
          type: text("JobCreated, Failed or Deployed."),
          status: text("True, False or Unknown."),
          reason: text("Why, in a few words."),
          message: text("Why, for people."),
        },
      },
    },
  },
};

interface CrdParts {
  readonly kind: string;
  readonly plural: string;
  readonly spec: Readonly<Record<string, Schema>>;
  readonly status?: Schema;
  readonly columns: readonly { readonly name: string; readonly jsonPath: string }[];
}

function crd({ kind, plural, spec, status, columns }: CrdParts): CustomResourceDefinition {
  const properties = {
    spec: { type: "object", properties: spec },
    ...(status === undefined ? {} : { status }),
  } as Readonly<Record<string, object>>;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${HELM_CHART_TYPE.group}` },
    spec: {
      group: HELM_CHART_TYPE.group,
      scope: "Namespaced",
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase() },
      versions: [{
        name: "v1",
        served: true,
        storage: true,
        ...(status === undefined ? {} : { subresources: { status: {} } }),
        additionalPrinterColumns: columns.map((column) => ({ ...column, type: "string" })),
        schema: { openAPIV3Schema: { type: "object", properties } },
      }],
    },
  };
}

export const HELM_CHART_CRD: CustomResourceDefinition = crd({
  kind: "HelmChart",
  plural: "helmcharts",
  spec: CHART_SPEC,
  status: STATUS,
  columns: [
    { name: "Repo", jsonPath: ".spec.repo" },
    { name: "Chart", jsonPath: ".spec.chart" },
    { name: "Version", jsonPath: ".spec.version" },
    { name: "TargetNamespace", jsonPath: ".spec.targetNamespace" },
    { name: "Job", jsonPath: ".status.jobName" },
    { name: "Deployed", jsonPath: '.status.conditions[?(@.type=="Deployed")].status' },
  ],
});

export const HELM_CHART_CONFIG_CRD: CustomResourceDefinition = crd({
  kind: "HelmChartConfig",
  plural: "helmchartconfigs",
  spec: { ...VALUES, failurePolicy: FAILURE_POLICY, forceConflicts: FORCE_CONFLICTS, serverSide: SERVER_SIDE },
  columns: [],
});
