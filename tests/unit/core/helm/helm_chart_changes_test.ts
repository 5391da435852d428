// What the controller makes of changes beside the chart: its HelmChartConfig, Secrets with values, releases of both drivers.
import assert from "node:assert/strict";
import { releaseHash } from "../../../../core/helm/values/config_hash.ts";
import { HELM_CHART_CONFIGS } from "../../../../core/helm/helm_chart.ts";
import { hashOf } from "../../../../core/helm/jobs/job_state.ts";
import { CONFIG_MAPS, SECRETS } from "../../../../core/kube/resources.ts";
import type { Job } from "../../../../core/kube/types.ts";
import { testChart } from "../../../support/helm_charts.ts";
import { waitUntil } from "../../../support/wait.ts";
import { setCondition, type Setup, withController } from "./_controller.ts";

/** The Job that comes after one with `hash`. */
function nextJob({ job }: Setup, hash: string): Promise<Job> {
  return waitUntil("another Job", async () => {
    const found = await job("helm-install-app");
    return hashOf(found) === hash ? undefined : found;
  });
}

/** As helm records that revision 1 is there. */
function releaseOf(
  job: Job,
): {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly labels: Record<string, string> };
} {
  const configHash = releaseHash(hashOf(job));
  const labels = {
    owner: "helm",
    name: "app",
    version: "1",
    status: "deployed",
    "helmcharts.helm.cattle.io/configHash": configHash,
  };
  return { metadata: { name: "sh.helm.release.v1.app.v1", namespace: "default", labels } };
}

async function waitForDeployed(setup: Setup): Promise<void> {
  await waitUntil("Deployed", async () => (await setup.condition("app", "Deployed"))?.status === "True");
}

/** Verbs of the controller while it looks at its charts a hundred times more. */
async function writesOfHundredResyncs(setup: Setup): Promise<readonly string[]> {
  const before = setup.writes.length;
  let lists = 0;
  setup.fault = (verb) => void (verb === "list" && lists++);
  await waitUntil("100 resyncs", () => lists >= 100);
  setup.fault = () => {};
  return setup.writes.slice(before);
}

Deno.test("runHelm: a HelmChartConfig that goes takes its values along", () =>
  withController(async (setup) => {
    await setup.createChart("app", { valuesContent: "a: 1" });
    const plain = hashOf(await setup.job("helm-install-app"));
    await setup.client.create(HELM_CHART_CONFIGS, {
      apiVersion: "helm.cattle.io/v1",
      kind: "HelmChartConfig",
      metadata: { name: "app", namespace: "default" },
      spec: { valuesContent: "a: 2" },
    });
    const configured = await nextJob(setup, plain);
    await setup.client.delete(HELM_CHART_CONFIGS, { namespace: "default", name: "app" });
    assert.equal(hashOf(await nextJob(setup, hashOf(configured))), plain);
    const { data } = await setup.client.get(SECRETS, { namespace: "default", name: "chart-values-app" });
    assert.deepEqual(Object.keys(data ?? {}), ["HelmChartValuesContent"]);
  }));

Deno.test("runHelm: a Secret with values that comes, changes and goes makes one Job each", () =>
  withController(async (setup) => {
    const secret = { namespace: "default", name: "values" };
    await setup.createChart("app", { valuesSecrets: [{ name: "values", keys: ["a"] }] });
    const missing = hashOf(await setup.job("helm-install-app"));
    await setup.client.create(SECRETS, { apiVersion: "v1", kind: "Secret", metadata: secret, data: { a: "eDogMQ==" } });
    const first = hashOf(await nextJob(setup, missing));
    await setup.client.patch(SECRETS, secret, { type: "merge", body: { data: { unused: "eDogMQ==" } } });
    assert.deepEqual(await writesOfHundredResyncs(setup), [], "a key that is not mounted does not count");
    await setup.client.patch(SECRETS, secret, { type: "merge", body: { data: { a: "eDogMg==" } } });
    const second = hashOf(await nextJob(setup, first));
    await setup.client.delete(SECRETS, secret);
    assert.equal(hashOf(await nextJob(setup, second)), missing);
  }));

Deno.test("runHelm: exit 0 counts with a deployed release, whichever driver records it, and is left alone then", () =>
  Promise.all((["secret", "configmap"] as const).map((driver) =>
    withController(async (setup) => {
      const { client, createChart, job } = setup;
      await createChart("app", { driver, chartContent: testChart("app"), values: { colour: "blue", unknown: 9 } });
      const made = await job("helm-install-app");
      const other = driver === "secret" ? "configmap" : "secret";
      const record = (kind: string): Promise<unknown> =>
        kind === "secret"
          ? client.create(SECRETS, { apiVersion: "v1", kind: "Secret", type: "helm.sh/release.v1", ...releaseOf(made) })
          : client.create(CONFIG_MAPS, { apiVersion: "v1", kind: "ConfigMap", ...releaseOf(made) });
      await record(other);
      await setCondition(client, "helm-install-app", "Complete");
      const again = await waitUntil("another try, as the other driver's records do not count", async () => {
        const found = await job("helm-install-app");
        return found.metadata?.uid === made.metadata?.uid ? undefined : found;
      });
      assert.notEqual((await setup.condition("app", "Deployed"))?.status, "True");
      await record(driver);
      await setCondition(client, "helm-install-app", "Complete");
      await waitForDeployed(setup);
      assert.equal(hashOf(again), hashOf(made));
      assert.deepEqual(await writesOfHundredResyncs(setup), []);
    })
  )).then(() => {}));
