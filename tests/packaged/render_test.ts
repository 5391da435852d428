// Every pinned chart of Traefik, rendered by both helms with what the program would send: with and without a registry, for the oldest and
// the newest Kubernetes that gets it. Needs the charts; run by `deno task test:packaged`.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { chooseTraefik, traefikFor } from "../../core/packaged/traefik.ts";
import { TRAEFIK_DEFINITIONS } from "../../core/packaged/traefik_definitions.generated.ts";
import { traefikManifest } from "../../core/packaged/traefik_manifest.ts";
import { type PinnedTraefik, TRAEFIK_V2_BEFORE_1_22, TRAEFIK_V3 } from "../../core/packaged/versions.ts";
import { parseYaml, parseYamlDocuments } from "../../core/shared/yaml.ts";
import { runProgram, type RunResult } from "../support/programs.ts";
import { at, objectsOf, versionOf } from "../unit/core/packaged/fixtures.ts";
import { definitionsSource, factsOf, PINNED_TRAEFIKS, readFacts } from "./chart_facts.ts";
import { type Chart, chartOf, withCharts } from "./charts.ts";
import { givenParts } from "./parts.ts";

const OLDEST_MINOR = 16;
const NEWEST_MINOR = 36;
const REGISTRY = "reg.example:5000/mirror";
const parts = givenParts();
const helms = [["helm 3", parts.helm3], ["helm 4", parts.helm4]] as const;

/** What the program would send to a cluster of this version. */
function valuesFor(minor: number, registry: string): string {
  const choice = chooseTraefik({ version: versionOf(`v1.${minor}.0`), installed: [], chartFiles: [] });
  ok(choice.deploy);
  const text = traefikManifest({ plan: choice.plan, systemDefaultRegistry: registry });
  return String(at(objectsOf(text).get("HelmChart/traefik"), "spec", "valuesContent"));
}

function template(helm: string, chart: Chart, minor: number, ...values: readonly string[]): Promise<RunResult> {
  const files = values.map((_, index) => ["-f", `/dev/fd/${index + 10}`]).flat();
  const opened = values.map((text, index) => `exec ${index + 10}<<'END_OF_VALUES'\n${text}\nEND_OF_VALUES\n`).join("");
  const args = ["template", "traefik", chart.path, "-n", "kube-system", "--kube-version", `1.${minor}.0`, ...files];
  return runProgram(["bash", "-c", `${opened}exec "$@"`, "bash", helm, ...args], { env: { HOME: "/tmp" } });
}

async function withChart(version: string, body: (chart: Chart) => void | Promise<void>): Promise<void> {
  await withCharts(parts.charts ?? "", async (charts) => {
    const chart = chartOf(charts, "traefik", version);
    ok(chart, `no chart ${version}`);
    await body(chart);
  });
}

const isThere = new Set<string>();
if (parts.charts !== undefined) {
  await withCharts(parts.charts, (charts) => charts.forEach(({ version }) => isThere.add(version)));
}

for (const pinned of PINNED_TRAEFIKS) {
  const { chart: { version }, generation } = pinned;
  const lacking = isThere.has(version) ? undefined : `no chart ${version}`;
  const minors = Array.from({ length: NEWEST_MINOR - OLDEST_MINOR + 1 }, (_, index) => OLDEST_MINOR + index)
    .filter((minor) => traefikFor(versionOf(`v1.${minor}.0`)).traefik.chart.version === version);
  Deno.test({
    name: `chart ${version}: the committed facts are true`,
    ignore: lacking !== undefined,
    fn: () => withChart(version, (chart) => deepEqual(readFacts()[version], factsOf(chart, generation))),
  });
  for (const [name, helm] of helms) {
    for (const registry of ["", REGISTRY]) {
      for (const minor of new Set([minors[0] ?? 0, minors.at(-1) ?? 0])) {
        const reason = lacking ?? (helm === undefined ? `no ${name}` : undefined);
        Deno.test({
          name: `chart ${version}, ${name}, Kubernetes 1.${minor}, ${registry === "" ? "no registry" : "a registry"}` +
            (reason === undefined ? "" : ` (skipped: ${reason})`),
          ignore: reason !== undefined,
          fn: () =>
            withChart(version, async (chart) => {
              const { code, stdout, stderr } = await template(helm ?? "", chart, minor, valuesFor(minor, registry));
              equal(code, 0, stderr);
              checkRendered(stdout, registry, pinned);
            }),
        });
      }
    }
  }
}

