// Charts whose Jobs run an old and a new klipper-helm, on a real control plane with the real helm of each: no image makes a chart upgrade
// again and again, failed releases are tried again, and the condition has helm's own words. The scripts themselves are run where
// K3SLB_KLIPPER_HELM gives them, else their imitations.
import assert from "node:assert/strict";
import { HELM_CHART_CONFIGS, HELM_CHARTS, type HelmChartSpec } from "../../core/helm/helm_chart.ts";
import { CLUSTER_ROLE_BINDINGS, JOBS, NAMESPACES, SECRETS } from "../../core/kube/resources.ts";
import { packChart, testChart } from "../support/helm_charts.ts";
import { KLIPPER_HELM_VERSIONS, type KlipperHelm } from "../support/helm_entry.ts";
import { HelmSuite, isGone } from "../support/helm_world.ts";
import { givenScripts } from "../support/klipper_helm.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";

const IMAGES = { old: imageOf("old"), new: imageOf("new") } as const;
const suite = new HelmSuite(IMAGES.new);

function imageOf(version: KlipperHelm): string {
  return `rancher/klipper-helm:${KLIPPER_HELM_VERSIONS[version]}`;
}

/** A chart with one object in the namespace `elsewhere`, which the API server refuses until that is there. */
function strayChart(name: string): string {
  return packChart(name, {
    "Chart.yaml": `apiVersion: v2\nname: ${name}\nversion: 1.0.0\n`,
    "values.yaml": "elsewhere: default\n",
    "templates/stray.yaml":
      "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-stray\n  namespace: {{ .Values.elsewhere }}\n",
  });
}

async function revisions(name: string): Promise<readonly string[]> {
  const selection = { namespace: "default", labelSelector: `owner=helm,name=${name}` };
  const { items } = await suite.world.client.list(SECRETS, selection);
  return items.map(({ metadata }) => `${metadata?.labels?.["version"]} ${metadata?.labels?.["status"]}`).sort();
}

async function deleteAndWait(name: string): Promise<void> {
  const { client } = suite.world;
  await client.delete(HELM_CHARTS, { namespace: "default", name });
  await waitUntil(
    `${name} to go`,
    () => isGone(client.get(HELM_CHARTS, { namespace: "default", name })),
    suite.waiting(),
  );
  assert.deepEqual(await revisions(name), []);
  assert.ok(await isGone(client.get(CLUSTER_ROLE_BINDINGS, { name: `helm-default-${name}` })));
}

for (const version of ["old", "new"] as const) {
  const what = `${IMAGES[version]}${givenScripts()[version] === undefined ? ", imitated" : ", its own script"}`;
  const create = (name: string, spec: HelmChartSpec): Promise<unknown> =>
    suite.createChart(`${name}-${version}`, { jobImage: IMAGES[version], ...spec });

  suite.test(`one revision, and one more for one change of values (${what})`, async () => {
    const name = `calm-${version}`;
    const { client } = suite.world;
    await create("calm", { chartContent: testChart(name) });
    await suite.waitForCondition(name, "Deployed", "True", /revision 1$/);
    await client.create(HELM_CHART_CONFIGS, {
      apiVersion: "helm.cattle.io/v1",
      kind: "HelmChartConfig",
      metadata: { name, namespace: "default" },
      spec: { valuesContent: "colour: green\n" },
    });
    await suite.waitForCondition(name, "Deployed", "True", /revision 2$/);
    await staysTrue("no other revision comes", async () => (await revisions(name)).length === 2, 5_000);
    // A Job that is cleaned up is no reason either.
    await client.delete(JOBS, { namespace: "default", name: `helm-install-${name}` });
    await staysTrue("nor when the Job is gone", async () => (await revisions(name)).length === 2, 3_000);
    assert.deepEqual(await revisions(name), ["1 superseded", "2 deployed"]);
    const tooOld = (await suite.eventsOf(name)).filter(({ reason }) => reason === "ImageTooOld");
    assert.equal(tooOld.length, version === "old" ? 2 : 0);
    await deleteAndWait(name);
  });

  suite.test(`a failed release is reinstalled until it works, with helm's words in the condition (${what})`, async () => {
    const name = `stray-${version}`;
    const elsewhere = `later-${version}`;
    await create("stray", { chartContent: strayChart(name), valuesContent: `elsewhere: ${elsewhere}\n` });
    const said = await suite.waitForCondition(name, "Deployed", "False", /later-\w+" not found/);
    assert.equal(said.reason, "Retrying");
    assert.doesNotMatch(said.message ?? "", /expected revision|operator intervention/);
    await suite.world.client.create(NAMESPACES, {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: elsewhere },
    });
    await suite.waitForCondition(name, "Deployed", "True");
    assert.equal((await revisions(name)).filter((one) => one.endsWith("deployed")).length, 1);
    await deleteAndWait(name);
  });

  suite.test(`abort: nothing is tried after a failure, and the chart can be uninstalled (${what})`, async () => {
    const name = `abort-${version}`;
    await create("abort", {
      chartContent: strayChart(name),
      valuesContent: "elsewhere: never\n",
      failurePolicy: "abort",
    });
    const said = await waitUntil("the end", async () => {
      const found = await suite.condition(name, "Deployed");
      return found?.reason === "ReleaseFailed" ? found : undefined;
    }, suite.waiting());
    assert.match(said.message ?? "", /failurePolicy is "abort"/);
    assert.match(said.message ?? "", /Error: .*"never" not found/);
    const { metadata } = await suite.world.client.get(JOBS, { namespace: "default", name: `helm-install-${name}` });
    await staysTrue("the Job stays", async () => {
      const job = await suite.world.client.get(JOBS, { namespace: "default", name: `helm-install-${name}` });
      return job.metadata?.uid === metadata?.uid && (await suite.condition(name, "Deployed"))?.message === said.message;
    }, 4_000);
    assert.deepEqual(await revisions(name), ["1 failed"]);
    await deleteAndWait(name);
  });
}

suite.test("retry: tried again with growing delay until it works", async () => {
  const name = "again";
  await suite.createChart(name, {
    jobImage: IMAGES.new,
    chartContent: strayChart(name),
    valuesContent: "elsewhere: again\n",
    failurePolicy: "retry",
  });
  const attempt = async (): Promise<number> => {
    const { metadata } = await suite.world.client.get(JOBS, { namespace: "default", name: `helm-install-${name}` });
    return Number(metadata?.annotations?.["k3slb.io/helm-attempt"] ?? 0);
  };
  await waitUntil("the third Job", async () => await attempt() >= 2, suite.waiting());
  const said = await suite.waitForCondition(name, "Deployed", "False", /Error: .*"again" not found/);
  assert.equal(said.reason, "Retrying");
  await suite.world.client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
  await suite.waitForCondition(name, "Deployed", "True");
  assert.equal((await suite.eventsOf(name)).filter(({ reason }) => reason === "JobFailed").length, 1);
  await deleteAndWait(name);
});

suite.test("retry with an image that does not know it says so", async () => {
  const spec = {
    chartContent: strayChart("unknown"),
    valuesContent: "elsewhere: never\n",
    failurePolicy: "retry",
  } as const;
  await suite.createChart("unknown", { jobImage: IMAGES.old, ...spec });
  const said = await suite.waitForCondition("unknown", "Deployed", "False", /does not know failurePolicy "retry"/);
  assert.match(said.message ?? "", /"never" not found/);
  await deleteAndWait("unknown");
});
