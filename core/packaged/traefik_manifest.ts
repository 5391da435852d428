// The manifest of Traefik: its HelmCharts. Pure. Values as K3s gives them (k3s `manifests/traefik.yaml`), with two differences
// that the upstream charts need: the registry is `image.registry`, and metrics are scraped where they are (9100).
import type { UnknownObject } from "../kube/types.ts";
import { imageFrom } from "../shared/image.ts";
import { stringifyYaml } from "../shared/yaml.ts";
import { type ChartSource, TRAEFIK_CHART_NAME, TRAEFIK_CRD_CHART_NAME, type TraefikPlan } from "./traefik.ts";
import { PACKAGED_NAMESPACE } from "./ownership.ts";

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
    const annotations = { "helmcharts.helm.cattle.io/unmanaged": "true", "k3slb.io/prune": "false" };
    charts.push(helmChart(TRAEFIK_CRD_CHART_NAME, { annotations, spec: { chart: plan.keptCrdChart } }));
  }
  const isRepacked = "file" in plan.chart && plan.chart.file.includes("+up");
  const spec = {
    ...chartFields(plan.chart),
    ...(isRepacked ? { set: { "global.systemDefaultRegistry": withoutSlash(input.systemDefaultRegistry) } } : {}),
    valuesContent: stringifyYaml(plan.traefik.generation === "v1" ? valuesV1(input) : values(input, isRepacked)),
  };
  charts.push(helmChart(TRAEFIK_CHART_NAME, { spec }));
  return HEADER + charts.map((chart) => stringifyYaml(chart)).join("---\n");
}

function helmChart(
  name: string,
  parts: { readonly spec: object; readonly annotations?: Readonly<Record<string, string>> },
): UnknownObject {
  return {
    apiVersion: "helm.cattle.io/v1",
    kind: "HelmChart",
    metadata: {
      name,
      namespace: PACKAGED_NAMESPACE,
      ...(parts.annotations === undefined ? {} : { annotations: parts.annotations }),
    },
    spec: parts.spec,
  };
}

function chartFields(source: ChartSource): object {
  // As in K3s; the Helm controller answers it from the folder and sends the archive along.
  if ("file" in source) return { chart: `https://%{KUBERNETES_API}%/static/charts/${source.file}` };
  const { repo, name, version } = source.pinned;
  return { repo, chart: name, version };
}

function values({ plan, systemDefaultRegistry }: TraefikManifestInput, isRepacked: boolean): object {
  const { repository, tag } = plan.traefik.image;
  const given = withoutSlash(systemDefaultRegistry);
  const image = isRepacked
    ? { repository }
    : majorOf(plan.chart) >= FIRST_CHART_WITH_REGISTRY
    ? { registry: given === "" ? "docker.io" : given, repository }
    : { repository: imageFrom(given, repository) };
  return {
    deployment: { podAnnotations: { "prometheus.io/port": "9100", "prometheus.io/scrape": "true" } },
    providers: { kubernetesIngress: { publishedService: { enabled: true } } },
    priorityClassName: "system-cluster-critical",
    image: { ...image, tag },
    tolerations: TOLERATIONS,
    service: { ipFamilyPolicy: "PreferDualStack" },
  };
}

/** Release notes of chart 22.0.0: `image.registry` is new; before it the repository holds the registry. */
const FIRST_CHART_WITH_REGISTRY = 22;

function majorOf(source: ChartSource): number {
  const text = "file" in source ? source.file.replace(/^traefik-/, "") : source.pinned.version;
  return Number.parseInt(text, 10);
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
