// HelmCharts on a real control plane with the real helm: installed, upgraded by a HelmChartConfig, failing with helm's own words,
// uninstalled. The controller runs in this process; a test node runs its Jobs.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HELM_CHART_CONFIGS, HELM_CHARTS } from "../../core/helm/helm_chart.ts";
import {
  CLUSTER_ROLE_BINDINGS,
  CONFIG_MAPS,
  EVENTS,
  JOBS,
  NAMESPACES,
  NODES,
  SECRETS,
  SERVICE_ACCOUNTS,
} from "../../core/kube/resources.ts";
import { KLIPPER_HELM_IMAGE } from "../../core/packaged/versions.ts";
import { testChart } from "../support/helm_charts.ts";
import { CONTROLLER_USER, HelmSuite, isGone } from "../support/helm_world.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";

const suite = new HelmSuite(KLIPPER_HELM_IMAGE);

suite.test("a HelmChart is installed, upgraded by a HelmChartConfig, left alone, and uninstalled", async () => {
  const { client } = suite.world;
  await suite.createChart("paint", { chartContent: testChart("paint"), valuesContent: "colour: blue\n" });
  await suite.waitForShown("paint", { colour: "blue", size: "small" });
  await suite.waitForCondition("paint", "Deployed", "True");

  await client.create(HELM_CHART_CONFIGS, {
    apiVersion: "helm.cattle.io/v1",
    kind: "HelmChartConfig",
    metadata: { name: "paint", namespace: "default" },
    spec: { valuesContent: "colour: green\n", values: { size: "large" } },
  });
  await suite.waitForShown("paint", { colour: "green", size: "large" });
  await waitUntil(
    "revision 2",
    async () => /revision 2/.test((await suite.condition("paint", "Deployed"))?.message ?? ""),
    suite.waiting(),
  );

  // Resyncs come every half second here: nothing may be written by them.
  const mark = suite.world.plane.auditMark();
  await staysTrue("the release is left alone", () => true, 3_000);
  const writes = suite.world.plane.requestsSince(mark).filter(({ user, verb }) =>
    user === CONTROLLER_USER && ["create", "update", "patch", "delete"].includes(verb)
  );
  assert.deepEqual(writes, []);

  await client.delete(HELM_CHARTS, { namespace: "default", name: "paint" });
  await waitUntil(
    "the chart to go",
    () => isGone(client.get(HELM_CHARTS, { namespace: "default", name: "paint" })),
    suite.waiting(),
  );
  assert.ok(
    await isGone(client.get(CONFIG_MAPS, { namespace: "default", name: "paint-shown" })),
    "the release's object stays",
  );
  const records = await client.list(SECRETS, { namespace: "default", labelSelector: "owner=helm,name=paint" });
  assert.deepEqual(records.items, []);
  assert.ok(await isGone(client.get(CLUSTER_ROLE_BINDINGS, { name: "helm-default-paint" })));
  await waitUntil(
    "everything made for it to go",
    async () =>
      await isGone(client.get(JOBS, { namespace: "default", name: "helm-install-paint" })) &&
      await isGone(client.get(SECRETS, { namespace: "default", name: "chart-values-paint" })) &&
      await isGone(client.get(SERVICE_ACCOUNTS, { namespace: "default", name: "helm-paint" })),
    suite.waiting(),
  );
});

suite.test("a failing chart has helm's error in its condition, and a mended one is installed", async () => {
  await suite.createChart("broken", { chartContent: testChart("broken"), set: { fail: "true" } });
  const found = await suite.waitForCondition("broken", "Deployed", "False", /the colour is out of stock/);
  assert.match(found.message ?? "", /^Error: /);
  const warning = await waitUntil(
    "an Event",
    async () => (await suite.eventsOf("broken")).find(({ reason }) => reason === "JobFailed"),
    suite.waiting(),
  );
  assert.match(warning.message ?? "", /the colour is out of stock/);
  await suite.world.client.patch(HELM_CHARTS, { namespace: "default", name: "broken" }, {
    type: "merge",
    body: { spec: { set: { fail: "false" } } },
  });
  await suite.waitForShown("broken", { colour: "red", size: "small" });
  await suite.waitForCondition("broken", "Deployed", "True");
  assert.equal((await suite.condition("broken", "Failed"))?.status, "False");
});

