// The manifest of Traefik: its HelmCharts, and v3's definitions. Pure. Values as K3s gives them (k3s `manifests/traefik.yaml`), but for what
// the upstream charts do by themselves (annotations for Prometheus, their own image) or have elsewhere (`image.registry`,
// `service.spec.ipFamilyPolicy`: charts from 28 on ignore `service.ipFamilyPolicy` without a word). Which of the values each pinned chart
// takes is in tests/vectors/traefik_charts.json.
import { apiVersionOf } from "../kube/resources.ts";
import { present } from "../shared/values.ts";
import type { UnknownObject } from "../kube/types.ts";
import { imageFrom } from "../shared/image.ts";
import { stringifyYaml } from "../shared/yaml.ts";
import { HELM_CHART_TYPE, PACKAGED_NAMESPACE, UNMANAGED_ANNOTATION } from "../shared/k3s_names.ts";
import { type ChartSource, TRAEFIK_CHART_NAME, TRAEFIK_CRD_CHART_NAME, type TraefikPlan } from "./traefik.ts";
import { TRAEFIK_DEFINITIONS, TRAEFIK_DEFINITIONS_CHART } from "./traefik_definitions.generated.ts";
import { K3S_TRAEFIK_REPOSITORY, K3S_TRAEFIK_TAGS } from "./versions.ts";

/** What the manifest needs beside the plan. */
export interface TraefikManifestInput {
  readonly plan: TraefikPlan;
  /** Registry for images; empty for none. */
  readonly systemDefaultRegistry: string;
}

const HEADER = [
  "# Traefik, as packaged. Written anew at each start: to change values, put a HelmChartConfig named traefik in",
  "# namespace kube-system into a file of its own in this folder.",
  "",
].join("\n");

/** On HelmCharts: the Helm controller moves a registry in `image.repository` to `image.registry`. */
const SPLIT_IMAGE_ANNOTATION = "k3slb.io/split-image-registry";

const TOLERATIONS = [
  { key: "CriticalAddonsOnly", operator: "Exists" },
  { key: "node-role.kubernetes.io/control-plane", operator: "Exists", effect: "NoSchedule" },
  { key: "node-role.kubernetes.io/master", operator: "Exists", effect: "NoSchedule" },
];

/** The text of `traefik.yaml`. */
export function traefikManifest(input: TraefikManifestInput): string {
  const { plan } = input;
  const charts: UnknownObject[] = [];
  if (plan.crdChart !== undefined) {
    // CRDs that are there already, from an older chart, become this release's.
    const spec = { ...chartFields(plan.crdChart), takeOwnership: true };
    charts.push(helmChart(TRAEFIK_CRD_CHART_NAME, { spec }));
  } else if (plan.keptCrdChart !== undefined) {
    // Left out it would be pruned, and all CRDs with the users' routes would go with it.
    const annotations = { [UNMANAGED_ANNOTATION]: "true", "k3slb.io/prune": "false" };
    charts.push(helmChart(TRAEFIK_CRD_CHART_NAME, { annotations, spec: plan.keptCrdChart }));
  }
  const repack = repackVersion(plan.chart);
  const spec = {
    ...chartFields(plan.chart),
    ...(repack === undefined ? {} : {
      set: { "global.systemDefaultRegistry": withoutSlash(input.systemDefaultRegistry) },
    }),
    valuesContent: stringifyYaml(plan.traefik.generation === "v1" ? valuesV1(input) : values(input, repack)),
  };
  // `image.repository: docker.io/library/traefik`, as K3s's documentation has it, must work with charts that have `image.registry`, too.
  const hasRegistry = repack === undefined && majorOf(plan.chart) >= FIRST_CHART_WITH_REGISTRY;
  const annotations = hasRegistry ? { [SPLIT_IMAGE_ANNOTATION]: "true" } : undefined;
  charts.push(helmChart(TRAEFIK_CHART_NAME, { spec, annotations }));
  return HEADER + charts.map((chart) => stringifyYaml(chart)).join("---\n") + definitions(plan);
}

/**
 * Helm installs the definitions inside a chart once and never upgrades them, so v3's come as objects of this manifest, which is applied at
 * each start. They are never pruned; the annotation keeps any chart that has them in its templates from deleting them.
 */
