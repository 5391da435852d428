// HelmCharts on a real control plane with the real helm: installed, upgraded by a HelmChartConfig, failing with helm's own words,
// uninstalled. The controller runs in this process; a test node runs its Jobs.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HELM_CHART_CONFIGS, HELM_CHARTS, type HelmChart, type HelmChartSpec } from "../../core/helm/helm_chart.ts";
import { startHelm } from "../../core/helm/helm_chart_controller.ts";
import type { KubeClient } from "../../core/kube/contract.ts";
import { isNotFound } from "../../core/kube/errors.ts";
import { createEventRecorder } from "../../core/kube/events.ts";
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
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { createLogger } from "../../core/shared/log.ts";
import { type ControlPlane, startControlPlane } from "../support/control_plane.ts";
import { testChart } from "../support/helm_charts.ts";
import { type HelmJobRunner, startHelmJobRunner } from "../support/helm_job_runner.ts";
import { execHere, isInWorld } from "../support/netns.ts";
import { openTestClient } from "../support/test_client.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";

interface HelmWorld {
  readonly plane: ControlPlane;
  readonly client: KubeClient;
  readonly runner: HelmJobRunner;
  readonly dataDir: string;
  readonly logLines: string[];
  stop(): Promise<void>;
}

const CONTROLLER_USER = "helm-controller-test";
const API_IP = "172.30.0.1";
const DEADLINE_MS = 60_000;

/** An address for the API server: a private world has only loopback, which can't be advertised. */
async function hostAddress(): Promise<string> {
  if (!isInWorld()) return "127.0.0.1";
  const done = await execHere("ip", ["address", "add", `${API_IP}/32`, "dev", "lo"]);
  if (done.code !== 0) throw new Error(`Cannot add an address: ${done.stderr}`);
  return API_IP;
}

async function startHelmWorld(): Promise<HelmWorld> {
  const dir = mkdtempSync(join(tmpdir(), "helm-world-"));
  const [planeDir, nodeDir, dataDir] = ["plane", "node", "data"].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  for (const one of [planeDir, nodeDir, dataDir]) mkdirSync(one);
  const plane = await startControlPlane({
    host: await hostAddress(),
    dir: planeDir,
    liftClientLimits: true,
    nodeMonitorGracePeriodSeconds: 600,
  });
  const client = await openTestClient(plane.adminKubeconfig, "tests");
  const own = await openTestClient(await plane.kubeconfigFor(CONTROLLER_USER, ["system:masters"]), "helm-test");
  const runner = await startHelmJobRunner({ client, server: plane.server, dir: nodeDir });
  const logLines: string[] = [];
  const logger = createLogger({ level: "debug", format: "text", write: (line) => logLines.push(line), now: Date.now });
  const events = createEventRecorder({
    client: own,
    component: "helm-controller",
    host: "test",
    clock: SYSTEM_CLOCK,
    logger,
  });
  const ending = new AbortController();
  const helm = startHelm({
    client: own,
    clock: SYSTEM_CLOCK,
    logger,
    events,
    signal: ending.signal,
    env: {},
    options: { dataDir, helmJobImage: "rancher/klipper-helm:latest", resyncIntervalMs: 500 },
  });
  return {
    plane,
    client,
    runner,
    dataDir,
    logLines,
    stop: async () => {
      ending.abort();
      await helm.done;
      await runner.stop();
      own.close();
      client.close();
      await plane.stop();
      rmSync(dir, { recursive: true });
    },
  };
}

let world: HelmWorld;
let broken: unknown;

function test(name: string, fn: () => Promise<void>): void {
  const isReal = Deno.env.get("K3SLB_WORLD") === "real";
  Deno.test({
    name: isReal ? name : `${name} (skipped: helm needs a whole API server)`,
    ignore: !isReal,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      if (broken !== undefined) throw broken;
      await fn();
    },
  });
}

Deno.test.beforeAll(async () => {
  if (Deno.env.get("K3SLB_WORLD") !== "real") return;
  try {
    world = await startHelmWorld();
    await waitUntil("the CRDs", () => world.client.list(HELM_CHARTS).then(() => true), { deadlineMs: DEADLINE_MS });
    await waitUntil("the other CRD", () => world.client.list(HELM_CHART_CONFIGS).then(() => true));
  } catch (error) {
    broken = error;
  }
});

Deno.test.afterAll(async () => {
  await world?.stop();
});

