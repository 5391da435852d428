// The chart and the plain manifest are one thing: deploy/k3slb.yaml is what the chart renders (K3SLB_UPDATE_GOLDENS=1 writes it anew), and the
// server's roles in it are those of deploy/rbac.yaml.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { VERSION } from "../../build/build_target.ts";
import type { DaemonSet } from "../../core/kube/types.ts";
import { runtimeEnvironment } from "../../core/shared/systemd_unit.ts";
import { parseYamlDocuments } from "../../core/shared/yaml.ts";
import { valueNames } from "../support/chart_values.ts";
import { ensureHelmProgram } from "../support/helm_program.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const CHART = `${ROOT}/deploy/chart`;
const HEAD = `# k3slb in the cluster: the chart in deploy/chart with its defaults, made by the tests of the build.
# kubectl apply --server-side -f k3slb.yaml
`;

interface RbacObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly object[];
}

Deno.test("chart: helm lints it, and refuses a value that is not known", async () => {
  const helm = await ensureHelmProgram();
  assert.equal(run(helm, "lint", "--strict", CHART).status, 0);
  const refused = run(helm, "template", "k3slb", CHART, "--set", "agent.tolerance=1");
  assert.notEqual(refused.status, 0);
  assert.match(refused.stderr, /additional properties 'tolerance' not allowed/);
});

Deno.test("chart: its version is the program's", async () => {
  const text = await Deno.readTextFile(`${CHART}/Chart.yaml`);
  assert.ok(text.includes(`\nversion: ${VERSION}\n`) && text.includes(`\nappVersion: "${VERSION}"\n`));
});

Deno.test("chart: each value that the schema names changes what is rendered", async () => {
  const helm = await ensureHelmProgram();
  const usual = run(helm, "template", "k3slb", CHART, "-n", "kube-system").stdout;
  const settings = [
    "image.repository=registry.example.com/k3slb",
    "image.tag=v9",
    "image.pullPolicy=Always",
    "image.pullSecrets={pull}",
    "server.enabled=false",
    "server.replicas=3",
    "server.disable={traefik}",
    "server.clusterAdmin=true",
    "server.args={--lb-default=false}",
    "server.resources.limits.memory=1Gi",
    "server.nodeSelector.a=b",
    "server.tolerations[0].key=c",
    "agent.enabled=false",
    "agent.args={--reserved-ports=1}",
    "agent.resources.limits.memory=1Gi",
    "agent.nodeSelector.a=b",
    "agent.tolerations[0].key=c",
    "agent.nodePolicy=false",
    "servicelbNamespace=lb",
  ];
  const schema = JSON.parse(await Deno.readTextFile(`${CHART}/values.schema.json`));
  assert.deepEqual(valueNames(schema).filter((name) => !settings.some((one) => one.startsWith(name))), []);
  for (const setting of settings) {
    const changed = run(helm, "template", "k3slb", CHART, "-n", "kube-system", "--set", setting);
    assert.equal(changed.status, 0, changed.stderr);
    assert.notEqual(changed.stdout, usual, setting);
  }
});

Deno.test("chart: the template of the server's roles is made from deploy/rbac.yaml", async () => {
  const path = `${CHART}/templates/server-rbac.yaml`;
  const wanted = roleTemplate(await Deno.readTextFile(`${ROOT}/deploy/rbac.yaml`));
  if (Deno.env.get("K3SLB_UPDATE_GOLDENS") === "1") await Deno.writeTextFile(path, wanted);
  assert.equal(await Deno.readTextFile(path), wanted);
});

Deno.test("deploy/k3slb.yaml: what the chart renders", async () => {
  const path = `${ROOT}/deploy/k3slb.yaml`;
  const rendered = await render();
  if (Deno.env.get("K3SLB_UPDATE_GOLDENS") === "1") await Deno.writeTextFile(path, rendered);
  assert.equal(await Deno.readTextFile(path), rendered);
});

Deno.test("deploy/k3slb.yaml: both programs have the engine's settings of their units, over those of the image", async () => {
  const text = await Deno.readTextFile(`${ROOT}/deploy/k3slb.yaml`);
  const objects = parseYamlDocuments(text).map(({ value }) => value as DaemonSet);
  for (const [kind, role] of [["Deployment", "server"], ["DaemonSet", "agent"]] as const) {
    const env = objects.find((one) => one.kind === kind)?.spec?.template.spec?.containers[0]?.env ?? [];
    const given = env.flatMap(({ name, value }) => value === undefined ? [] : [[name, value]]);
    assert.deepEqual({ ...runtimeEnvironment("agent"), ...Object.fromEntries(given) }, runtimeEnvironment(role));
  }
});

Deno.test("chart: the server's roles are the shipped ones", async () => {
  const rules = (text: string): readonly string[] =>
    parseYamlDocuments(text).map(({ value }) => value as RbacObject)
      .filter(({ kind, metadata }) => /Role$/.test(kind) && metadata.name.startsWith("k3slb-server"))
      .map(({ kind, metadata, rules }) => JSON.stringify([kind, metadata.name, metadata.namespace, rules])).sort();
  const shipped = rules(await Deno.readTextFile(`${ROOT}/deploy/rbac.yaml`));
  assert.ok(shipped.length > 2);
  assert.deepEqual(rules(await render()), shipped);
});

/** deploy/rbac.yaml without its ServiceAccount as a template: the chart's namespaces and labels put in. */
function roleTemplate(rbac: string): string {
  const [, ...documents] = rbac.split("\n---\n");
  const labels = '  labels:\n    {{- include "k3slb.labels" $labels | nindent 4 }}\n';
  const rendered = documents.map((document) => {
    // What is read in kube-system is there, wherever the load balancer's own namespace is.
    const namespace = /name: k3slb-server-reads\n/.test(document) ? "kube-system" : "{{ .Values.servicelbNamespace }}";
    return document.trimEnd()
      .replace(
        /^(metadata:\n {2}name: \S+\n)(?: {2}namespace: kube-system\n)?/m,
        (head, name) => `${name}${head.includes("namespace") ? `  namespace: ${namespace}\n` : ""}${labels}`,
      )
      .replace(/^ {4}namespace: kube-system$/m, "    namespace: {{ .Release.Namespace }}");
  });
  return `{{- /* Made from deploy/rbac.yaml by \`deno task docs\`. */}}
{{- if and .Values.server.enabled (not .Values.server.clusterAdmin) }}
{{- $labels := dict "root" . "component" "server" }}
${rendered.join("\n---\n")}
{{- end }}
`;
}

async function render(): Promise<string> {
  const helm = await ensureHelmProgram();
  const { status, stdout, stderr } = run(helm, "template", "k3slb", CHART, "-n", "kube-system");
  assert.equal(status, 0, stderr);
  // Nobody but helm is to say that helm manages it.
  return HEAD + stdout.replaceAll(/^ *app\.kubernetes\.io\/managed-by: Helm\n/gm, "");
}

function run(program: string, ...args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(program, args, { encoding: "utf8", maxBuffer: 64_000_000 });
}