suite.test("a Job that gives up leaves Failed=True with the last line of its log", async () => {
  await suite.createChart("hopeless", { chartContent: testChart("hopeless"), set: { fail: "true" }, backOffLimit: 0 });
  const found = await suite.waitForCondition("hopeless", "Failed", "True", /out of stock/);
  assert.equal(found.reason, "Job failed");
});

suite.test("a chart that is deleted while its Job is tried again and again goes, and leaves nothing", async () => {
  const { client } = suite.world;
  await suite.createChart("early", { chartContent: testChart("early"), set: { fail: "true" } });
  await suite.waitForCondition("early", "Deployed", "False", /out of stock/);
  await client.delete(HELM_CHARTS, { namespace: "default", name: "early" });
  await waitUntil(
    "the chart and its Jobs to go",
    async () =>
      await isGone(client.get(HELM_CHARTS, { namespace: "default", name: "early" })) &&
      await isGone(client.get(JOBS, { namespace: "default", name: "helm-install-early" })) &&
      await isGone(client.get(JOBS, { namespace: "default", name: "helm-delete-early" })),
    suite.waiting(),
  );
  const records = await client.list(SECRETS, { namespace: "default", labelSelector: "owner=helm,name=early" });
  assert.deepEqual(records.items, []);
});

suite.test("a release that helm records in ConfigMaps is known as deployed, and uninstalled", async () => {
  const { client } = suite.world;
  const records = { namespace: "default", labelSelector: "owner=helm,name=mapped" };
  await suite.createChart("mapped", { chartContent: testChart("mapped"), driver: "configmap" });
  await suite.waitForCondition("mapped", "Deployed", "True", /revision 1/);
  assert.equal((await client.list(CONFIG_MAPS, records)).items.length, 1);
  await client.delete(HELM_CHARTS, { namespace: "default", name: "mapped" });
  await waitUntil(
    "the chart to go",
    () => isGone(client.get(HELM_CHARTS, { namespace: "default", name: "mapped" })),
    suite.waiting(),
  );
  assert.deepEqual((await client.list(CONFIG_MAPS, records)).items, []);
});

suite.test("dependents that someone deletes come back", async () => {
  const { client } = suite.world;
  await suite.createChart("kept", { chartContent: testChart("kept") });
  await suite.waitForCondition("kept", "Deployed", "True");
  await client.delete(SERVICE_ACCOUNTS, { namespace: "default", name: "helm-kept" });
  await client.delete(CONFIG_MAPS, { namespace: "default", name: "chart-content-kept" });
  await waitUntil(
    "both to come back",
    async () =>
      !await isGone(client.get(SERVICE_ACCOUNTS, { namespace: "default", name: "helm-kept" })) &&
      !await isGone(client.get(CONFIG_MAPS, { namespace: "default", name: "chart-content-kept" })),
    suite.waiting(),
  );
});

suite.test("a chart in the static folder is found without K3s's API server", async () => {
  const folder = join(suite.world.dataDir, "server", "static", "charts");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "local-1.0.0.tgz"), testChart("local"), "base64");
  await suite.createChart("local", { chart: "https://%{KUBERNETES_API}%/static/charts/local-1.0.0.tgz" });
  await suite.waitForShown("local", { colour: "red", size: "small" });
});

suite.test("a bad timeout is refused by the API server, and other charts go on", async () => {
  await assert.rejects(
    suite.createChart("banana", { chartContent: testChart("banana"), timeout: "banana" }),
    /spec.timeout/,
  );
});

