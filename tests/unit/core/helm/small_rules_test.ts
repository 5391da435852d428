// The small pure rules of the Helm controller: set, durations, YAML, log lines, generated types.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { HELM_CHART_CONFIG_CRD, HELM_CHART_CRD } from "../../../../core/helm/crds.ts";
import { formatGoDuration, parseGoDuration } from "../../../../core/helm/jobs/go_duration.ts";
import { failureLine } from "../../../../core/helm/jobs/job_failure.ts";
import { latestRelease } from "../../../../core/helm/releases/release.ts";
import { setArguments } from "../../../../core/helm/values/set_values.ts";
import { sourceDescription } from "../../../../core/helm/install_plan.ts";
import { compareKeys, renderValuesYaml } from "../../../../core/helm/values/values_yaml.ts";
import { parseJson } from "../../../../core/kube/json.ts";
import { parseYaml } from "../../../../core/shared/yaml.ts";
import { generatedFile, generateHelmTypes } from "../../../support/helm_types.ts";
import { chartWith } from "./fixtures.ts";

Deno.test("setArguments: helm's parser gives back what was written", () => {
  for (const value of ["c:\\dir", "\\\\server\\share", "a,b", "{a,b}", "trailing\\", "", "k=v", "x\ny"]) {
    const [flag, argument = ""] = setArguments({ key: value });
    assert.equal(flag, "--set-string");
    assert.equal(helmReads(argument.slice("key=".length)), value.replaceAll(/\\(?=,)/g, ""), value);
  }
});

/** The value as helm's `--set-string` reads it: a backslash takes the next character as it is; an open comma would end it. */
function helmReads(text: string): string {
  let value = "";
  for (let i = 0; i < text.length; i++) {
    if (text[i] === ",") throw new Error(`"${text}" ends at ${i}`);
    value += text[i] === "\\" ? text[++i] ?? "" : text[i];
  }
  return value;
}

const CHART_TIMEOUT = HELM_CHART_CRD.spec.versions[0]?.schema?.openAPIV3Schema?.properties?.["spec"]?.properties
  ?.["timeout"] as { readonly pattern: string };

Deno.test("formatGoDuration: as Go prints", () => {
  const cases = {
    "600s": "10m0s",
    "1.5h": "1h30m0s",
    "0s": "0s",
    "0": "0s",
    "90m": "1h30m0s",
    "1500ms": "1.5s",
    "20us": "20µs",
    "100ns": "100ns",
    "2h0m1s": "2h0m1s",
    "0.5s": "500ms",
    ".5s": "500ms",
    "+5m": "5m0s",
    "1.005s": "1.005s",
    "71.13m": "1h11m7.8s",
    "17.83m881us": "17m49.800881s",
    "0.1ms0.1ns": "100µs",
    "8760h": "8760h0m0s",
    "9223372036854775807ns": "2562047h47m16.854775807s",
  };
  const pattern = new RegExp(CHART_TIMEOUT.pattern);
  for (const [text, want] of Object.entries(cases)) {
    assert.equal(formatGoDuration(parseGoDuration(text) ?? -1n), want, text);
    assert.match(text, pattern, "the API server takes it too");
  }
  for (const text of ["banana", "5", "-5m", "", "5 m", ".s", "1.2.3s", "9223372036854775808ns"]) {
    assert.equal(parseGoDuration(text), undefined, text);
  }
});

Deno.test("renderValuesYaml: as yaml.v2 writes it", () => {
  const cases: readonly { readonly value: unknown; readonly want: string }[] = [
    { value: {}, want: "{}\n" },
    { value: { a: "yes", b: "1:30", c: "1e3", d: "", e: "~" }, want: 'a: "yes"\nb: "1:30"\nc: "1e3"\nd: ""\ne: "~"\n' },
    {
      value: { a: "- x", b: "a: b", c: "#x", d: " x", e: "it's" },
      want: "a: '- x'\nb: 'a: b'\nc: '#x'\nd: ' x'\ne: it's\n",
    },
    { value: { a: "x\ny\n", b: "x\ny", c: "x\n\n" }, want: "a: |\n  x\n  y\nb: |-\n  x\n  y\nc: |+\n  x\n\n" },
    { value: { a: [[1, 2], { b: 1, c: [] }] }, want: "a:\n- - 1\n  - 2\n- b: 1\n  c: []\n" },
    { value: { f: 1e21, g: 0.00001, h: 1.5, i: 1234567.5 }, want: "f: 1e+21\ng: 1e-05\nh: 1.5\ni: 1.2345675e+06\n" },
    { value: { a: "\u{1f600}", b: "\t" }, want: 'a: "\\U0001F600"\nb: "\\t"\n' },
    { value: { a: "one\r\ntwo\r\n" }, want: 'a: "one\\r\\ntwo\\r\\n"\n' },
    { value: { a: "x:\u00a0y", b: "x\u00a0#y" }, want: "a: x:\u00a0y\nb: x\u00a0#y\n" },
    {
      value: { a: "2024-02-30", b: "2024-2-29", c: "2024-01-01 00:00:00 +0000" },
      want: 'a: 2024-02-30\nb: "2024-2-29"\nc: 2024-01-01 00:00:00 +0000\n',
    },
    { value: { ["k".repeat(129)]: [1], "b\nc": {} }, want: `? |-\n  b\n  c\n: {}\n? ${"k".repeat(129)}\n: - 1\n` },
    { value: { a: `${"x".repeat(79)} y z` }, want: `a: ${"x".repeat(79)}\n  y z\n` },
  ];
  for (const { value, want } of cases) {
    assert.equal(renderValuesYaml(value), want);
    assert.deepEqual(parseYaml(want), value, "and it reads back as the same");
  }
});

