// The controller against the in-memory API server, with Jobs whose pods do not run: what it says, and that it says it once.
import assert from "node:assert/strict";
import { HELM_CHARTS } from "../../../../core/helm/helm_chart.ts";
import type { KubeClient } from "../../../../core/kube/contract.ts";
import { JOBS, NODES, PODS } from "../../../../core/kube/resources.ts";
import type { Job, Pod } from "../../../../core/kube/types.ts";
import { waitUntil } from "../../../support/wait.ts";
import { setCondition, type Setup, withController } from "./_controller.ts";

const POD = { namespace: "default", name: "helm-install-app-x" };

/** A chart whose resumed Job has a pod with `status`, and a finalizer so that it goes when the test says so. */
async function createPod({ client, createChart, job }: Setup, status: object): Promise<Job> {
  await createChart("app");
  await job("helm-install-app");
  await setCondition(client, "helm-install-app", "Suspended");
  const resumed = await waitUntil("the Job to be resumed", async () => {
    const found = await job("helm-install-app");
    return found.spec?.suspend === false ? found : undefined;
  });
  const { name = "", uid = "" } = resumed.metadata ?? {};
  // A pod on a node that does not exist is collected.
  await client.create(NODES, { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
  await client.create<Pod>(PODS, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...POD,
      labels: { "helmcharts.helm.cattle.io/chart": "app" },
      finalizers: ["batch.kubernetes.io/job-tracking"],
      ownerReferences: [{ apiVersion: "batch/v1", kind: "Job", name, uid, controller: true, blockOwnerDeletion: true }],
    },
    spec: { nodeName: "n1", containers: [{ name: "helm", image: "helm" }] },
  });
  await setStatus(client, status);
  return resumed;
}

function setStatus(client: KubeClient, status: object): Promise<Pod> {
  return client.patch(PODS, POD, { type: "merge", body: { status } }, { subresource: "status" });
}

function waiting(reason: string, message: string): object {
  const container = { name: "helm", image: "helm", imageID: "", ready: false, restartCount: 0 };
  return { phase: "Pending", containerStatuses: [{ ...container, state: { waiting: { reason, message } } }] };
}

Deno.test("runHelm: an image that can't be pulled is said in the condition and in one Event, until it runs", () =>
  withController(async (setup) => {
    const { client, events, writes } = setup;
    await createPod(setup, waiting("ErrImagePull", "no such host"));
    const said = (): Promise<boolean> =>
      setup.condition("app", "Deployed").then((found) => found?.message?.endsWith('"helm": no such host') ?? false);
    await waitUntil("the condition", said);
    const before = writes.length;
    for (const round of ["ImagePullBackOff", "ErrImagePull", "ImagePullBackOff"]) {
      await setStatus(
        client,
        waiting(round, round === "ErrImagePull" ? "no such host" : 'Back-off pulling image "helm"'),
      );
      let lists = 0;
      setup.fault = (verb) => void (verb === "list" && lists++);
      await waitUntil("20 resyncs", () => lists >= 20);
      assert.ok(await said(), round);
    }
    assert.deepEqual(writes.slice(before), []);
    assert.equal(events.filter(({ reason }) => reason === "ImagePullBackOff").length, 1);
    const running = { name: "helm", image: "helm", imageID: "", ready: true, restartCount: 0, state: { running: {} } };
    await setStatus(client, { phase: "Running", containerStatuses: [running] });
    await waitUntil("the condition to be as before", async () => {
      const found = await setup.condition("app", "Deployed");
      return found?.status === "False" && found.message === undefined;
    });
  }));

Deno.test("runHelm: a Job that can't go, as the node of its pod does not answer, is said, and goes on when the pod is gone", () =>
  withController(async (setup) => {
    const { client, events } = setup;
    const before = await createPod(setup, { phase: "Unknown" });
    await client.patch(HELM_CHARTS, { namespace: "default", name: "app" }, {
      type: "merge",
      body: { spec: { version: "2" } },
    });
    await waitUntil(
      "the Job to be deleted",
      async () =>
        (await client.get(JOBS, { namespace: "default", name: "helm-install-app" })).metadata?.deletionTimestamp,
    );
    await waitUntil(
      "the condition",
      async () =>
        /last Job's pods to go.*node "n1".*kubectl delete pod --namespace default helm-install-app-x --force/.test(
          (await setup.condition("app", "Deployed"))?.message ?? "",
        ),
    );
    assert.ok(events.filter(({ message }) => /last Job's pods/.test(message)).length <= 1);
    await client.delete(PODS, POD, { gracePeriodSeconds: 0 });
    await client.patch(PODS, POD, { type: "merge", body: { metadata: { finalizers: null } } });
    await waitUntil("the next Job", async () => {
      const { metadata } = await setup.job("helm-install-app");
      return metadata?.uid !== before.metadata?.uid && metadata?.deletionTimestamp === undefined;
    });
  }));
