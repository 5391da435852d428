// How charts leave the controller, against the in-memory API server: unmanaged, in a namespace that is going, in one that is not allowed, with
// the controller turned off; and that no right stays behind.
import assert from "node:assert/strict";
import { handBackCharts } from "../../../../core/helm/hand_back_charts.ts";
import { HELM_CHARTS } from "../../../../core/helm/helm_chart.ts";
import type { KubeClient } from "../../../../core/kube/contract.ts";
import { CLUSTER_ROLE_BINDINGS, JOBS, NAMESPACES, SECRETS, SERVICE_ACCOUNTS } from "../../../../core/kube/resources.ts";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { K3slbError } from "../../../../core/shared/errors.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { staysTrue, waitUntil } from "../../../support/wait.ts";
import { setCondition, withController } from "./_controller.ts";

const APP = { namespace: "default", name: "app" };

async function helmBindings(client: KubeClient): Promise<readonly string[]> {
  const { items } = await client.list(CLUSTER_ROLE_BINDINGS);
  return items.flatMap(({ metadata }) => metadata?.name?.startsWith("helm-") ? [metadata.name] : []);
}

Deno.test("runHelm: a chart that becomes unmanaged is handed back with its rights, and can be deleted", () =>
  withController(async ({ client, createChart, job, events }) => {
    await createChart("app");
    await job("helm-install-app");
    await setCondition(client, "helm-install-app", "Complete");
    const annotations = { "helmcharts.helm.cattle.io/unmanaged": "true" };
    await client.patch(HELM_CHARTS, APP, { type: "merge", body: { metadata: { annotations } } });
    const left = await waitUntil("the finalizer to go", async () => {
      const chart = await client.get(HELM_CHARTS, APP);
      return (chart.metadata?.finalizers ?? []).length === 0 ? chart : undefined;
    });
    assert.deepEqual(left.metadata?.annotations, annotations);
    assert.deepEqual(await helmBindings(client), []);
    assert.deepEqual((await client.list(SERVICE_ACCOUNTS, { namespace: "default" })).items, []);
    assert.match(events.at(-1)?.message ?? "", /Its release stays.*helm uninstall app --namespace default/);
    await client.delete(HELM_CHARTS, APP);
    assert.equal((await client.list(HELM_CHARTS)).items.length, 0);
  }));

Deno.test("runHelm: an unmanaged chart with another controller's finalizer can be deleted", () =>
  withController(async ({ client, createChart }) => {
    const metadata = {
      annotations: {
        "helmcharts.helm.cattle.io/unmanaged": "",
        "helmcharts.cattle.io/managed-by": "helm-controller",
      },
      finalizers: ["wrangler.cattle.io/on-helm-chart-remove"],
    };
    await createChart("app", {}, metadata);
    await client.delete(HELM_CHARTS, APP);
    await waitUntil("the chart to go", async () => (await client.list(HELM_CHARTS)).items.length === 0);
  }));

Deno.test("runHelm: a chart that lost its chart is uninstalled like any other", () =>
  withController(async ({ client, createChart, job }) => {
    await createChart("app");
    await job("helm-install-app");
    await client.patch(HELM_CHARTS, APP, { type: "merge", body: { spec: { chart: null } } });
    await client.delete(HELM_CHARTS, APP);
    await job("helm-delete-app");
    await setCondition(client, "helm-delete-app", "Complete");
    await waitUntil("the chart to go", async () => (await client.list(HELM_CHARTS)).items.length === 0);
  }));

Deno.test("runHelm: a chart of a namespace that is not allowed is refused, and what it had is given back", () =>
  withController(async (setup) => {
    const { client, createChart, events } = setup;
    const annotations = { "helmcharts.cattle.io/managed-by": "k3slb" };
    await createChart("app", {}, { annotations, finalizers: ["wrangler.cattle.io/on-helm-chart-remove"] });
    await waitUntil(
      "the refusal",
      async () => /taken in kube-system, infra only/.test((await setup.condition("app", "Deployed"))?.message ?? ""),
    );
    await staysTrue("no Job is made", async () => (await client.list(JOBS)).items.length === 0, 200);
    assert.equal(events.filter(({ reason }) => reason === "CreateJobFailed").length, 1);
    await client.delete(HELM_CHARTS, APP);
    await waitUntil("the chart to go", async () => (await client.list(HELM_CHARTS)).items.length === 0);
  }, { namespaces: ["kube-system", "infra"] }));

