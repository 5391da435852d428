// An agent that is started anew goes on where the one before ended: it takes nothing from clients that somebody counts on.
import assert from "node:assert/strict";
import type { Node } from "../../../../core/kube/types.ts";
import { FACTS_CONFIG_MAP } from "../../../../core/service/cluster_facts.ts";
import { lastReport } from "../../../../core/service/node_report.ts";
import {
  AgentBench,
  hasWeb,
  heartbeat,
  type LoopCase,
  onPlans,
  putService,
  putStatus,
  putWeb,
  served,
} from "../_agent_bench.ts";
import { NODE, pod, service } from "../_objects.ts";

const FACTS_KEY = `kube-system/${FACTS_CONFIG_MAP}`;

/** The agent's run before: it decided by what a server had published. */
async function runOnce(bench: AgentBench): Promise<void> {
  bench.publish();
  bench.start();
  await bench.clock.advance(1000);
  await bench.stop();
}

const CASES: readonly LoopCase[] = [
  {
    name: "Services that were there before the agent, or that pods served, wait for no slice",
    test: async (bench) => {
      bench.publish({ dataplane: "pods" });
      bench.cluster.put("services", service("web", { spec: { selector: { app: "web" } } }));
      bench.cluster.put("pods", pod("web"));
      bench.start();
      await bench.clock.advance(1000);
      assert.deepEqual(served(bench), ["web 80"]);
      const plans = onPlans(bench, hasWeb);
      bench.publish();
      await bench.clock.advance(5000);
      await bench.stop();
      bench.start({}, "two");
      await bench.clock.advance(5000);
      assert.ok(plans.length > 0 && !plans.includes(false));
    },
  },
  {
    name: "without facts it changes nothing for half a minute, as if they had been deleted",
    test: async (bench) => {
      putService(bench);
      await runOnce(bench);
      const plans = onPlans(bench, hasWeb);
      // A server that has just moved to another namespace publishes them there soon, and grants the right.
      bench.cluster.failures.set("list configmaps", { left: Infinity, httpStatus: 403 });
      bench.start({}, "two");
      await bench.clock.advance(20_000);
      assert.equal(bench.reported("web")?.serves, true);
      bench.cluster.failures.clear();
      await bench.clock.advance(30_000);
      assert.ok(plans.length > 0 && !plans.includes(false));
      assert.equal(bench.reported("web")?.serves, true);
      await bench.stop();
      bench.cluster.remove("configmaps", FACTS_KEY);
      bench.start({}, "three");
      await bench.clock.advance(29_000);
      assert.deepEqual([served(bench), bench.readyCalls], [["web 80"], 2]);
      // Pods decide then, and there is none; what was served goes as if its pod had gone.
      await bench.clock.advance(11_000);
      assert.deepEqual([served(bench), bench.readyCalls], [[], 3]);
      assert.equal(bench.reported("web"), undefined);
    },
  },
  {
    name: "it does not wait where it reads that pods decide now",
    test: async (bench) => {
      putWeb(bench);
      await runOnce(bench);
      bench.publish({ dataplane: "pods" });
      bench.start({}, "two");
      await bench.clock.advance(1000);
      assert.deepEqual([served(bench), bench.reported("web"), bench.readyCalls], [["web 80"], undefined, 2]);
    },
  },
  {
    name: "it serves on what its node is not chosen for any more, until the status does not list it",
    test: async (bench) => {
      putService(bench);
      putStatus(bench, "192.0.2.1");
      await runOnce(bench);
      bench.publish({ allowList: true });
      bench.start({}, "two");
      await bench.clock.advance(20_000);
      assert.deepEqual(served(bench), ["web 80"]);
      putStatus(bench, "192.0.2.9");
      await bench.clock.advance(10_000);
      assert.deepEqual(served(bench), []);
    },
  },
  {
    name: "a port that a younger Service has stays its own",
    test: async (bench) => {
      bench.publish();
      bench.cluster.put("services", service("young", { created: "2026-02-01T00:00:00Z" }));
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.put("services", service("old"));
      await bench.clock.advance(1000);
      await bench.stop();
      bench.start({}, "two");
      await bench.clock.advance(1000);
      assert.deepEqual(served(bench), ["young 80"]);
      const report = bench.reported("old");
      assert.deepEqual(report?.serves === false && report.reason, "PortTaken");
    },
  },
  {
    name: "one that may not go on says under its own name what is still served",
    test: async (bench) => {
      putService(bench);
      await runOnce(bench);
      bench.cluster.failures.set("list endpointslices", { left: Infinity, httpStatus: 403 });
      bench.start({}, "two");
      await bench.clock.advance(5000);
      assert.equal(heartbeat(bench).status, "False");
      const report = lastReport(bench.cluster.get<Node>("nodes", NODE));
      assert.deepEqual([report?.instance, report?.namespace], ["two", "kube-system"]);
      assert.equal(report?.services.get("uid-web")?.serves, true);
    },
  },
];

for (const { name, test } of CASES) Deno.test(`runAgent, started anew: ${name}`, () => AgentBench.run(test));
