// `agent cleanup`: what is left in the kernel and in the cluster.
import assert from "node:assert/strict";
import { FORWARDING_CONDITION, PROGRAMMED_CONDITION } from "../../../../core/service/labels.ts";
import { createLogger } from "../../../../core/shared/log.ts";
import { cleanUp, leaveNode } from "../../../../node_agent/loop/cleanup.ts";
import { AgentBench, failed } from "../_agent_bench.ts";
import { endpoint, NODE, pod, port, service, slice } from "../_objects.ts";

async function served(bench: AgentBench): Promise<void> {
  bench.cluster.put("services", service("web"));
  bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
  bench.cluster.put("pods", pod("web"));
  bench.start();
  await bench.clock.advance(1000);
  await bench.stop();
}

function options(bench: AgentBench): Parameters<typeof cleanUp>[0] {
  const cluster = { client: bench.cluster.client, nodeName: NODE };
  return { dataplane: bench.dataplane, cluster, clock: bench.clock, signal: new AbortController().signal };
}

const LOGGER = createLogger({ level: "error", format: "text", write: () => {}, now: () => 0 });

Deno.test("cleanUp: takes rules, gates and heartbeat away, and has nothing to do the second time", async () => {
  const bench = new AgentBench();
  await served(bench);
  assert.deepEqual(await cleanUp(options(bench)), {
    removed: [
      "Removed 3 chains",
      "Set the gate of pod kube-system/svclb-web-x to False",
      `Removed the heartbeat from Node ${NODE}`,
    ],
    warnings: [],
  });
  assert.equal(bench.dataplane.plan, undefined);
  assert.equal(bench.cluster.condition("pods", "kube-system/svclb-web-x", PROGRAMMED_CONDITION)?.status, "False");
  assert.equal(bench.cluster.condition("nodes", NODE, FORWARDING_CONDITION), undefined);
  assert.deepEqual(await cleanUp(options(bench)), { removed: [], warnings: [] });
});

Deno.test("cleanUp: a cluster that doesn't answer is a warning, the kernel is clean", async () => {
  const bench = new AgentBench();
  await served(bench);
  bench.cluster.failures.set("list pods", { left: 1, httpStatus: 503 });
  const { removed, warnings } = await cleanUp(options(bench));
  assert.deepEqual(removed, ["Removed 3 chains", `Removed the heartbeat from Node ${NODE}`]);
  assert.equal(warnings.length, 1);
});

Deno.test("cleanUp: a pod that was replaced in the meantime doesn't keep the other gates open", async () => {
  const bench = new AgentBench();
  bench.cluster.put("services", service("api", { spec: { ports: [port(81)] } }));
  bench.cluster.put("pods", pod("api"));
  await served(bench);
  bench.cluster.failures.set("patch pods/status", { left: 1, httpStatus: 409 });
  const { removed, warnings } = await cleanUp(options(bench));
  assert.equal(removed.filter((line) => line.startsWith("Set the gate")).length, 1);
  assert.deepEqual(warnings, []);
});

Deno.test("cleanUp: a chain that can't be removed is an error, and the gates are closed all the same", async () => {
  const bench = new AgentBench();
  await served(bench);
  bench.dataplane.remove = () => Promise.reject(failed());
  await assert.rejects(cleanUp(options(bench)), { code: "iptables-failed" });
  assert.equal(bench.cluster.condition("pods", "kube-system/svclb-web-x", PROGRAMMED_CONDITION)?.status, "False");
});

Deno.test("cleanUp: without a cluster only the kernel is cleaned", async () => {
  const bench = new AgentBench();
  await served(bench);
  const { cluster: _, ...local } = options(bench);
  assert.deepEqual(await cleanUp(local), { removed: ["Removed 3 chains"], warnings: [] });
});

Deno.test("leaveNode: cleans up, says so, and stays until it is ended", async () => {
  const bench = new AgentBench();
  await served(bench);
  const ending = new AbortController();
  const events: string[] = [];
  const left = leaveNode({
    ...options(bench),
    logger: LOGGER,
    signal: ending.signal,
    onDone: () => events.push("done"),
  }).then(() => events.push("ended"));
  await bench.clock.advance(1000);
  assert.equal(bench.dataplane.plan, undefined);
  assert.equal(bench.cluster.condition("nodes", NODE, FORWARDING_CONDITION), undefined);
  assert.deepEqual(events, ["done"]);
  ending.abort();
  await left;
  assert.deepEqual(events, ["done", "ended"]);
});

Deno.test("leaveNode: what is left in the cluster is an error, so that it is started again", async () => {
  const bench = new AgentBench();
  await served(bench);
  bench.cluster.failures.set("list pods", { left: 1, httpStatus: 503 });
  const onDone = (): void => assert.fail("it is not done");
  await assert.rejects(leaveNode({ ...options(bench), logger: LOGGER, onDone }), /^K3slbError: The rules are gone/);
});
