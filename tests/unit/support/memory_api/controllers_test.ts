// The controllers beside the in-memory API server: what they make of objects, seen through the store.
import assert from "node:assert/strict";
import { asList, asObject, at } from "../../../support/memory_api/json.ts";
import type { MemoryApi } from "../../../support/memory_api/memory_api.ts";
import { waitUntil } from "../../../support/wait.ts";
import { ask, create, portSet, readyNode, withMemoryApi } from "./memory_client.ts";

const SETS = "/apis/apps/v1/namespaces/default/daemonsets";
const PODS = "/api/v1/namespaces/default/pods";

/** `set@node`, or `set@` while a pod waits. */
function places(api: MemoryApi): string[] {
  return api.store.list("pods").map((pod) =>
    `${String(at(pod, "metadata", "labels", "app"))}@${String(at(pod, "spec", "nodeName") ?? "")}`
  ).sort();
}

async function expectPlaces(api: MemoryApi, want: string[]): Promise<void> {
  await waitUntil(`pods at ${want.join(" ")}`, () => JSON.stringify(places(api)) === JSON.stringify(want), {
    deadlineMs: 3000,
    explain: () => places(api).join(" "),
  });
}

async function setReady(api: MemoryApi): Promise<void> {
  for (const pod of api.store.list("pods")) {
    if (at(pod, "spec", "nodeName") === undefined) continue;
    const status = {
      phase: "Running",
      podIP: "10.42.0.5",
      podIPs: [{ ip: "10.42.0.5" }],
      conditions: [{ type: "Ready", status: "True" }],
    };
    const response = await ask(api, "PATCH", {
      path: `${PODS}/${pod.metadata.name}/status`,
      body: { status },
      type: "application/strategic-merge-patch+json",
    });
    await response.body?.cancel();
  }
}

Deno.test("DaemonSet: a pod on every node; a node port that is taken waits with the scheduler's words", async () => {
  await withMemoryApi(async (api) => {
    for (const name of ["a", "b"]) await create(api, "/api/v1/nodes", readyNode(name));
    await create(api, SETS, portSet("first", 80));
    await expectPlaces(api, ["first@a", "first@b"]);
    await create(api, SETS, portSet("second", 80));
    await expectPlaces(api, ["first@a", "first@b", "second@", "second@"]);
    const waiting = await waitUntil(
      "a condition that says why",
      () =>
        api.store.list("pods").map((pod) => asObject(asList(at(pod, "status", "conditions"))[0])).find((it) =>
          it["reason"] === "Unschedulable"
        ),
    );
    assert.equal(
      waiting["message"],
      "0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) didn't satisfy " +
        "plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption " +
        "victims found for incoming pod, 1 Preemption is not helpful for scheduling.",
    );
    await (await ask(api, "DELETE", { path: `${SETS}/first` })).body?.cancel();
    await waitUntil(
      "the first set's pods to be told to end",
      () => api.store.list("pods").filter((pod) => pod.metadata["deletionTimestamp"] !== undefined).length === 2,
    );
    for (const pod of api.store.list("pods")) {
      if (pod.metadata["deletionTimestamp"] === undefined) continue;
      await (await ask(api, "DELETE", { path: `${PODS}/${pod.metadata.name}?gracePeriodSeconds=0` })).body?.cancel();
    }
    await expectPlaces(api, ["second@a", "second@b"]);
  });
});

Deno.test("DaemonSet: follows node labels, taints and nodes that come", async () => {
  await withMemoryApi(async (api) => {
    await create(api, "/api/v1/nodes", readyNode("a", { pool: "x" }));
    await create(api, "/api/v1/nodes", readyNode("b"));
    await create(api, SETS, portSet("set", 80, { nodeSelector: { pool: "x" } }));
    await expectPlaces(api, ["set@a"]);
    await create(api, "/api/v1/nodes", readyNode("c", { pool: "x" }));
    await expectPlaces(api, ["set@a", "set@c"]);
    const type = "application/merge-patch+json";
    const taints = [{ key: "k", effect: "NoExecute" }];
    await (await ask(api, "PATCH", { path: "/api/v1/nodes/c", body: { spec: { taints } }, type })).body?.cancel();
    await waitUntil(
      "the tainted node's pod to end",
      () =>
        api.store.list("pods").some((pod) =>
          at(pod, "spec", "nodeName") === "c" && pod.metadata["deletionTimestamp"] !== undefined
        ),
    );
  });
});