function definitions({ traefik }: TraefikPlan): string {
  if (traefik.generation !== "v3") return "";
  const documents = TRAEFIK_DEFINITIONS.map((text) => {
    const definition: UnknownObject = JSON.parse(text);
    const annotations = { ...definition.metadata?.annotations, "helm.sh/resource-policy": "keep" };
    return `---\n${JSON.stringify({ ...definition, metadata: { ...definition.metadata, annotations } })}\n`;
  });
  return `---\n# Traefik's own kinds, from chart ${TRAEFIK_DEFINITIONS_CHART}, one a line. They stay when Traefik goes.\n${
    documents.join("")
  }`;
}

function helmChart(
  name: string,
  parts: { readonly spec: object; readonly annotations?: Record<string, string> | undefined },
): UnknownObject {
  return {
    apiVersion: apiVersionOf(HELM_CHART_TYPE),
    kind: HELM_CHART_TYPE.kind,
    metadata: { name, namespace: PACKAGED_NAMESPACE, ...present({ annotations: parts.annotations }) },
    spec: parts.spec,
  };
}

function chartFields(source: ChartSource): object {
  // As in K3s; the Helm controller answers it from the folder and sends the archive along.
  if ("file" in source) return { chart: `https://%{KUBERNETES_API}%/static/charts/${source.file}` };
  const { repo, name, version } = source.pinned;
  return { repo, chart: name, version };
}

function values(input: TraefikManifestInput, repack: string | undefined): object {
  const image = repack === undefined ? imageValues(input) : repackedImageValues(repack);
  return {
    providers: { kubernetesIngress: { publishedService: { enabled: true } } },
    priorityClassName: "system-cluster-critical",
    ...(Object.keys(image).length === 0 ? {} : { image }),
    tolerations: TOLERATIONS,
    service: { spec: { ipFamilyPolicy: "PreferDualStack" } },
  };
}

/** Without a registry the chart's own image. An archive of another version than the pinned one has an image of its own, too. */
function imageValues({ plan, systemDefaultRegistry }: TraefikManifestInput): object {
  const { repository, tag, insteadOfCharts } = plan.traefik.image;
  const given = withoutSlash(systemDefaultRegistry);
  const place = given === ""
    ? {}
    : majorOf(plan.chart) >= FIRST_CHART_WITH_REGISTRY
    ? { registry: given, repository }
    : { repository: imageFrom(given, repository) };
  return { ...place, ...(isPinned(plan) && insteadOfCharts !== undefined ? { tag } : {}) };
}

function repackedImageValues(version: string): object {
  return present({ repository: K3S_TRAEFIK_REPOSITORY, tag: K3S_TRAEFIK_TAGS[version] });
}

function isPinned({ traefik, chart }: TraefikPlan): boolean {
  return "pinned" in chart || versionInName(chart.file) === traefik.chart.version;
}

/** The version of an archive that K3s repacked, as in `40.1.4+up40.1.0`; `undefined` for any other chart. */
function repackVersion(source: ChartSource): string | undefined {
  return "file" in source && source.file.includes("+up") ? versionInName(source.file) : undefined;
}

function versionInName(file: string): string {
  return file.replace(/^traefik-/, "").replace(/\.tgz$/, "");
}

/** Release notes of chart 22.0.0: `image.registry` is new; before it the repository holds the registry. */
const FIRST_CHART_WITH_REGISTRY = 22;

function majorOf(source: ChartSource): number {
  return Number.parseInt("file" in source ? versionInName(source.file) : source.pinned.version, 10);
}

/** Chart 1.x has another layout. */
function valuesV1({ plan, systemDefaultRegistry }: TraefikManifestInput): object {
  const { repository, tag } = plan.traefik.image;
  const registry = withoutSlash(systemDefaultRegistry);
  return {
    rbac: { enabled: true },
    ssl: { enabled: true },
    metrics: { prometheus: { enabled: true } },
    kubernetes: { ingressEndpoint: { useDefaultPublishedService: true } },
    image: registry === "" ? repository : `${registry}/${repository}`,
    imageTag: tag,
    deployment: { podAnnotations: { "prometheus.io/port": "9100", "prometheus.io/scrape": "true" } },
    priorityClassName: "system-cluster-critical",
    tolerations: TOLERATIONS,
  };
}

/** Charts put a slash of their own behind it; two make no image name. */
function withoutSlash(registry: string): string {
  return registry.replace(/\/+$/, "");
}
