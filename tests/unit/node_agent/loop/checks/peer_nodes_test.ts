// Endpoints on nodes that have stopped answering: which of them stay in the plan, what is deleted from connection tracking, what is said.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { BeginAsk } from "../../../../../core/runtime/ask_nodes.ts";
import { serviceEndpoints } from "../../../../../core/service/endpoints.ts";
import { planConntrackCleanup } from "../../../../../node_agent/rules/conntrack_plan.ts";
import { AgentBench, heartbeat, type LoopCase, putWeb } from "../../_agent_bench.ts";
import { endpoint, NODE, slice } from "../../_objects.ts";

const ENDING = { ready: false, serving: true, terminating: true };

const CHOICES: readonly {
  readonly name: string;
  readonly endpoints: Parameters<typeof slice>[1];
  readonly dead: readonly string[];
  readonly localFirst?: true;
  readonly want: readonly string[];
}[] = [
  {
    name: "those on a dead node go while there is another",
    endpoints: [endpoint("10.42.1.5"), endpoint("10.42.2.5", "b"), endpoint("10.42.3.5", "c")],
    dead: ["c"],
    want: ["10.42.1.5", "10.42.2.5"],
  },
  {
    name: "the last ones stay, dead or not",
    endpoints: [endpoint("10.42.2.5", "b"), endpoint("10.42.3.5", "c")],
    dead: ["b", "c"],
    want: ["10.42.2.5", "10.42.3.5"],
  },
  {
    name: "one that ends and serves is better than a dead one",
    endpoints: [endpoint("10.42.1.5", NODE, ENDING), endpoint("10.42.3.5", "c")],
    dead: ["c"],
    want: ["10.42.1.5"],
  },
  {
    name: "this node's own are never dead",
    endpoints: [endpoint("10.42.1.5"), endpoint("10.42.2.5", "b")],
    dead: [NODE, "b"],
    want: ["10.42.1.5"],
  },
  {
    name: "Local goes by its own alone",
    endpoints: [endpoint("10.42.1.5", NODE, ENDING), endpoint("10.42.2.5", "b")],
    dead: ["c"],
    localFirst: true,
    want: ["10.42.1.5"],
  },
];

for (const { name, endpoints, dead, localFirst = false, want } of CHOICES) {
  Deno.test(`endpoints and dead nodes: ${name}`, () => {
    const choice = { portName: "", protocol: "TCP", families: ["IPv4"], nodeName: NODE, localFirst } as const;
    const chosen = serviceEndpoints([slice("web", endpoints)], { ...choice, deadNodes: new Set(dead) });
    assert.deepEqual(chosen.map(({ ip }) => ip), want);
  });
}

Deno.test("endpoints and dead nodes: whoever is dead, a port that has endpoints keeps one, and a living one if there is any", () => {
  const nodes = [NODE, "b", "c", "d"];
  const any = fc.array(fc.tuple(fc.constantFrom(...nodes), fc.constantFrom({ ready: true }, ENDING)), { maxLength: 8 });
  fc.assert(fc.property(any, fc.subarray(nodes.slice(1)), (sketch, dead) => {
    const endpoints = sketch.map(([node, conditions], index) => endpoint(`10.42.0.${index}`, node, conditions));
    const choice = { portName: "", protocol: "TCP", families: ["IPv4"], nodeName: NODE, localFirst: false } as const;
    const all = serviceEndpoints([slice("web", endpoints)], choice);
    const chosen = serviceEndpoints([slice("web", endpoints)], { ...choice, deadNodes: new Set(dead) });
    assert.equal(chosen.length === 0, all.length === 0);
    const isDead = (ip: string): boolean =>
      dead.includes(endpoints.find((one) => one.addresses[0] === ip)?.nodeName ?? "");
    if (endpoints.some((one) => !isDead(one.addresses[0] ?? ""))) assert.ok(!chosen.some(({ ip }) => isDead(ip)));
  }));
});

/** Facts as a server publishes them, three endpoints of `web`, and nodes that answer unless they are named. */
function putThree(bench: AgentBench): Set<string> {
  const silent = new Set<string>();
  const beginAsk: BeginAsk = ({ node }, onEnd) => {
    if (!silent.has(node)) queueMicrotask(() => onEnd("answered"));
    return () => {};
  };
  bench.beginAsk = beginAsk;
  bench.publish({
    nodes: new Map(["b", "c"].map((name, index) => [name, { ips: [`192.0.2.${index + 2}`], kubeletPort: 10_250 }])),
  });
  putWeb(bench);
  const endpoints = [endpoint("10.42.1.5"), endpoint("10.42.2.5", "b"), endpoint("10.42.3.5", "c")];
  bench.cluster.put("endpointslices", slice("web", endpoints));
  return silent;
}