Deno.test("renderValuesYaml: integers of 64 bits keep their digits, larger ones are floats as in Go", () => {
  const values = parseJson('{"a":9007199254740993,"b":-9223372036854775808,"c":18446744073709551617}');
  assert.equal(renderValuesYaml(values), "a: 9007199254740993\nb: -9223372036854775808\nc: 1.8446744073709552e+19\n");
});

Deno.test("compareKeys: natural order, as yaml.v2 has it", () => {
  const keys = ["a10", "a2", "b", "B", "a", "_x", "1", "10", "2", "a02"];
  assert.deepEqual(keys.toSorted(compareKeys), ["_x", "1", "2", "10", "B", "a", "a2", "a02", "a10", "b"]);
});

Deno.test("failureLine: helm's last error, without the shell's trace and without passwords", () => {
  const cases = [
    { log: "+ helm install\nError: INSTALLATION FAILED: no\n+ exit\n", want: "Error: INSTALLATION FAILED: no" },
    { log: "Error: first\nnoise\nError: second\n", want: "Error: second" },
    { log: "segfault\n", want: "segfault" },
    {
      log: "Error: get https://me:secret@charts.example.com/index.yaml",
      want: "Error: get https://***@charts.example.com/index.yaml",
    },
    {
      log: "Error: get https://me:p@ss@charts.example.com/index.yaml",
      want: "Error: get https://***@charts.example.com/index.yaml",
    },
    {
      log:
        "+ helm upgrade\nError: values don't meet the specifications of the schema(s) in the following chart(s):\napp:\n" +
        "- at '/replicas': got string, want integer\n\n+ exit\n",
      want: "Error: values don't meet the specifications of the schema(s) in the following chart(s): app: " +
        "- at '/replicas': got string, want integer",
    },
    { log: "Error: 2 errors occurred:\n\t* one\n\t* two\n", want: "Error: 2 errors occurred: * one * two" },
    { log: "Error: first:\nError: second\nmore\n", want: "Error: second" },
    {
      log: "++ helm status app\n++ jq -r\nError: release: not found\n+ read -r STATUS\n+ helm install app\nKilled\n",
      want: "Killed",
    },
    {
      log: "if [[ ${HOST} =~ .*:.* ]]; then\nset +v -x\n+ [[ '' == v2 ]]\nCurrent release revision 1 does not match " +
        "expected revision 0\n+ exit\n",
      want: "",
    },
    { log: "+ helm repo remove stable\nError: no repositories configured\n+ true\n", want: "" },
    {
      log: "+ echo x\nCurrent release revision 1 does not match expected revision 0\n+ exit\n",
      want: "",
    },
    {
      log: "Release status is 'failed' and failure policy is 'abort'; waiting for operator intervention\n+ exit 1\n",
      want: "",
    },
    {
      log: "Error: a list:\n* one\nCurrent release revision 1 does not match expected revision 0\n",
      want: "Error: a list: * one",
    },
    { log: "", want: "" },
  ];
  for (const { log, want } of cases) assert.equal(failureLine(log), want);
});

Deno.test("latestRelease: the highest revision, by number", () => {
  const record = (version: string, status: string): object => ({ metadata: { labels: { version, status } } });
  assert.equal(
    latestRelease([record("9", "superseded"), record("10", "deployed"), record("x", "failed")])?.revision,
    10,
  );
  assert.equal(latestRelease([]), undefined);
});

Deno.test("sourceDescription: every kind of source", () => {
  const cases = [
    { spec: { chartContent: "eA==" }, want: "inline spec.chartContent" },
    { spec: { chart: "oci://r/c", version: "1" }, want: "version 1 from OCI registry oci://r/c" },
    { spec: { chart: "oci://r/c" }, want: "latest stable version from OCI registry oci://r/c" },
    { spec: { chart: "https://x/c.tgz" }, want: "https://x/c.tgz" },
    { spec: { chart: "c", version: "1" }, want: "c version 1 from chart repository https://charts.example.com" },
  ];
  for (const { spec, want } of cases) assert.equal(sourceDescription(chartWith(spec)), want);
});

Deno.test("crds: HelmChartConfig has no default failurePolicy, and the chart's fields have bounds", () => {
  const text = (crd: object): string => JSON.stringify(crd);
  assert.doesNotMatch(text(HELM_CHART_CONFIG_CRD), /"default"/);
  assert.match(text(HELM_CHART_CRD), /"default":"reinstall"/);
  assert.match(text(HELM_CHART_CRD), /"minimum":-2147483648,"maximum":2147483647/);
});

Deno.test("generated types: as the CRDs make them", () => {
  const made = generateHelmTypes();
  if ("missing" in made) throw new Error(`The generator can't run: ${made.missing}`);
  for (const [name, text] of Object.entries(made.files)) {
    assert.equal(readFileSync(generatedFile(name), "utf8"), text, "run: deno run -A tests/support/helm_types.ts");
  }
});
