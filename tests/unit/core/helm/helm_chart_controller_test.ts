// The controller against the in-memory API server: what it writes, what it leaves alone, and that one chart's fault stays its own.
import assert from "node:assert/strict";
import { HELM_CHARTS } from "../../../../core/helm/helm_chart.ts";
import {
  CLUSTER_ROLE_BINDINGS,
  CONFIG_MAPS,
  JOBS,
  SECRETS,
  SERVICE_ACCOUNTS,
} from "../../../../core/kube/resources.ts";
import { K3slbError } from "../../../../core/shared/errors.ts";
import { staysTrue, waitUntil } from "../../../support/wait.ts";
import { setCondition, withController } from "./_controller.ts";

Deno.test("runHelm: brings its CRDs, claims a chart, makes its objects, resumes the Job when it has been seen", () =>
  withController(
    async ({ client, createChart, job, events }) => {
      await createChart("app");
      const made = await job("helm-install-app");
      assert.equal(made.spec?.suspend, true);
      await setCondition(client, "helm-install-app", "Suspended");
      await waitUntil("the Job to be resumed", async () => (await job("helm-install-app")).spec?.suspend === false);
      const chart = await client.get(HELM_CHARTS, { namespace: "default", name: "app" });
      assert.deepEqual(chart.metadata?.finalizers, ["wrangler.cattle.io/on-helm-chart-remove"]);
      assert.equal(chart.metadata?.annotations?.["helmcharts.cattle.io/managed-by"], "k3slb");
      await waitUntil("both Events", () => events.length === 2);
      assert.deepEqual(events.map(({ reason }) => reason), ["ApplyJob", "ResumeJob"]);
    },
    {},
    { hasCrds: false },
  ));

Deno.test("runHelm: 100 resyncs without a change write nothing and say nothing", () =>
  withController(async (setup) => {
    const { client, createChart, job, writes, events } = setup;
    await createChart("app");
    await job("helm-install-app");
    await setCondition(client, "helm-install-app", "Failed");
    await waitUntil("the failure to be said", async () => (await setup.condition("app", "Failed"))?.status === "True");
    await waitUntil("the Event", () => events.some(({ reason }) => reason === "JobFailed"));
    const before = [writes.length, events.length];
    let lists = 0;
    setup.fault = (verb) => void (verb === "list" && lists++);
    await waitUntil("100 resyncs", () => lists >= 100);
    assert.deepEqual([writes.length, events.length], before, writes.slice(before[0]).join());
  }));

Deno.test("runHelm: dependents that are deleted or changed come back while the Job is unchanged", () =>
  withController(async ({ client, createChart, job }) => {
    await createChart("app", { valuesContent: "a: 1" });
    await job("helm-install-app");
    await client.delete(SERVICE_ACCOUNTS, { namespace: "default", name: "helm-app" });
    await client.delete(CONFIG_MAPS, { namespace: "default", name: "chart-content-app" });
    const secret = { namespace: "default", name: "chart-values-app" };
    await client.patch(SECRETS, secret, { type: "merge", body: { data: { Stranger: "eA==" } } });
    await waitUntil("all to be back", async () => {
      await client.get(SERVICE_ACCOUNTS, { namespace: "default", name: "helm-app" });
      await client.get(CONFIG_MAPS, { namespace: "default", name: "chart-content-app" });
      const { data } = await client.get(SECRETS, secret);
      return data?.["Stranger"] === undefined && data?.["HelmChartValuesContent"] !== undefined;
    });
  }));

Deno.test("runHelm: a release that can't be looked up is not taken for absent", () =>
  withController(async (setup) => {
    setup.fault = (verb, plural) => {
      if (verb === "list" && plural === "secrets") throw new K3slbError("Server is away", { code: "kube-unavailable" });
    };
    await setup.createChart("app");
    await waitUntil("the chart to be claimed", async () => {
      const { metadata } = await setup.client.get(HELM_CHARTS, { namespace: "default", name: "app" });
      return metadata?.finalizers !== undefined;
    });
    await staysTrue("no Job is made", async () => (await setup.client.list(JOBS)).items.length === 0, 300);
  }));