test("a HelmChart is installed, upgraded by a HelmChartConfig, left alone, and uninstalled", async () => {
  const { client } = world;
  await createChart("paint", { chartContent: testChart("paint"), valuesContent: "colour: blue\n" });
  await waitForShown("paint", { colour: "blue", size: "small" });
  await waitForCondition("paint", "Deployed", "True");

  await client.create(HELM_CHART_CONFIGS, {
    apiVersion: "helm.cattle.io/v1",
    kind: "HelmChartConfig",
    metadata: { name: "paint", namespace: "default" },
    spec: { valuesContent: "colour: green\n", values: { size: "large" } },
  });
  await waitForShown("paint", { colour: "green", size: "large" });
  await waitUntil(
    "revision 2",
    async () => /revision 2/.test((await condition("paint", "Deployed"))?.message ?? ""),
    waiting(),
  );

  // Resyncs come every half second here: nothing may be written by them.
  const mark = world.plane.auditMark();
  await staysTrue("the release is left alone", () => true, 3_000);
  const writes = world.plane.requestsSince(mark).filter(({ user, verb }) =>
    user === CONTROLLER_USER && ["create", "update", "patch", "delete"].includes(verb)
  );
  assert.deepEqual(writes, []);

  await client.delete(HELM_CHARTS, { namespace: "default", name: "paint" });
  await waitUntil(
    "the chart to go",
    () => isGone(client.get(HELM_CHARTS, { namespace: "default", name: "paint" })),
    waiting(),
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
    waiting(),
  );
});

test("a failing chart has helm's error in its condition, and a mended one is installed", async () => {
  await createChart("broken", { chartContent: testChart("broken"), set: { fail: "true" } });
  const found = await waitForCondition("broken", "Deployed", "False", /the colour is out of stock/);
  assert.match(found.message ?? "", /^Error: /);
  const warning = await waitUntil(
    "an Event",
    async () => (await eventsOf("broken")).find(({ reason }) => reason === "JobFailed"),
    waiting(),
  );
  assert.match(warning.message ?? "", /the colour is out of stock/);
  await world.client.patch(HELM_CHARTS, { namespace: "default", name: "broken" }, {
    type: "merge",
    body: { spec: { set: { fail: "false" } } },
  });
  await waitForShown("broken", { colour: "red", size: "small" });
  await waitForCondition("broken", "Deployed", "True");
  assert.equal((await condition("broken", "Failed"))?.status, "False");
});

test("a Job that gives up leaves Failed=True with the last line of its log", async () => {
  await createChart("hopeless", { chartContent: testChart("hopeless"), set: { fail: "true" }, backOffLimit: 0 });
  const found = await waitForCondition("hopeless", "Failed", "True", /out of stock/);
  assert.equal(found.reason, "Job failed");
});

test("a chart that is deleted while its Job is tried again and again goes, and leaves nothing", async () => {
  const { client } = world;
  await createChart("early", { chartContent: testChart("early"), set: { fail: "true" } });
  await waitForCondition("early", "Deployed", "False", /out of stock/);
  await client.delete(HELM_CHARTS, { namespace: "default", name: "early" });
  await waitUntil(
    "the chart and its Jobs to go",
    async () =>
      await isGone(client.get(HELM_CHARTS, { namespace: "default", name: "early" })) &&
      await isGone(client.get(JOBS, { namespace: "default", name: "helm-install-early" })) &&
      await isGone(client.get(JOBS, { namespace: "default", name: "helm-delete-early" })),
    waiting(),
  );
  const records = await client.list(SECRETS, { namespace: "default", labelSelector: "owner=helm,name=early" });
  assert.deepEqual(records.items, []);
});

test("a release that helm records in ConfigMaps is known as deployed, and uninstalled", async () => {
  const { client } = world;
  const records = { namespace: "default", labelSelector: "owner=helm,name=mapped" };
  await createChart("mapped", { chartContent: testChart("mapped"), driver: "configmap" });
  await waitForCondition("mapped", "Deployed", "True", /revision 1/);
  assert.equal((await client.list(CONFIG_MAPS, records)).items.length, 1);
  await client.delete(HELM_CHARTS, { namespace: "default", name: "mapped" });
  await waitUntil(
    "the chart to go",
    () => isGone(client.get(HELM_CHARTS, { namespace: "default", name: "mapped" })),
    waiting(),
  );
  assert.deepEqual((await client.list(CONFIG_MAPS, records)).items, []);
});

