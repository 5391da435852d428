// The agent decides for its node: with what a server has published pods are in nobody's way; without it they decide.
import assert from "node:assert/strict";
import type { KubeObject, Node, Pod } from "../../../../core/kube/types.ts";
import { FACTS_CONFIG_MAP } from "../../../../core/service/cluster_facts.ts";
import { NODE_REPORT_ANNOTATION } from "../../../../core/service/labels.ts";
import { lastReport } from "../../../../core/service/node_report.ts";
import { AgentBench, hasWeb, type LoopCase, onPlans, putService, putStatus, putWeb, served } from "../_agent_bench.ts";
import { endpoint, NODE, node, pod, port, service, slice } from "../_objects.ts";

const FACTS_KEY = `kube-system/${FACTS_CONFIG_MAP}`;
const ENABLE = "svccontroller.k3s.cattle.io/enablelb";

function putLabels(bench: AgentBench, labels: Readonly<Record<string, string>>): void {
  const before = bench.cluster.get<Node>("nodes", NODE) ?? node();
  bench.cluster.put("nodes", { ...before, metadata: { ...before.metadata, labels } } as KubeObject);
}

/** A pod of somebody that has host port 80. */
function hostPod(): Pod {
  return {
    metadata: { name: "nginx", namespace: "default", uid: "uid-nginx" },
    spec: {
      nodeName: NODE,
      containers: [{ name: "nginx", image: "nginx", ports: [{ containerPort: 80, hostPort: 80 }] }],
    },
    status: { phase: "Running" },
  };
}