Deno.test("runHelm: what the server refuses is said in the condition and in one Event, and is tried again", () =>
  withController(async (setup) => {
    setup.fault = (verb, plural) => {
      if (verb === "create" && plural === "jobs") {
        throw new K3slbError("Not allowed to make Jobs", { code: "kube-forbidden" });
      }
    };
    await setup.createChart("app");
    await waitUntil(
      "the condition",
      async () => /Not allowed/.test((await setup.condition("app", "Failed"))?.message ?? ""),
    );
    await waitUntil("the Event", () => setup.events.some(({ reason }) => reason === "CreateJobFailed"));
    setup.fault = () => {};
    await setup.job("helm-install-app");
    assert.equal(setup.events.filter(({ reason }) => reason === "CreateJobFailed").length, 1);
  }));

Deno.test("runHelm: a webhook that fails and an object that is too large are said; a server that is away is not", () =>
  withController(async (setup) => {
    let answer = { code: "kube-unavailable", message: "Server is away" };
    setup.fault = (verb, plural) => {
      if (verb === "create" && plural === "jobs") throw new K3slbError(answer.message, { code: answer.code });
    };
    await setup.createChart("away");
    await staysTrue("nothing is said", async () => await setup.condition("away", "Failed") === undefined, 200);
    for (
      // A chart for each, as tries of one chart follow each other more and more slowly.
      const [chart, code, message] of [
        ["down", "kube-server-error", 'Internal error occurred: failed calling webhook "jobs.example.com"'],
        ["denied", "kube-bad-request", 'admission webhook "jobs.example.com" denied the request'],
        ["large", "kube-too-large", "Request entity too large"],
      ] as const
    ) {
      answer = { code, message };
      await setup.createChart(chart);
      await waitUntil(message, async () => (await setup.condition(chart, "Failed"))?.message?.includes(message));
    }
  }));

Deno.test("runHelm: an uninstall Job that can't be made is said, and how to go on", () =>
  withController(async (setup) => {
    await setup.createChart("app");
    await setup.job("helm-install-app");
    setup.fault = (verb, plural) => {
      if (verb === "create" && plural === "jobs") throw new K3slbError("exceeded quota", { code: "kube-forbidden" });
    };
    await setup.client.delete(HELM_CHARTS, { namespace: "default", name: "app" });
    await waitUntil(
      "the condition",
      async () => /exceeded quota.*remove the finalizer/.test((await setup.condition("app", "Failed"))?.message ?? ""),
    );
    await waitUntil("the Event", () => setup.events.some(({ message }) => /exceeded quota/.test(message)));
    setup.fault = () => {};
    await setup.job("helm-delete-app");
  }));

Deno.test("runHelm: a chart that can't be installed stops no other", () =>
  withController(async (setup) => {
    await setup.createChart("a".repeat(51));
    // As K3s's own CRD lets it through.
    await setup.createChart("banana", { timeout: "banana", set: { big: 2 ** 31 } });
    await setup.createChart("app");
    await setup.job("helm-install-app");
    await waitUntil("the fault to be said", async () =>
      /51 characters/.test((await setup.condition("a".repeat(51), "Failed"))?.message ?? "") &&
      /not a duration.*32-bit/.test((await setup.condition("banana", "Failed"))?.message ?? ""));
  }));

Deno.test("runHelm: charts of others are not touched", () =>
  withController(async ({ client, createChart, job }) => {
    const annotations = { "helmcharts.cattle.io/managed-by": "helm-controller" };
    const other = await createChart("other", {}, { annotations });
    const unmanaged = await createChart("unmanaged", {}, {
      annotations: { "helmcharts.helm.cattle.io/unmanaged": "false" },
    });
    await createChart("app");
    await job("helm-install-app");
    for (const before of [other, unmanaged]) {
      const after = await client.get(HELM_CHARTS, { namespace: "default", name: before.metadata?.name ?? "" });
      assert.equal(after.metadata?.resourceVersion, before.metadata?.resourceVersion);
    }
  }));