suite.test("a Job whose pod gets no node, or that gets no pod, says so until it can go on", async () => {
  const { client } = suite.world;
  await client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: "full" } });
  await client.raw("POST", "/api/v1/namespaces/full/resourcequotas", {
    body: { apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "none" }, spec: { hard: { pods: "0" } } },
  });
  await suite.createChart("refused", { chartContent: testChart("refused") }, "full");
  // Wants a node of the control plane, and there is none.
  await suite.createChart("unplaced", { chartContent: testChart("unplaced"), bootstrap: true });
  const found = await suite.waitForCondition(
    "unplaced",
    "Deployed",
    "False",
    /gets no node: Unschedulable: 0\/1 nodes/,
  );
  assert.equal(found.reason, "Unschedulable");
  await waitUntil("the quota to be spoken of", async () => {
    const { status } = await client.get(HELM_CHARTS, { namespace: "full", name: "refused" });
    return status?.conditions?.some(({ reason, message = "" }) => reason === "FailedCreate" && /quota/.test(message));
  }, suite.waiting());
  const [node] = (await client.list(NODES)).items;
  const labels = { "node-role.kubernetes.io/control-plane": "true" };
  await client.patch(NODES, { name: node?.metadata?.name ?? "" }, { type: "merge", body: { metadata: { labels } } });
  await suite.waitForCondition("unplaced", "Deployed", "True");
  const events = (await suite.eventsOf("unplaced")).filter(({ reason }) => reason === "Unschedulable");
  assert.equal(events.length, 1);
});

suite.test("a chart that becomes unmanaged is handed back with its rights, and its release outlives it", async () => {
  const { client } = suite.world;
  const key = { namespace: "default", name: "freed" };
  await suite.createChart("freed", { chartContent: testChart("freed") });
  await suite.waitForCondition("freed", "Deployed", "True");
  const annotations = { "helmcharts.helm.cattle.io/unmanaged": "" };
  await client.patch(HELM_CHARTS, key, { type: "merge", body: { metadata: { annotations } } });
  await waitUntil(
    "the rights to go",
    () => isGone(client.get(CLUSTER_ROLE_BINDINGS, { name: "helm-default-freed" })),
    suite.waiting(),
  );
  await waitUntil("the finalizer to go", async () => {
    const { metadata } = await client.get(HELM_CHARTS, key);
    return (metadata?.finalizers ?? []).length === 0;
  }, suite.waiting());
  await client.delete(HELM_CHARTS, key);
  assert.ok(await isGone(client.get(HELM_CHARTS, key)));
  assert.equal((await client.get(CONFIG_MAPS, { namespace: "default", name: "freed-shown" })).data?.["colour"], "red");
});

suite.test("a chart goes with its namespace, and its release in another one is spoken of there", async () => {
  const { client } = suite.world;
  for (const name of ["tenant-a", "target"]) {
    await client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  }
  await suite.createChart("stay", { chartContent: testChart("stay"), targetNamespace: "target" }, "tenant-a");
  await waitUntil("the release", async () => {
    await client.get(CONFIG_MAPS, { namespace: "target", name: "stay-shown" });
    return true;
  }, suite.waiting());
  await client.delete(NAMESPACES, { name: "tenant-a" });
  await waitUntil("the namespace to go", () => isGone(client.get(NAMESPACES, { name: "tenant-a" })), suite.waiting());
  const bindings = (await client.list(CLUSTER_ROLE_BINDINGS)).items.map(({ metadata }) => metadata?.name ?? "");
  assert.deepEqual(bindings.filter((name) => name.startsWith("helm-tenant-a-")), []);
  const said = await waitUntil("the Event", async () => {
    const { items } = await client.list(EVENTS, { namespace: "default", fieldSelector: "involvedObject.name=target" });
    return items.find(({ reason }) => reason === "ReleaseLeft");
  }, suite.waiting());
  assert.match(said.message ?? "", /helm uninstall stay --namespace target/);
});

suite.test("1,000 keys of valuesSecrets are installed, and the last one wins", async () => {
  const { client } = suite.world;
  const keys = Array.from({ length: 1000 }, (_, i) => `k${i}`);
  const data = Object.fromEntries(keys.map((key) => [key, btoa(`size: ${key}\n`)]));
  const metadata = { name: "many", namespace: "default" };
  await client.create(SECRETS, { apiVersion: "v1", kind: "Secret", metadata, data });
  await suite.createChart("many", { chartContent: testChart("many"), valuesSecrets: [{ name: "many", keys }] });
  await suite.waitForShown("many", { colour: "red", size: "k999" });
});