Deno.test("DaemonSet: a new template replaces one ready pod at a time", async () => {
  await withMemoryApi(async (api) => {
    for (const name of ["a", "b"]) await create(api, "/api/v1/nodes", readyNode(name));
    await create(api, SETS, portSet("set", 80));
    await expectPlaces(api, ["set@a", "set@b"]);
    await setReady(api);
    const path = `${SETS}/set`;
    const body = { spec: { template: { metadata: { annotations: { x: "y" } } } } };
    await (await ask(api, "PATCH", { path, body, type: "application/merge-patch+json" })).body?.cancel();
    const ending = (): number =>
      api.store.list("pods").filter((pod) => pod.metadata["deletionTimestamp"] !== undefined).length;
    await waitUntil("one pod to end", () => ending() === 1);
    assert.equal(ending(), 1);
    const status = asObject(api.store.get("daemonsets.apps", "default/set")?.["status"]);
    assert.equal(status["desiredNumberScheduled"], 2);
  });
});

Deno.test("EndpointSlice: lists ready pods with node, and goes with its Service", async () => {
  await withMemoryApi(async (api) => {
    await create(api, "/api/v1/nodes", readyNode("a"));
    await create(api, SETS, portSet("web", 8080));
    await expectPlaces(api, ["web@a"]);
    await setReady(api);
    const ports = [{ port: 80, targetPort: 8080 }];
    await create(api, "/api/v1/namespaces/default/services", {
      metadata: { name: "web" },
      spec: { selector: { app: "web" }, ports },
    });
    const slices = "endpointslices.discovery.k8s.io";
    const slice = await waitUntil("a slice", () => api.store.list(slices)[0]);
    const endpoint = asObject(asList(slice["endpoints"])[0]);
    assert.deepEqual([endpoint["nodeName"], endpoint["addresses"], at(endpoint, "conditions", "ready")], ["a", [
      "10.42.0.5",
    ], true]);
    assert.deepEqual(slice["ports"], [{ name: "", protocol: "TCP", port: 8080 }]);
    await (await ask(api, "DELETE", { path: "/api/v1/namespaces/default/services/web" })).body?.cancel();
    await waitUntil("the slice to go", () => api.store.list(slices).length === 0);
  });
});

Deno.test("Job: suspended, resumed, failed by its pod", async () => {
  await withMemoryApi(async (api) => {
    const jobs = "/apis/batch/v1/namespaces/default/jobs";
    const template = { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "example.com/x:1" }] } };
    await create(api, jobs, { metadata: { name: "job" }, spec: { suspend: true, backoffLimit: 0, template } });
    const has = (type: string): boolean =>
      asList(at(api.store.get("jobs.batch", "default/job"), "status", "conditions")).some((it) =>
        at(it, "type") === type && at(it, "status") === "True"
      );
    await waitUntil("the job to be suspended", () => has("Suspended"));
    assert.equal(api.store.list("pods").length, 0);
    const type = "application/merge-patch+json";
    await (await ask(api, "PATCH", { path: `${jobs}/job`, body: { spec: { suspend: false } }, type })).body?.cancel();
    const pod = await waitUntil("its pod", () => api.store.list("pods")[0]);
    await (await ask(api, "PATCH", {
      path: `${PODS}/${pod.metadata.name}/status`,
      body: { status: { phase: "Failed" } },
      type,
    })).body?.cancel();
    await waitUntil("the job to have failed", () => has("Failed"));
  });
});

Deno.test("Namespace: takes its objects along", async () => {
  await withMemoryApi(async (api) => {
    await create(api, "/api/v1/namespaces", { metadata: { name: "gone" } });
    await create(api, "/api/v1/namespaces/gone/configmaps", { metadata: { name: "x" } });
    await (await ask(api, "DELETE", { path: "/api/v1/namespaces/gone" })).body?.cancel();
    await waitUntil("the namespace to be gone", () => api.store.get("namespaces", "gone") === undefined);
    assert.equal(api.store.get("configmaps", "gone/x"), undefined);
  });
});