function checkRendered(text: string, registry: string, { generation, image }: PinnedTraefik): void {
  const objects = new Map(
    parseYamlDocuments(text).filter(({ value }) => value !== null)
      .map(({ value }) => [`${at(value, "kind")}/${at(value, "metadata", "name")}`, value]),
  );
  const service = at(objects.get("Service/traefik"), "spec");
  equal(at(service, "type"), "LoadBalancer");
  deepEqual((at(service, "ports") as { port: number }[]).map(({ port }) => port).sort(), [443, 80]);
  const template = at(objects.get("Deployment/traefik"), "spec", "template");
  const pod = at(template, "spec");
  equal(at(pod, "priorityClassName"), "system-cluster-critical");
  equal((at(pod, "tolerations") as readonly unknown[]).length, 3);
  equal(at(template, "metadata", "annotations", "prometheus.io/port"), "9100");
  const container = at(pod, "containers", 0);
  if (generation === "v1") {
    const repository = registry === "" ? image.repository : `${registry}/${image.repository}`;
    equal(at(container, "image"), `${repository}:${image.tag}`);
    const settings = String(at(objects.get("ConfigMap/traefik"), "data", "traefik.toml"));
    match(settings, /\[kubernetes\.ingressEndpoint\]\s+publishedService = "kube-system\/traefik"/);
    match(settings, /\[entryPoints\.https\.tls\]/);
    match(settings, /\[metrics\.prometheus\]/);
    ok(objects.has("ClusterRole/traefik"));
    return;
  }
  const unasked = image === TRAEFIK_V2_BEFORE_1_22.image ? "traefik" : "docker.io/traefik";
  equal(at(container, "image"), `${registry === "" ? unasked : `${registry}/library/traefik`}:${image.tag}`);
  equal(at(service, "ipFamilyPolicy"), "PreferDualStack");
  match(
    (at(container, "args") as readonly string[]).join(" "),
    /ingressendpoint\.publishedservice=kube-system\/traefik/,
  );
  ok(objects.has("IngressClass/traefik"));
}

Deno.test({
  name: "the definitions that come along are those of the chart",
  ignore: !isThere.has(TRAEFIK_V3.chart.version),
  fn: () =>
    withChart(TRAEFIK_V3.chart.version, (chart) => {
      const source = definitionsSource(chart);
      for (const text of TRAEFIK_DEFINITIONS) {
        ok(source.includes(text.replaceAll(/[\\']/g, "\\$&")), text.slice(0, 200));
      }
    }),
});

// What docs/compatibility.md says that the chart refuses, and what it says to write instead.
const REFUSED: readonly { readonly given: string; readonly key: RegExp; readonly instead?: string }[] = [
  {
    given: "globalArguments: []",
    key: /globalArguments/,
    instead: "global: {checkNewVersion: false, sendAnonymousUsage: false}",
  },
  {
    given: "ports: {web: {redirectTo: {port: websecure}}}",
    key: /redirectTo/,
    instead: "ports: {web: {http: {redirections: {entryPoint: {to: websecure, scheme: https}}}}}",
  },
  { given: "ports: {web: {redirections: {entryPoint: {to: websecure}}}}", key: /redirections/ },
  {
    given: "ports: {websecure: {tls: {enabled: true}}}",
    key: /tls/,
    instead: "ports: {websecure: {http: {tls: {enabled: true}}}}",
  },
  { given: "ports: {web: {expose: true}}", key: /expose/, instead: "ports: {web: {expose: {default: true}}}" },
  {
    given: "certResolvers: {le: {email: a@example.com}}",
    key: /certResolvers/,
    instead: "certificatesResolvers: {le: {acme: {email: a@example.com}}}",
  },
  { given: "logs: {general: {level: DEBUG}}", key: /logs/, instead: "log: {level: DEBUG}" },
  { given: "logs: {access: {enabled: true}}", key: /logs/, instead: "accessLog: {enabled: true}" },
  {
    given: "providers: {file: {enabled: true, content: 'http: {}'}}",
    key: /content/,
    instead: "providers: {file: {enabled: true, content: {http: {}}}}",
  },
  { given: "image: {name: traefik}", key: /name/ },
  { given: "image: {tag: 3.3.5}", key: /v3\.6\.0/ },
  { given: "dashboard: {enabled: true}", key: /dashboard/, instead: "ingressRoute: {dashboard: {enabled: true}}" },
  { given: "tracing: {zipkin: {}}", key: /zipkin/ },
  { given: "pilot: {enabled: true}", key: /pilot/ },
  { given: "ssl: {enabled: true}", key: /ssl/ },
];
for (const { given, key, instead } of REFUSED) {
  Deno.test({
    name: `chart ${TRAEFIK_V3.chart.version} refuses ${given}${instead === undefined ? "" : ` and takes ${instead}`}`,
    ignore: !isThere.has(TRAEFIK_V3.chart.version) || parts.helm4 === undefined,
    fn: () =>
      withChart(TRAEFIK_V3.chart.version, async (chart) => {
        ok(parseYaml(given));
        const refused = await template(parts.helm4 ?? "", chart, NEWEST_MINOR, valuesFor(NEWEST_MINOR, ""), given);
        ok(refused.code !== 0);
        match(refused.stderr, key);
        if (instead === undefined) return;
        const taken = await template(parts.helm4 ?? "", chart, NEWEST_MINOR, valuesFor(NEWEST_MINOR, ""), instead);
        equal(taken.code, 0, taken.stderr);
      }),
  });
}