test("dependents that someone deletes come back", async () => {
  const { client } = world;
  await createChart("kept", { chartContent: testChart("kept") });
  await waitForCondition("kept", "Deployed", "True");
  await client.delete(SERVICE_ACCOUNTS, { namespace: "default", name: "helm-kept" });
  await client.delete(CONFIG_MAPS, { namespace: "default", name: "chart-content-kept" });
  await waitUntil(
    "both to come back",
    async () =>
      !await isGone(client.get(SERVICE_ACCOUNTS, { namespace: "default", name: "helm-kept" })) &&
      !await isGone(client.get(CONFIG_MAPS, { namespace: "default", name: "chart-content-kept" })),
    waiting(),
  );
});

test("a chart in the static folder is found without K3s's API server", async () => {
  const folder = join(world.dataDir, "server", "static", "charts");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "local-1.0.0.tgz"), testChart("local"), "base64");
  await createChart("local", { chart: "https://%{KUBERNETES_API}%/static/charts/local-1.0.0.tgz" });
  await waitForShown("local", { colour: "red", size: "small" });
});

test("a bad timeout is refused by the API server, and other charts go on", async () => {
  await assert.rejects(createChart("banana", { chartContent: testChart("banana"), timeout: "banana" }), /spec.timeout/);
});

test("a Job whose pod gets no node, or that gets no pod, says so until it can go on", async () => {
  const { client } = world;
  await client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: "full" } });
  await client.raw("POST", "/api/v1/namespaces/full/resourcequotas", {
    body: { apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "none" }, spec: { hard: { pods: "0" } } },
  });
  await createChart("refused", { chartContent: testChart("refused") }, "full");
  // Wants a node of the control plane, and there is none.
  await createChart("unplaced", { chartContent: testChart("unplaced"), bootstrap: true });
  const found = await waitForCondition("unplaced", "Deployed", "False", /gets no node: Unschedulable: 0\/1 nodes/);
  assert.equal(found.reason, "Unschedulable");
  await waitUntil("the quota to be spoken of", async () => {
    const { status } = await client.get(HELM_CHARTS, { namespace: "full", name: "refused" });
    return status?.conditions?.some(({ reason, message = "" }) => reason === "FailedCreate" && /quota/.test(message));
  }, waiting());
  const [node] = (await client.list(NODES)).items;
  const labels = { "node-role.kubernetes.io/control-plane": "true" };
  await client.patch(NODES, { name: node?.metadata?.name ?? "" }, { type: "merge", body: { metadata: { labels } } });
  await waitForCondition("unplaced", "Deployed", "True");
  const events = (await eventsOf("unplaced")).filter(({ reason }) => reason === "Unschedulable");
  assert.equal(events.length, 1);
});

function createChart(name: string, spec: HelmChartSpec, namespace = "default"): Promise<HelmChart> {
  return world.client.create(HELM_CHARTS, {
    apiVersion: "helm.cattle.io/v1",
    kind: "HelmChart",
    metadata: { name, namespace },
    spec,
  });
}

async function waitForShown(name: string, want: Readonly<Record<string, string>>): Promise<void> {
  await waitUntil(`${name} to show ${JSON.stringify(want)}`, async () => {
    const { data } = await world.client.get(CONFIG_MAPS, { namespace: "default", name: `${name}-shown` });
    assert.deepEqual(data, want);
    return true;
  }, waiting());
}

type Found = NonNullable<NonNullable<HelmChart["status"]>["conditions"]>[number];

async function condition(name: string, type: string): Promise<Found | undefined> {
  const { status } = await world.client.get(HELM_CHARTS, { namespace: "default", name });
  return status?.conditions?.find((one) => one.type === type);
}

function waitForCondition(name: string, type: string, value: string, message = /(?:)/): Promise<Found> {
  return waitUntil(`${name} to be ${type}=${value}`, async () => {
    const found = await condition(name, type);
    return found?.status === value && message.test(found.message ?? "") ? found : undefined;
  }, waiting());
}

async function eventsOf(name: string): Promise<readonly { reason?: string; message?: string }[]> {
  const { items } = await world.client.list(EVENTS, {
    namespace: "default",
    fieldSelector: `involvedObject.name=${name}`,
  });
  return items;
}

async function isGone(object: Promise<unknown>): Promise<boolean> {
  try {
    await object;
    return false;
  } catch (error) {
    if (isNotFound(error)) return true;
    throw error;
  }
}

function waiting(): { readonly deadlineMs: number; readonly explain: () => string } {
  const explain = (): string =>
    [...world.logLines.slice(-30), ...[...world.runner.logs].map(([pod, log]) => `--- ${pod}\n${log.slice(-1500)}`)]
      .join("\n");
  return { deadlineMs: DEADLINE_MS, explain };
}