const used = (bench: AgentBench): readonly string[] | undefined =>
  bench.dataplane.plan?.ports[0]?.endpoints.map(({ ip }) => ip);

const ALL = ["10.42.1.5", "10.42.2.5", "10.42.3.5"];

const CASES: readonly LoopCase[] = [
  {
    name: "a node that stops to answer loses its endpoints within 3 s, and has them back with its first answer",
    test: async (bench) => {
      const silent = putThree(bench);
      bench.start();
      await bench.clock.advance(5000);
      assert.deepEqual(used(bench), ALL);
      const before = structuredClone(bench.dataplane.plan);
      silent.add("c");
      await bench.clock.advance(3000);
      assert.deepEqual(used(bench), ["10.42.1.5", "10.42.2.5"]);
      await bench.clock.advance(10_000);
      assert.match(
        heartbeat(bench).message ?? "",
        /c has not answered this node at 192\.0\.2\.3 since 2026-11-23T00:00:05Z/,
      );
      assert.equal(heartbeat(bench).status, "True");
      assert.ok(before && bench.dataplane.plan);
      const { filters } = planConntrackCleanup({
        family: "IPv4",
        before,
        after: bench.dataplane.plan,
        localIps: ["192.0.2.1"],
      });
      assert.deepEqual(filters.map(({ protocol, replySource }) => `${protocol} ${replySource}`), ["tcp 10.42.3.5"]);
      silent.clear();
      await bench.clock.advance(2000);
      assert.deepEqual(used(bench), ALL);
      await bench.clock.advance(10_000);
      assert.doesNotMatch(heartbeat(bench).message ?? "", /has not answered/);
    },
  },
  {
    name: "all silent at once: nothing leaves the plan",
    test: async (bench) => {
      const silent = putThree(bench);
      bench.start();
      await bench.clock.advance(5000);
      silent.add("b").add("c");
      await bench.clock.advance(60_000);
      assert.deepEqual(used(bench), ALL);
    },
  },
  {
    name: "an API server that is away changes nothing of it",
    test: async (bench) => {
      const silent = putThree(bench);
      bench.start();
      await bench.clock.advance(5000);
      for (const verb of ["list", "patch", "get"]) {
        for (const kind of ["nodes", "pods", "services", "endpointslices", "configmaps"]) {
          bench.cluster.failures.set(`${verb} ${kind}`, { left: Infinity, httpStatus: 503 });
        }
      }
      await bench.clock.advance(600_000);
      assert.deepEqual(used(bench), ALL);
      silent.add("c");
      await bench.clock.advance(3000);
      assert.deepEqual(used(bench), ["10.42.1.5", "10.42.2.5"]);
    },
  },
  {
    name: "when pods decide again, nobody is asked any more, and nothing more is said of who was silent",
    test: async (bench) => {
      const silent = putThree(bench);
      const { beginAsk } = bench;
      let asked = 0;
      bench.beginAsk = (ask, onEnd) => {
        asked++;
        return beginAsk?.(ask, onEnd) ?? (() => {});
      };
      bench.start();
      await bench.clock.advance(5000);
      silent.add("c");
      await bench.clock.advance(20_000);
      assert.match(heartbeat(bench).message ?? "", /c has not answered/);
      bench.publish({ dataplane: "pods" });
      await bench.clock.advance(20_000);
      assert.doesNotMatch(heartbeat(bench).message ?? "", /c has not answered/);
      const before = asked;
      await bench.clock.advance(60_000);
      assert.equal(asked, before);
    },
  },
  {
    name: "nobody is asked without a server's facts, nor with --no-ask-nodes",
    test: async (bench) => {
      putThree(bench);
      let asked = 0;
      bench.beginAsk = () => {
        asked++;
        return () => {};
      };
      bench.start({ askNodes: false });
      await bench.clock.advance(60_000);
      assert.equal(asked, 0);
      await bench.stop();
      bench.cluster.remove("configmaps", "kube-system/k3slb-facts");
      bench.start();
      await bench.clock.advance(60_000);
      assert.equal(asked, 0);
    },
  },
];

for (const { name, test } of CASES) Deno.test(`agent and dead nodes: ${name}`, () => AgentBench.run(test));
