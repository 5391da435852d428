// Values that a chart does not know: what is told, and above all what is not.
import assert from "node:assert/strict";
import { unknownValuesMessage } from "../../../../../core/helm/values/values_warnings.ts";
import { packChart, testChart } from "../../../../support/helm_charts.ts";
import { chartWith } from "../fixtures.ts";

const CHART = `apiVersion: v2
name: app
version: 1.0.0
dependencies:
- name: redis
  version: 1.x
  alias: cache
  condition: cache.enabled,features.cache
  tags: [storage]
- name: common
  version: 1.x
`;

const VALUES = `replicas: 1
image:
  repository: app
  # tag: latest
service:
  type: ClusterIP
  spec:
    externalTrafficPolicy: Cluster
  labels: {}
nodeSelector:
  kubernetes.io/os: linux
securityContext:
  readOnlyRootFilesystem: true
ports:
  web:
    port: 80
settings:
  level: info
plugins:
  first: {}
extraHosts:
additionalArguments: []
autoscaling:
  enabled: false
`;

const TEMPLATE = `image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.settings }}
settings:
  {{- toYaml . | nindent 4 }}
{{- end }}
{{- range $name, $port := .Values.ports }}
{{ $name }}: {{ $port.port }}
{{- end }}
{{- with .Values.autoscaling }}
min: {{ .minReplicas }}
{{- end }}
{{- if hasKey .Values "debug" }}debug{{ end }}
type: {{ .Values.service.type }}
{{ .Values.service.spec | toYaml }}
`;

function chart(more: Readonly<Record<string, string>> = {}): string {
  return packChart("app", {
    "Chart.yaml": CHART,
    "values.yaml": VALUES,
    "templates/app.yaml": TEMPLATE,
    "charts/bundled-v1.2.3.tgz": "",
    "charts/unpacked/Chart.yaml": "",
    ...more,
  });
}

Deno.test("unknownValuesMessage: the key one level too high and the typing mistake are told, with the nearest path", () => {
  const cases = [
    {
      values: { service: { externalTrafficPolicy: "Local" } },
      path: "service.externalTrafficPolicy",
      nearest: "service.spec.externalTrafficPolicy",
    },
    { values: { replica: 2 }, path: "replica", nearest: "replicas" },
    { values: { image: { repositry: "x" } }, path: "image.repositry", nearest: "image.repository" },
    { values: { zzz: 1 }, path: "zzz", nearest: undefined },
  ];
  for (const { values, path, nearest } of cases) {
    const message = unknownValuesMessage(chartWith({ chartContent: chart(), values }), undefined);
    const what = nearest === undefined ? `"${path}" (HelmChart)` : `"${path}" (HelmChart; did you mean "${nearest}"?)`;
    assert.ok(message?.includes(what), `${what}: ${message}`);
  }
});

Deno.test("unknownValuesMessage: what a chart takes without a default is not told", () => {
  const cases: Readonly<Record<string, object>> = {
    "global": { global: { any: 1 } },
    "subcharts by name, alias, file, folder": {
      common: { x: 1 },
      cache: { x: 1 },
      bundled: { x: 1 },
      unpacked: { x: 1 },
    },
    "tags and conditions": { tags: { storage: false }, features: { cache: true } },
    "an empty mapping": { service: { labels: { any: "x" } } },
    "a list, an absent default": { additionalArguments: ["--x"], extraHosts: { a: 1 } },
    "a default that is commented out": { image: { tag: "1" } },
    "what Kubernetes takes": { nodeSelector: { disktype: "ssd" }, securityContext: { runAsUser: 1 } },
    "a mapping handed on inside with": { settings: { more: 1 } },
    "a mapping that is looped over": { ports: { extra: { port: 1 } } },
    "a mapping handed on": { service: { spec: { loadBalancerIP: "192.0.2.1" } } },
    "a key read inside with": { autoscaling: { minReplicas: 2 } },
    "a key read by name": { debug: true },
    "another type than the default's": { replicas: { a: 1 }, image: "x" },
    "null": { replicas: null },
  };
  for (const [name, values] of Object.entries(cases)) {
    assert.equal(
      unknownValuesMessage(chartWith({ chartContent: chart(), values: { ...values } }), undefined),
      undefined,
      name,
    );
  }
});

Deno.test("unknownValuesMessage: old charts, imported values, a schema and broken files", () => {
  const message = (
    files: Readonly<Record<string, string>>,
    values: Readonly<Record<string, unknown>>,
  ): string | undefined => unknownValuesMessage(chartWith({ chartContent: chart(files), values }), undefined);
  const requirements = "dependencies:\n- {name: old, version: 1.x}\n";
  assert.equal(message({ "requirements.yaml": requirements }, { old: { x: 1 } }), undefined);
  assert.equal(message({ "values.schema.json": '{"properties":{"inSchema":{}}}' }, { inSchema: 1 }), undefined);
  const imported = "dependencies:\n- {name: lib, version: 1.x, import-values: [data]}\n";
  assert.equal(message({ "Chart.yaml": imported }, { zzz: 1 }), undefined);
  for (const broken of ["dependencies: [null, 1, [], {name: 3}]", "dependencies: x", ": :", "[]", ""]) {
    assert.match(message({ "Chart.yaml": broken }, { zzz: 1 }) ?? "", /"zzz"/, broken);
  }
  for (const broken of ["a: [", "- a", "", "a: 1\na: 2", "a: 1\n---\nb: 1"]) {
    assert.equal(message({ "values.yaml": broken }, { zzz: 1 }), undefined, broken);
  }
});

Deno.test("unknownValuesMessage: values that can't be read as YAML are left to helm", () => {
  for (const valuesContent of ["a: [", "\ta: 1", "a: 1\n---\nb: 1", "just text", "1", "a: *none", "a: &a [*a]"]) {
    assert.equal(
      unknownValuesMessage(chartWith({ chartContent: chart(), valuesContent }), undefined),
      undefined,
      valuesContent,
    );
  }
});

Deno.test("unknownValuesMessage: names where the value stands; silent without the chart", () => {
  const config = { spec: { valuesContent: "color: x" } };
  assert.match(
    unknownValuesMessage(chartWith({ chartContent: testChart("x") }), config) ?? "",
    /"color" \(HelmChartConfig; did you mean "colour"/,
  );
  for (const chartContent of ["bm90IGEgdGd6", "!not base64!", ""]) {
    assert.equal(unknownValuesMessage(chartWith({ chartContent }), config), undefined);
  }
  assert.equal(unknownValuesMessage(chartWith(), config), undefined);
});
