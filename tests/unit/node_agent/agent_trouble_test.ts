// The agent's loop in trouble: tools that fail, an API that is away, foreign processes, flushed rules, restarts, rivals.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { Pod } from "../../../core/kube/types.ts";
import { FORWARDING_CONDITION } from "../../../core/service/labels.ts";
import { waitUntil } from "../../support/wait.ts";
import { AgentBench, failed, heartbeat, type LoopCase, putWeb } from "./_agent_bench.ts";
import { endpoint, NODE, pod, port, service, slice } from "./_objects.ts";

const NGINX = { protocol: "TCP", ip: "0.0.0.0", port: 80, process: { name: "nginx", pid: 812 } } as const;

const CASES: readonly LoopCase[] = [
  {
    name: "a tool that fails closes the gate with its words, is tried again, and the gate opens",
    test: async (bench) => {
      putWeb(bench);
      bench.dataplane.broken = failed();
      bench.start();
      await bench.clock.advance(5000);
      const gate = bench.gate("svclb-web-x");
      assert.deepEqual([gate?.status, gate?.reason], ["False", "IptablesFailed"]);
      assert.match(gate?.message ?? "", /line 4 failed/);
      assert.deepEqual([heartbeat(bench).status, heartbeat(bench).reason], ["False", "IptablesFailed"]);
      bench.dataplane.broken = undefined;
      await bench.clock.advance(60_000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      assert.equal(heartbeat(bench).status, "True");
    },
  },
  {
    name: "a lock that is held once alarms nobody",
    test: async (bench) => {
      putWeb(bench);
      bench.dataplane.errors.push(failed(true));
      bench.start();
      await bench.clock.advance(5000);
      assert.equal(bench.writes("pods"), 1);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
    },
  },
  {
    name: "a failed update leaves the gate of what is still in the kernel",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      bench.dataplane.broken = failed();
      bench.cluster.put("services", service("api", { spec: { ports: [port(81)] } }));
      bench.cluster.put("pods", pod("api"));
      await bench.clock.advance(5000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      assert.equal(bench.gate("svclb-api-x")?.reason, "IptablesFailed");
    },
  },
  {
    name: "the API away: rules stay and are mended, gates are written when it is back",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      for (const call of ["patch pods/status", "patch nodes/status"]) {
        bench.cluster.failures.set(call, { left: Infinity, httpStatus: 503 });
      }
      bench.dataplane.flushed = true;
      bench.listeners = [{ ...NGINX, port: 81 }];
      bench.cluster.put("services", service("api", { spec: { ports: [port(81)] } }));
      bench.cluster.put("pods", pod("api"));
      await bench.clock.advance(120_000);
      assert.equal(bench.dataplane.flushed, false);
      assert.equal(bench.dataplane.plan?.ports.length, 1);
      assert.equal(bench.gate("svclb-api-x"), undefined);
      await bench.clock.advance(1_206_000);
      bench.cluster.failures.clear();
      const backMs = bench.clock.now();
      // However long it was away: a late heartbeat would take the node out of every status.
      await bench.clock.advance(10_000);
      assert.equal(bench.gate("svclb-api-x")?.reason, "PortInUse");
      assert.ok(Date.parse(heartbeat(bench).lastHeartbeatTime ?? "") >= backMs);
    },
  },
  {
    name: "flushed rules are mended within seconds, and it is logged",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      bench.dataplane.flushed = true;
      await bench.clock.advance(5000);
      assert.equal(bench.dataplane.flushed, false);
      assert.ok(bench.lines.some((line) => line.includes("Repaired the kernel's rules")));
    },
  },
  {
    name: "rules that are flushed again are mended as soon, however long it took to write them",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      bench.dataplane.onMend = () => bench.clock.work(2000);
      for (let i = 0; i < 3; i++) {
        bench.dataplane.flushed = true;
        await bench.clock.advance(7000);
        assert.equal(bench.dataplane.flushed, false, `flush ${i + 1}`);
      }
    },
  },
  {
    name: "rules of one family that are written late open the gate as soon as they are there",
    test: async (bench) => {
      putWeb(bench);
      bench.dataplane.onApply = (plan) => {
        bench.dataplane.failures = plan.ports.map((one) => ({ port: one, family: "IPv4", reason: "The lock is held" }));
      };
      bench.start();
      await bench.clock.advance(4000);
      assert.match(bench.gate("svclb-web-x")?.message ?? "", /The lock is held/);
      bench.dataplane.onApply = undefined;
      bench.dataplane.failures = [];
      bench.dataplane.flushed = true;
      await bench.clock.advance(2000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
    },
  },
  {
    name: "what can't be mended stands in the gate's message",
    test: async (bench) => {
      putWeb(bench);
      bench.dataplane.warnings = ["Chain inet/firewalld/forward drops forwarded packets"];
      bench.start();
      await bench.clock.advance(10_000);
      assert.match(bench.gate("svclb-web-x")?.message ?? "", /firewalld/);
      assert.equal(bench.lines.filter((line) => line.includes("Forwarding may be blocked")).length, 1);
    },
  },
  {
    name: "a port in use is refused, and served once it is free",
    test: async (bench) => {
      putWeb(bench);
      bench.listeners = [NGINX];
      bench.start();
      await bench.clock.advance(1000);
      assert.equal(bench.gate("svclb-web-x")?.reason, "PortInUse");
      assert.deepEqual(bench.dataplane.plan?.ports, []);
      bench.listeners = [];
      await bench.clock.advance(11_000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      assert.equal(bench.dataplane.plan?.ports.length, 1);
    },
  },
  {
    name:
      "a port is given back when its process listens again, also to one that comes later, and not to a socket of a moment",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      bench.listeners = [NGINX];
      await bench.clock.advance(11_000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      bench.listeners = [];
      await bench.clock.advance(10_000);
      bench.listeners = [NGINX];
      await bench.clock.advance(10_000);
      assert.equal(bench.dataplane.plan?.ports.length, 1);
      await bench.clock.advance(10_000);
      assert.equal(bench.gate("svclb-web-x")?.reason, "PortInUse");
      assert.deepEqual(bench.dataplane.plan?.ports, []);
      bench.listeners = [];
      await bench.clock.advance(11_000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
    },
  },
  {
    name: "a restart leaves a port to a process that listens by then",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      await bench.stop();
      bench.listeners = [NGINX];
      bench.start({}, "two");
      await bench.clock.advance(1000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      await bench.clock.advance(20_000);
      assert.equal(bench.gate("svclb-web-x")?.reason, "PortInUse");
    },
  },
  {
    name: "an endpoint excuses a listener only if there is such a pod in this host's network",
    test: async (bench) => {
      putWeb(bench);
      const targetRef = { kind: "Pod", namespace: "default", name: "web-1" };
      const here = { ...endpoint("192.0.2.1"), targetRef };
      bench.cluster.put("endpointslices", slice("web", [here], { ports: [{ port: 80 }] }));
      bench.listeners = [NGINX];
      bench.start();
      await bench.clock.advance(25_000);
      assert.equal(bench.gate("svclb-web-x")?.reason, "PortInUse");
      const own = { metadata: { name: "web-1", namespace: "default" }, status: { phase: "Running" } };
      bench.cluster.put("pods", { ...own, spec: { containers: [], nodeName: NODE } } as Pod);
      await bench.clock.advance(25_000);
      assert.equal(bench.gate("svclb-web-x")?.reason, "PortInUse");
      bench.cluster.put("pods", { ...own, spec: { containers: [], nodeName: NODE, hostNetwork: true } } as Pod);
      await bench.clock.advance(1000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      bench.cluster.put(
        "pods",
        { ...own, spec: { containers: [], nodeName: NODE, hostNetwork: true }, status: { phase: "Failed" } } as Pod,
      );
      await bench.clock.advance(25_000);
      assert.equal(bench.gate("svclb-web-x")?.reason, "PortInUse");
    },
  },
  {
    name: "an address that comes to the node opens the gate",
    test: async (bench) => {
      putWeb(bench);
      bench.cluster.put("services", service("web", { annotations: { "k3slb.io/match-addresses": "203.0.113.7" } }));
      bench.start();
      await bench.clock.advance(1000);
      assert.equal(bench.gate("svclb-web-x")?.reason, "NoMatchingAddress");
      bench.interfaces = [{ name: "eth0", addresses: ["192.0.2.1", "203.0.113.7"] }];
      await bench.clock.advance(11_000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
    },
  },
  {
    name: "a pod of stock K3s is programmed and its status left alone",
    test: async (bench) => {
      putWeb(bench);
      bench.cluster.put("pods", pod("web", { gated: false }));
      bench.start();
      await bench.clock.advance(1000);
      assert.equal(bench.dataplane.plan?.ports.length, 1);
      assert.equal(bench.writes("pods"), 0);
    },
  },
  {
    name: "stopping leaves rules and gates; a predecessor is no rival",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(61_000);
      await bench.stop();
      assert.equal(bench.dataplane.plan?.ports.length, 1);
      bench.start({}, "two");
      await bench.clock.advance(61_000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      assert.match(heartbeat(bench).message ?? "", /instance two$/);
      assert.ok(!bench.lines.some((line) => line.includes("Another agent")));
    },
  },
  {
    name: "a second live agent under the same name is said",
    test: async (bench) => {
      bench.start();
      await bench.clock.advance(30_000);
      const stored = bench.cluster.get("nodes", NODE);
      const conditions = [{
        type: FORWARDING_CONDITION,
        status: "True",
        reason: "Forwarding",
        message: "0 ports of 0 Services; agent 0.1.0, nft, instance other",
        lastHeartbeatTime: "2026-11-23T00:00:30Z",
      }];
      bench.cluster.put("nodes", { ...stored, status: { conditions } } as typeof stored & object);
      await bench.clock.advance(1000);
      assert.match(
        heartbeat(bench).message ?? "",
        /another agent \(instance other\) runs under this node name.*instance one$/,
      );
      assert.equal(bench.lines.filter((line) => line.includes("Another agent")).length, 1);
      await bench.clock.advance(300_000);
      assert.match(heartbeat(bench).message ?? "", /^0 ports of 0 Services, .* rules; agent 0.1.0.*instance one$/);
    },
  },
];

for (const { name, test } of CASES) Deno.test(`runAgent: ${name}`, () => AgentBench.run(test));

Deno.test("runAgent: serves health and metrics while it runs", async () => {
  await AgentBench.run(async (bench) => {
    putWeb(bench);
    const address = `127.0.0.1:${await freePort()}`;
    bench.metricsAddress = address;
    bench.start();
    bench.dataplane.broken = failed();
    await waitUntil("the server to listen", async () => await statusOf(`http://${address}/readyz`) > 0);
    await bench.clock.advance(1000);
    assert.notEqual(await statusOf(`http://${address}/readyz`), 200);
    bench.dataplane.broken = undefined;
    await bench.clock.advance(60_000);
    assert.equal(await statusOf(`http://${address}/readyz`), 200);
    const read = async (): Promise<string> => await (await fetch(`http://${address}/metrics`)).text();
    bench.dataplane.counters = [40];
    bench.dataplane.deletedFlows = 3;
    await read();
    bench.dataplane.counters = [2];
    await bench.clock.advance(60_000);
    const text = await read();
    for (
      const line of [
        /^k3slb_agent_ports 1$/m,
        /^k3slb_agent_rules\{family="IPv4"\} 2$/m,
        /^k3slb_agent_deleted_flows_total 3$/m,
        /^k3slb_agent_programming_latency_seconds_count 1$/m,
        /^k3slb_agent_service_connections_total\{family="IPv4",namespace="default",port="80",protocol="TCP",service="web"\} 42$/m,
        /^k3slb_queue_retries_total\{queue="node"\} [1-9]/m,
        /^k3slb_agent_reconcile_errors_total\{code="iptables-failed"\} [1-9]/m,
      ]
    ) {
      assert.match(text, line);
    }
  });
});

Deno.test("runAgent: an unusable metrics address doesn't stop the forwarding", async () => {
  await AgentBench.run(async (bench) => {
    putWeb(bench);
    bench.metricsAddress = "nonsense";
    bench.start();
    await waitUntil(
      "the complaint",
      () => bench.lines.some((line) => line.includes("Health and metrics can't be served")),
    );
    await bench.clock.advance(1000);
    assert.equal(bench.gate("svclb-web-x")?.status, "True");
  });
});

Deno.test("runAgent: an option that has no meaning is an error before anything starts", async () => {
  const bench = new AgentBench();
  bench.start({ reservedPorts: ["x"] });
  await assert.rejects(bench.stop(), { code: "usage" });
  assert.deepEqual(bench.lines, []);
});

async function statusOf(url: string): Promise<number> {
  const answer = await fetch(url);
  await answer.body?.cancel();
  return answer.status;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  assert.ok(address !== null && typeof address === "object");
  return address.port;
}