Deno.test("runHelm: a deleted chart goes when its uninstall Job is complete and no release is left", () =>
  withController(async ({ client, createChart, job, events }) => {
    await createChart("app");
    await job("helm-install-app");
    await client.delete(HELM_CHARTS, { namespace: "default", name: "app" });
    await job("helm-delete-app");
    const labels = { owner: "helm", name: "app", version: "1", status: "deployed" };
    const record = {
      metadata: { name: "sh.helm.release.v1.app.v1", namespace: "default", labels },
      type: "helm.sh/release.v1",
    };
    await client.create(SECRETS, { apiVersion: "v1", kind: "Secret", ...record });
    const first = (await job("helm-delete-app")).metadata?.uid;
    await setCondition(client, "helm-delete-app", "Complete");
    await waitUntil("another try", async () => (await job("helm-delete-app")).metadata?.uid !== first);
    await client.delete(SECRETS, { namespace: "default", name: "sh.helm.release.v1.app.v1" });
    await setCondition(client, "helm-delete-app", "Complete");
    await waitUntil("the chart to go", async () => (await client.list(HELM_CHARTS)).items.length === 0);
    assert.match(events.at(-1)?.message ?? "", /^Uninstalled/);
  }));

Deno.test("runHelm: a chart that is deleted while it is installed leaves no Job that could install it again", () =>
  withController(async ({ client, createChart, job }) => {
    await createChart("app");
    await job("helm-install-app");
    await setCondition(client, "helm-install-app", "Suspended");
    await waitUntil("the Job to be resumed", async () => (await job("helm-install-app")).spec?.suspend === false);
    await client.delete(HELM_CHARTS, { namespace: "default", name: "app" });
    await job("helm-delete-app");
    const { items } = await client.list(JOBS);
    assert.deepEqual(items.map(({ metadata }) => metadata?.name), ["helm-delete-app"]);
  }));

Deno.test("runHelm: a chart in a namespace that is deleted goes, and so does its ClusterRoleBinding", () =>
  withController(async (setup) => {
    await setup.createChart("app");
    await setup.job("helm-install-app");
    setup.fault = (verb, plural) => {
      if (verb !== "create" || plural !== "jobs") return;
      const details = { causes: [{ reason: "NamespaceTerminating" }] };
      throw new K3slbError("Namespace is being terminated", { code: "kube-forbidden", details });
    };
    await setup.client.delete(HELM_CHARTS, { namespace: "default", name: "app" });
    await waitUntil("the chart to go", async () => (await setup.client.list(HELM_CHARTS)).items.length === 0);
    const bindings = await setup.client.list(CLUSTER_ROLE_BINDINGS);
    assert.deepEqual(bindings.items.filter(({ metadata }) => metadata?.name?.startsWith("helm-")), []);
  }));

Deno.test("runHelm: nothing is made anew for a chart that was let go, however late its end is heard of", () =>
  withController(async (setup) => {
    const { client, createChart, job, writes } = setup;
    const key = { namespace: "default", name: "app" };
    await createChart("app");
    await job("helm-install-app");
    setup.newsDelayMs = 500;
    await client.delete(HELM_CHARTS, key);
    await job("helm-delete-app");
    await setCondition(client, "helm-delete-app", "Complete");
    await waitUntil("the chart to go", async () => (await client.list(HELM_CHARTS)).items.length === 0);
    const before = writes.length;
    await staysTrue("nothing is written", () => writes.length === before, 1000);
    const bindings = await client.list(CLUSTER_ROLE_BINDINGS);
    assert.deepEqual(bindings.items.filter(({ metadata }) => metadata?.name?.startsWith("helm-")), []);
  }));
