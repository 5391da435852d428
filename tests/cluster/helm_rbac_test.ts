// The documented role for Helm Jobs is enough for a chart with what Traefik's has, and no more than that: by the audit log of a real API
// server no request of the Jobs is refused, and each verb is used. The chart itself is taken where K3SLB_TRAEFIK_CHART names its archive.
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import process from "node:process";
import { HELM_CHART_CONFIGS, HELM_CHARTS } from "../../core/helm/helm_chart.ts";
import { CLUSTER_ROLES, SECRETS } from "../../core/kube/resources.ts";
import { parseYamlDocuments, stringifyYaml } from "../../core/shared/yaml.ts";
import { packChart } from "../support/helm_charts.ts";
import { KLIPPER_HELM_VERSIONS } from "../support/helm_entry.ts";
import { HelmSuite, isGone } from "../support/helm_world.ts";
import { givenScripts } from "../support/klipper_helm.ts";
import { grantsOf, type RbacObject, type Rule, unusedGrants } from "../support/rbac_grants.ts";
import { waitUntil } from "../support/wait.ts";

const ROLE = "k3slb-charts";
const NAME = "traefik";
const JOB_USER = `system:serviceaccount:default:helm-${NAME}`;
const IMAGE = `rancher/klipper-helm:${KLIPPER_HELM_VERSIONS.new}`;
const archive = process.env["K3SLB_TRAEFIK_CHART"];
const suite = new HelmSuite(IMAGE, { clusterRole: ROLE });

const roles = parseYamlDocuments(readFileSync(new URL("../../deploy/helm-role.yaml", import.meta.url), "utf8"))
  .map(({ value }) => value as RbacObject);

function rulesOf(name: string): readonly Rule[] {
  return roles.find(({ metadata }) => metadata?.name === name)?.rules ?? [];
}

/** Objects of the kinds that Traefik's chart has, and its role. */
function standIn(): string {
  const meta = { name: "{{ .Release.Name }}" };
  const labels = { app: NAME };
  const objects: Readonly<Record<string, object>> = {
    account: { apiVersion: "v1", kind: "ServiceAccount", metadata: meta },
    role: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: meta,
      rules: rulesOf("k3slb-charts-traefik"),
    },
    binding: {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: meta,
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: NAME },
      subjects: [{ kind: "ServiceAccount", name: NAME, namespace: "default" }],
    },
    deployment: {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { ...meta, annotations: { a: "{{ .Values.deployment.annotations.a }}" } },
      spec: {
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [{ name: "a", image: "red" }] } },
      },
    },
    service: {
      apiVersion: "v1",
      kind: "Service",
      metadata: { ...meta, annotations: { a: "{{ .Values.service.annotations.a }}" } },
      spec: { selector: labels, ports: [{ port: 80 }] },
    },
    class: {
      apiVersion: "networking.k8s.io/v1",
      kind: "IngressClass",
      metadata: meta,
      spec: { controller: "example.com/none" },
    },
  };
  const definition = {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "things.example.com" },
    spec: {
      group: "example.com",
      scope: "Namespaced",
      names: { plural: "things", singular: "thing", kind: "Thing", listKind: "ThingList" },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
    },
  };
  return packChart(NAME, {
    "crds/things.yaml": stringifyYaml(definition),
    "Chart.yaml": `apiVersion: v2\nname: ${NAME}\nversion: 1.0.0\n`,
    "values.yaml": "deployment: {annotations: {a: red}}\nservice: {annotations: {a: red}}\n",
    ...Object.fromEntries(
      Object.entries(objects).map(([name, object]) => [`templates/${name}.yaml`, stringifyYaml(object)]),
    ),
  });
}

const what = `${archive === undefined ? "a stand-in" : "Traefik's chart"}, klipper-helm ${
  givenScripts().new === undefined ? "imitated" : "itself"
}`;

suite.test(`install, upgrade and uninstall need the documented role, and all of it (${what})`, async () => {
  const { client, plane } = suite.world;
  for (const role of roles) await client.apply(CLUSTER_ROLES, role as never);
  await waitUntil("the role to be put together", async () => {
    const { rules = [] } = await client.get(CLUSTER_ROLES, { name: ROLE }) as RbacObject;
    return rules.length > 0;
  }, suite.waiting());
  const mark = plane.auditMark();
  const chartContent = archive === undefined ? standIn() : Buffer.from(readFileSync(archive)).toString("base64");
  await suite.createChart(NAME, { chartContent });
  await suite.waitForCondition(NAME, "Deployed", "True", /revision 1$/);
  const config = { name: NAME, namespace: "default" };
  await client.create(HELM_CHART_CONFIGS, {
    apiVersion: "helm.cattle.io/v1",
    kind: "HelmChartConfig",
    metadata: config,
    spec: { valuesContent: "deployment: {annotations: {a: b}}\nservice: {annotations: {a: b}}\n" },
  });
  await suite.waitForCondition(NAME, "Deployed", "True", /revision 2$/);
  await client.delete(HELM_CHARTS, config);
  await waitUntil("the chart to go", () => isGone(client.get(HELM_CHARTS, config)), suite.waiting());
  const { items } = await client.list(SECRETS, { namespace: "default", labelSelector: `owner=helm,name=${NAME}` });
  assert.deepEqual(items, []);
  const requests = plane.requestsSince(mark).filter(({ user }) => user === JOB_USER);
  assert.ok(requests.length > 0, "the audit log is empty");
  const refused = requests.filter(({ code }) => code === 403).map(({ verb, uri }) => `${verb} ${uri}`);
  assert.deepEqual(refused, []);
  const granted = roles.filter(({ metadata }) => metadata?.name === "k3slb-charts-helm").flatMap(grantsOf);
  const needed = new Set(requests.map(({ verb, code, group, resource }) => `${verb} ${group}/${resource} ${code}`));
  assert.deepEqual(unusedGrants(granted, requests), [], [...needed].sort().join("\n"));
});