const CASES: readonly LoopCase[] = [
  {
    name: "a Service is in the kernel, then in the report, without any pod",
    test: async (bench) => {
      bench.publish();
      bench.start();
      await bench.clock.advance(1000);
      const lists = bench.lists("endpointslices");
      putService(bench);
      const reported = onPlans(bench, (plan) => hasWeb(plan) ? bench.reported("web") : "no rules yet");
      await bench.clock.advance(150);
      assert.deepEqual(reported.filter((one) => one !== "no rules yet")[0], undefined, "rules first");
      assert.deepEqual(served(bench), ["web 80"]);
      assert.deepEqual(bench.dataplane.plan?.ports[0]?.endpoints, [{ ip: "10.42.1.5", port: 8080, local: true }]);
      assert.deepEqual(bench.reported("web"), { ports: "80", serves: true });
      // Its endpoints came after it: there was nothing to ask for.
      assert.equal(bench.lists("endpointslices"), lists);
    },
  },
  {
    name: "the gate of a placeholder says what the agent says, and nothing waits for it",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.put("pods", pod("web"));
      await bench.clock.advance(500);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      const plans = onPlans(bench, hasWeb);
      bench.cluster.remove("pods", "kube-system/svclb-web-x");
      await bench.clock.advance(60_000);
      bench.cluster.put("pods", pod("web", { hostPorts: [81] }));
      await bench.clock.advance(500);
      assert.ok(plans.length > 0 && !plans.includes(false));
      assert.equal(bench.reported("web")?.serves, true);
    },
  },
  {
    name:
      "placeholders that come and go in many steps make one look, and other labels of pods none before the slices follow",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      bench.start();
      await bench.clock.advance(5000);
      const { applies } = bench.dataplane;
      for (const phase of ["Pending", "Running"]) {
        bench.cluster.put("pods", { ...pod("web"), status: { phase } } as KubeObject);
        await bench.clock.advance(100);
      }
      assert.equal(bench.dataplane.applies, applies);
      await bench.clock.advance(600);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      // One for the pod, one for its gate that the agent writes.
      assert.ok(bench.dataplane.applies <= applies + 2, `${bench.dataplane.applies - applies} looks`);
      await bench.clock.advance(5000);
      const before = bench.dataplane.applies;
      bench.cluster.put("services", service("web", { spec: { selector: { app: "other" } } }));
      await bench.clock.advance(500);
      assert.equal(bench.dataplane.applies, before + 1, "it has a selector now");
      bench.cluster.put("services", service("web", { spec: { selector: { app: "third" } } }));
      await bench.clock.advance(500);
      assert.equal(bench.dataplane.applies, before + 1);
    },
  },
  {
    name: "a new Service waits for its first slice, so that its address answers from the beginning, but not for ever",
    test: async (bench) => {
      bench.publish();
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.put("services", service("web", { spec: { selector: { app: "web" } } }));
      await bench.clock.advance(1000);
      assert.deepEqual([served(bench), bench.reported("web")], [[], undefined]);
      bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
      await bench.clock.advance(200);
      assert.deepEqual(served(bench), ["web 80"]);
      bench.cluster.put("services", service("none", { spec: { selector: { app: "none" }, ports: [port(81)] } }));
      await bench.clock.advance(2500);
      assert.equal(bench.reported("none"), undefined);
      await bench.clock.advance(2000);
      assert.deepEqual(served(bench), ["web 80", "none 81"]);
      assert.match(JSON.stringify(bench.reported("none")), /no endpoints/);
      // Whose slices go is served on, and refuses.
      bench.cluster.remove("endpointslices", "default/web-abc");
      await bench.clock.advance(500);
      assert.deepEqual(served(bench), ["web 80", "none 81"]);
    },
  },
  {
    name: "Services made one by one are told at once, many in one write a second",
    test: async (bench) => {
      bench.publish();
      bench.start();
      await bench.clock.advance(5000);
      const before = bench.writes("nodes");
      for (let i = 0; i < 5; i++) {
        bench.cluster.put("services", service(`one${i}`, { spec: { ports: [port(2000 + i)] } }));
        await bench.clock.advance(200);
        assert.equal(bench.reported(`one${i}`)?.serves, true);
      }
      assert.equal(bench.writes("nodes") - before, 5);
      for (let i = 0; i < 100; i++) {
        bench.cluster.put("services", service(`s${i}`, { spec: { ports: [port(1000 + i)] } }));
        await bench.clock.advance(20);
      }
      assert.ok(bench.writes("nodes") - before <= 9, `${bench.writes("nodes") - before - 5} writes in two seconds`);
      await bench.clock.advance(2000);
      assert.equal(bench.reported("s99")?.serves, true);
      assert.ok(bench.writes("nodes") - before <= 10);
    },
  },
  {
    name: "without facts pods decide, and nothing is reported",
    test: async (bench) => {
      putService(bench);
      bench.start();
      await bench.clock.advance(5000);
      assert.deepEqual(served(bench), []);
      assert.equal(bench.cluster.get<Node>("nodes", NODE)?.metadata?.annotations?.[NODE_REPORT_ANNOTATION], undefined);
    },
  },
  {
    name: "facts that may not be read are no facts, until the right is granted",
    test: async (bench) => {
      bench.publish();
      putWeb(bench);
      bench.cluster.put("services", service("other", { spec: { ports: [port(81)] } }));
      bench.cluster.failures.set("list configmaps", { left: Infinity, httpStatus: 403 });
      bench.start();
      await bench.clock.advance(10_000);
      assert.deepEqual(served(bench), ["web 80"]);
      assert.equal(bench.reported("web"), undefined);
      const plans = onPlans(bench, hasWeb);
      bench.cluster.failures.clear();
      await bench.clock.advance(60_000);
      assert.ok(plans.length > 0 && !plans.includes(false));
      assert.deepEqual(served(bench), ["web 80", "other 81"]);
      assert.equal(bench.reported("web")?.serves, true);
    },
  },
  {
    name: "while it can't be known whether there are facts, no rule is touched",
    test: async (bench) => {
      bench.publish();
      putWeb(bench);
      bench.cluster.failures.set("list configmaps", { left: Infinity, httpStatus: 500 });
      bench.start();
      await bench.clock.advance(60_000);
      assert.equal(bench.dataplane.applies, 0);
      bench.cluster.failures.clear();
      await bench.clock.advance(5000);
      assert.deepEqual(served(bench), ["web 80"]);
    },
  },
  {
    name: "facts of data plane pods end the report at once, and what was served goes as if its pods had gone",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      bench.start();
      await bench.clock.advance(1000);
      bench.publish({ dataplane: "pods" });
      await bench.clock.advance(2000);
      assert.equal(lastReport(bench.cluster.get<Node>("nodes", NODE)), undefined);
      assert.deepEqual(served(bench), ["web 80"]);
      await bench.clock.advance(8000);
      assert.deepEqual(served(bench), []);
    },
  },
  {
    name: "facts that are deleted hold for half a minute, broken ones are passed over",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.put("configmaps", {
        metadata: { name: FACTS_CONFIG_MAP, namespace: "kube-system" },
        data: { facts: "{" },
      } as KubeObject);
      await bench.clock.advance(60_000);
      assert.equal(bench.lines.filter((line) => line.includes("Cannot read what the server publishes")).length, 1);
      bench.cluster.remove("configmaps", FACTS_KEY);
      await bench.clock.advance(29_000);
      bench.publish();
      await bench.clock.advance(60_000);
      assert.deepEqual([served(bench), bench.reported("web")?.serves], [["web 80"], true]);
      bench.cluster.remove("configmaps", FACTS_KEY);
      await bench.clock.advance(45_000);
      assert.deepEqual([served(bench), bench.reported("web")], [[], undefined]);
    },
  },
  {
    name: "a Service that goes, or is not ours any more, leaves at once",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      bench.cluster.put("services", service("other", { spec: { ports: [port(81)] } }));
      bench.start();
      await bench.clock.advance(1000);
      assert.deepEqual(served(bench), ["web 80", "other 81"]);
      bench.cluster.put("services", service("web", { annotations: { "k3slb.io/enabled": "false" } }));
      bench.cluster.remove("services", "default/other");
      await bench.clock.advance(200);
      assert.deepEqual(served(bench), []);
      await bench.clock.advance(1000);
      assert.deepEqual([bench.reported("web"), bench.reported("other")], [undefined, undefined]);
    },
  },
  {
    name: "a node that is not chosen any more serves until the status does not list it",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      putStatus(bench, "192.0.2.1");
      bench.start();
      await bench.clock.advance(1000);
      bench.publish({ allowList: true });
      await bench.clock.advance(30_000);
      assert.equal(bench.reported("web"), undefined);
      assert.deepEqual(served(bench), ["web 80"]);
      putStatus(bench, "192.0.2.2");
      await bench.clock.advance(9000);
      assert.deepEqual(served(bench), []);
      putLabels(bench, { "kubernetes.io/os": "linux", [ENABLE]: "true" });
      await bench.clock.advance(200);
      assert.deepEqual(served(bench), ["web 80"]);
    },
  },
  {
    name: "the last label of a list that is taken away costs no connection",
    test: async (bench) => {
      bench.publish({ allowList: true });
      putLabels(bench, { "kubernetes.io/os": "linux", [ENABLE]: "true" });
      putService(bench);
      bench.start();
      await bench.clock.advance(1000);
      const plans = onPlans(bench, hasWeb);
      putLabels(bench, { "kubernetes.io/os": "linux" });
      await bench.clock.advance(3000);
      bench.publish();
      await bench.clock.advance(60_000);
      assert.ok(plans.length > 0 && !plans.includes(false));
      assert.equal(bench.reported("web")?.serves, true);
    },
  },
  {
    name: "another Service that asks for the port of one that departs has it at once",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      bench.start();
      await bench.clock.advance(1000);
      const pool = { "svccontroller.k3s.cattle.io/lbpool": "blue" };
      const moved = service("web");
      bench.cluster.put("services", { ...moved, metadata: { ...moved.metadata, labels: pool } } as KubeObject);
      await bench.clock.advance(500);
      assert.deepEqual(served(bench), ["web 80"]);
      bench.cluster.put("services", service("next", { created: "2026-02-01T00:00:00Z" }));
      await bench.clock.advance(500);
      assert.deepEqual(served(bench), ["next 80"]);
    },
  },
  {
    name: "a pod with the same host port that comes later gets nothing, and both are named",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.put("pods", hostPod());
      bench.listeners = [{ protocol: "TCP", ip: "0.0.0.0", port: 80 }];
      await bench.clock.advance(60_000);
      assert.deepEqual(served(bench), ["web 80"]);
      const report = bench.reported("web");
      assert.match(report?.serves ? report.note ?? "" : "", /TCP port 80 is also asked for by pod default\/nginx/);
      const events = bench.events("nginx");
      assert.deepEqual(events.map(({ type, reason }) => [type, reason]), [["Warning", "PortTaken"]]);
      assert.match(
        events[0]?.message ?? "",
        /TCP port 80 of the node is served for Service default\/web, which had it first/,
      );
      await bench.stop();
      bench.start({}, "two");
      await bench.clock.advance(60_000);
      assert.deepEqual(served(bench), ["web 80"], "the next run keeps it");
    },
  },
  {
    name: "the pod of another load balancer, without a gate, is forwarded for as long as it is here",
    test: async (bench) => {
      bench.publish();
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.put("services", service("web", { spec: { loadBalancerClass: "example.com/stock" } }));
      bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
      bench.cluster.put("pods", pod("web", { gated: false, hostPorts: [80] }));
      await bench.clock.advance(1000);
      assert.deepEqual([served(bench), bench.reported("web")], [["web 80"], undefined]);
      assert.equal(bench.dataplane.plan?.ports[0]?.endpoints.length, 1);
      bench.cluster.remove("pods", "kube-system/svclb-web-x");
      await bench.clock.advance(10_000);
      assert.deepEqual(served(bench), []);
    },
  },
  {
    name: "a pod that has the host port already keeps it until it goes",
    test: async (bench) => {
      bench.publish();
      bench.cluster.put("pods", hostPod());
      putService(bench);
      bench.start();
      await bench.clock.advance(1000);
      assert.deepEqual(served(bench), []);
      const report = bench.reported("web");
      assert.equal(report?.serves, false);
      assert.deepEqual(report, {
        ports: "80",
        serves: false,
        reason: "PortInUse",
        message: "TCP port 80 is in use by pod default/nginx",
      });
      bench.cluster.remove("pods", "default/nginx");
      await bench.clock.advance(500);
      assert.deepEqual(served(bench), ["web 80"]);
    },
  },
  {
    name: "a report that somebody takes away is written again",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      bench.start();
      await bench.clock.advance(5000);
      const before = bench.cluster.get<Node>("nodes", NODE);
      bench.cluster.put("nodes", { ...before, metadata: { ...before?.metadata, annotations: {} } } as KubeObject);
      await bench.clock.advance(2000);
      assert.equal(bench.reported("web")?.serves, true);
    },
  },
  {
    name: "rules that can't be written are said with the reason, and what the kernel has stays served",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      bench.start();
      await bench.clock.advance(5000);
      bench.dataplane.broken = new Error("no such table");
      bench.cluster.put("services", service("other", { spec: { ports: [port(81)] } }));
      await bench.clock.advance(30_000);
      assert.equal(bench.reported("web")?.serves, true);
      const report = bench.reported("other");
      assert.match(report?.serves === false ? report.message : "", /no such table/);
    },
  },
  {
    name: "nothing is written while nothing changes, heartbeats apart",
    test: async (bench) => {
      bench.publish();
      putService(bench);
      bench.start();
      await bench.clock.advance(5000);
      const beats = bench.writes("nodes");
      await bench.clock.advance(600_000);
      assert.equal(bench.writes("nodes"), beats + 10);
    },
  },
];

for (const { name, test } of CASES) Deno.test(`runAgent, the agent decides: ${name}`, () => AgentBench.run(test));
