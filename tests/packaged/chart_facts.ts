// What the pins are held to: for each pinned chart of Traefik its bounds, the values that this program sends, and its definitions. And the
// definitions that come with the program.
// `deno task charts --charts DIR` reads both anew, from folders or archives of the charts, and says which it did not find.
import { readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import {
  TRAEFIK_V1,
  TRAEFIK_V2,
  TRAEFIK_V2_BEFORE_1_22,
  TRAEFIK_V3,
  type TraefikGeneration,
} from "../../core/packaged/versions.ts";
import { type Chart, chartOf, withCharts } from "./charts.ts";

/** What is known of one chart. */
export interface ChartFacts {
  /** The proxy that it takes unasked. */
  readonly appVersion: string;
  /** The range of Kubernetes in helm's own notation; absent: any. */
  readonly kubeVersion?: string;
  readonly proxyMin?: string;
  readonly proxyMax?: string;
  /** Whether its values.yaml has the value, or a mapping above it takes anything: an empty one, or one that the schema leaves open. */
  readonly values: Readonly<Record<string, "declared" | "open" | "absent">>;
  /** Bytes of each definition in `crds` as JSON. */
  readonly definitions: Readonly<Record<string, number>>;
}

/** Every chart of Traefik that some cluster gets. */
export const PINNED_TRAEFIKS = [TRAEFIK_V1, TRAEFIK_V2_BEFORE_1_22, TRAEFIK_V2, TRAEFIK_V3];
const FACTS_FILE = new URL("../vectors/traefik_charts.json", import.meta.url);
const DEFINITIONS_FILE = new URL("../../core/packaged/traefik_definitions.generated.ts", import.meta.url);
/** Hub's definitions are for another product. */
const OWN_GROUP = ".traefik.io";
const HUB_GROUP = ".hub.traefik.io";

const SENT_SINCE_V2: readonly string[] = [
  "image.registry",
  "image.repository",
  "image.tag",
  "priorityClassName",
  "providers.kubernetesIngress.publishedService.enabled",
  "service.spec.ipFamilyPolicy",
  "tolerations",
];
/** What `core/packaged/traefik_manifest.ts` sends. */
const SENT_VALUES: Readonly<Record<TraefikGeneration, readonly string[]>> = {
  v1: [
    "deployment.podAnnotations",
    "image",
    "imageTag",
    "kubernetes.ingressEndpoint.useDefaultPublishedService",
    "metrics.prometheus.enabled",
    "priorityClassName",
    "rbac.enabled",
    "ssl.enabled",
    "tolerations",
  ],
  v2: SENT_SINCE_V2,
  v3: SENT_SINCE_V2,
};

/** The committed facts, by the chart's version. */
export function readFacts(): Readonly<Record<string, ChartFacts>> {
  return JSON.parse(readFileSync(FACTS_FILE, "utf8"));
}

/** The facts of a chart that installs this Traefik. */
export function factsOf({ meta, values, schema, definitions }: Chart, generation: TraefikGeneration): ChartFacts {
  const annotations = (meta["annotations"] ?? {}) as Readonly<Record<string, string>>;
  const [proxyMin, proxyMax] = ["min", "max"].map((end) => annotations[`traefik.io/proxy-${end}-version`]);
  return {
    appVersion: String(meta["appVersion"]),
    ...(meta["kubeVersion"] === undefined ? {} : { kubeVersion: String(meta["kubeVersion"]) }),
    ...(proxyMin === undefined ? {} : { proxyMin }),
    ...(proxyMax === undefined ? {} : { proxyMax }),
    values: Object.fromEntries(
      SENT_VALUES[generation].map((path) => [path, placeOf(path.split("."), { values, schema })]),
    ),
    definitions: Object.fromEntries(definitions.map((one) => [one.metadata.name, JSON.stringify(one).length])),
  };
}

function placeOf(
  path: readonly string[],
  defaults: { readonly values: unknown; readonly schema: unknown },
): "declared" | "open" | "absent" {
  const [key = "", ...rest] = path;
  const { values, schema } = defaults;
  if (values === null || values === undefined) return "open";
  if (typeof values !== "object") return "absent";
  if (key in values) {
    const inner = { values: field(values, key), schema: field(field(schema, "properties"), key) };
    return rest.length === 0 ? "declared" : placeOf(rest, inner);
  }
  if (Object.keys(values).length === 0) return "open";
  return schema !== undefined && field(schema, "additionalProperties") !== false ? "open" : "absent";
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;
}

/** The source file with Traefik's own definitions in a chart. */
export function definitionsSource({ version, definitions }: Chart): string {
  const own = definitions.filter(({ metadata: { name } }) => name.endsWith(OWN_GROUP) && !name.endsWith(HUB_GROUP));
  const lines = own.map((definition) => `  '${JSON.stringify(definition).replaceAll(/[\\']/g, "\\$&")}',\n`);
  return `// Made from chart traefik ${version} by \`deno task charts\`. Never edit it. Whose it is: build/notices.ts.
// deno-fmt-ignore-file

/** The chart that the definitions are from. */
export const TRAEFIK_DEFINITIONS_CHART = "${version}";

/** The CustomResourceDefinitions of Traefik itself, each as JSON. */
export const TRAEFIK_DEFINITIONS: readonly string[] = [
${lines.join("")}];
`;
}

if (import.meta.main) {
  const { charts: folder } = parseArgs({ args: Deno.args, options: { charts: { type: "string" } } }).values;
  if (folder === undefined) throw new Error("Say where the charts are: deno task charts --charts DIR");
  await withCharts(folder, (charts) => {
    const facts: Record<string, ChartFacts> = { ...readFacts() };
    for (const { chart: { name, version }, generation } of PINNED_TRAEFIKS) {
      const chart = chartOf(charts, name, version);
      if (chart !== undefined) facts[version] = factsOf(chart, generation);
      process.stdout.write(`${name} ${version}: ${chart === undefined ? "not found, left as it is" : "read"}\n`);
    }
    const pinned = new Set(PINNED_TRAEFIKS.map(({ chart }) => chart.version));
    const kept = Object.entries(facts).filter(([version]) => pinned.has(version));
    writeFileSync(FACTS_FILE, `${JSON.stringify(Object.fromEntries(kept), null, 2)}\n`);
    const v3 = chartOf(charts, TRAEFIK_V3.chart.name, TRAEFIK_V3.chart.version);
    if (v3 !== undefined) writeFileSync(DEFINITIONS_FILE, definitionsSource(v3));
  });
}