Deno.test("runHelm: the binding that helm-controller made for a chart goes, another chart's of the same name stays", () =>
  withController(async ({ client, createChart }) => {
    for (const name of ["a-b", "a"]) {
      await client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
    }
    const foreign = (name: string, [namespace = "", chart = ""]: readonly string[]): Promise<unknown> =>
      client.create(CLUSTER_ROLE_BINDINGS, {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRoleBinding",
        metadata: {
          name,
          labels: { "objectset.rio.cattle.io/hash": "x" },
          annotations: {
            "objectset.rio.cattle.io/id": "helm-controller-chart-registration",
            "objectset.rio.cattle.io/owner-name": chart,
            "objectset.rio.cattle.io/owner-namespace": namespace,
          },
        },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
        subjects: [{ kind: "ServiceAccount", name: `helm-${chart}`, namespace }],
      });
    await foreign("helm-a-b-c", ["a-b", "c"]);
    await foreign("helm-a-b-d", ["a", "b-d"]);
    for (const name of ["c", "d"]) await createChart(name, {}, { namespace: "a-b" });
    await waitUntil("the chart's foreign binding to go", async () => {
      const names = await helmBindings(client);
      return names.length === 3 && !names.includes("helm-a-b-c");
    });
    assert.ok((await helmBindings(client)).includes("helm-a-b-d"));
  }));

Deno.test("runHelm: a release in another namespace than its chart's, which goes, is spoken of where it stays", () =>
  withController(async (setup) => {
    const { client, events, subjects } = setup;
    await client.create(NAMESPACES, { apiVersion: "v1", kind: "Namespace", metadata: { name: "target" } });
    await setup.createChart("app", { targetNamespace: "target" });
    await setup.job("helm-install-app");
    const labels = { owner: "helm", name: "app", version: "1", status: "deployed" };
    await client.create(SECRETS, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "sh.helm.release.v1.app.v1", namespace: "target", labels },
      type: "helm.sh/release.v1",
    });
    setup.fault = (verb, plural) => {
      if (verb !== "create" || plural !== "jobs") return;
      const details = { causes: [{ reason: "NamespaceTerminating" }] };
      throw new K3slbError("Namespace is being terminated", { code: "kube-forbidden", details });
    };
    await client.delete(HELM_CHARTS, APP);
    await waitUntil("the chart to go", async () => (await client.list(HELM_CHARTS)).items.length === 0);
    assert.deepEqual([events.at(-1)?.reason, subjects.at(-1)], ["ReleaseLeft", "Namespace target"]);
    assert.match(events.at(-1)?.message ?? "", /helm uninstall app --namespace target/);
  }));

Deno.test("runHelm: a Secret that may not be read is said on its chart, and holds up no other", () =>
  withController(async (setup) => {
    setup.fault = (_verb, plural, selection) => {
      if (plural !== "secrets" || !selection?.fieldSelector?.startsWith("metadata.name=secret-")) return;
      throw new K3slbError("No right to read it", { code: "kube-forbidden" });
    };
    for (const name of ["one", "two", "three", "four", "five"]) {
      await setup.createChart(name, { valuesSecrets: [{ name: `secret-${name}`, keys: ["a"] }] });
    }
    await setup.createChart("app");
    await setup.job("helm-install-app");
    for (const name of ["one", "five"]) {
      await waitUntil(
        name,
        async () => /No right to read it/.test((await setup.condition(name, "Failed"))?.message ?? ""),
      );
    }
  }));

Deno.test("handBackCharts: every chart of ours, deleted ones too, and none of others", async () => {
  await withController(async ({ client, createChart, job }) => {
    await createChart("app");
    await createChart("going");
    await job("helm-install-app");
    await job("helm-install-going");
    const annotations = { "helmcharts.cattle.io/managed-by": "helm-controller" };
    await createChart("other", {}, { annotations, finalizers: ["wrangler.cattle.io/on-helm-chart-remove"] });
    await client.delete(HELM_CHARTS, { namespace: "default", name: "going" });
    const parts = { client, clock: SYSTEM_CLOCK, logger: SILENT_LOGGER, signal: new AbortController().signal };
    return async (): Promise<void> => {
      await handBackCharts(parts);
      const { items } = await client.list(HELM_CHARTS);
      assert.deepEqual(items.map(({ metadata }) => metadata?.name), ["app", "other"]);
      assert.deepEqual(items.map(({ metadata }) => metadata?.finalizers?.length ?? 0), [0, 1]);
      assert.deepEqual(await helmBindings(client), []);
      assert.equal(items[0]?.metadata?.annotations?.["helmcharts.cattle.io/managed-by"], undefined);
    };
  });
});
