// The agent's loop against a cluster, a kernel and a host that have state: what the world looks like after each event.
import assert from "node:assert/strict";
import { K3slbError } from "../../../core/shared/errors.ts";
import { FORWARDING_CONDITION } from "../../../core/service_lb/labels.ts";
import { AgentBench } from "./_agent_bench.ts";
import { endpoint, NODE, pod, port, service, slice } from "./_objects.ts";

const NGINX = { protocol: "TCP", ip: "0.0.0.0", port: 80, process: { name: "nginx", pid: 812 } } as const;

function failed(retriable = false): K3slbError {
  return new K3slbError("iptables-restore: line 4 failed", { code: "iptables-failed", retriable });
}

function putWeb(bench: AgentBench): void {
  bench.cluster.put("services", service("web"));
  bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
  bench.cluster.put("pods", pod("web"));
}

function heartbeat(
  bench: AgentBench,
): { status?: string; reason?: string; message?: string; lastHeartbeatTime?: string } {
  return bench.cluster.condition("nodes", NODE, FORWARDING_CONDITION) ?? {};
}

interface LoopCase {
  readonly name: string;
  readonly test: (bench: AgentBench) => Promise<void>;
}

const CASES: readonly LoopCase[] = [
  {
    name: "a bound pod's Service is in the kernel, then its gate is True",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(200);
      assert.deepEqual(bench.dataplane.plan?.ports.map((one) => [one.service, one.port, one.endpoints]), [
        ["web", 80, [{ ip: "10.42.1.5", port: 8080, local: true }]],
      ]);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      assert.equal(bench.readyCalls, 1);
    },
  },
  {
    name: "no rule is touched before all caches are filled",
    test: async (bench) => {
      putWeb(bench);
      bench.cluster.failures.set("watch services", { left: Infinity, httpStatus: 500 });
      bench.start();
      await bench.clock.advance(60_000);
      assert.equal(bench.dataplane.applies, 0);
      assert.equal(bench.readyCalls, 0);
      bench.cluster.failures.clear();
      await bench.clock.advance(60_000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
    },
  },
  {
    name: "EndpointSlices that are forbidden are waited for, and the heartbeat says so",
    test: async (bench) => {
      putWeb(bench);
      bench.cluster.failures.set("list endpointslices", { left: Infinity, httpStatus: 403 });
      bench.start();
      await bench.clock.advance(10_000);
      assert.deepEqual([heartbeat(bench).status, heartbeat(bench).reason], ["False", "EndpointSlicesForbidden"]);
      assert.equal(bench.dataplane.applies, 0);
      assert.equal(bench.lines.filter((line) => line.includes("Cannot read EndpointSlices")).length, 1);
      bench.cluster.failures.clear();
      await bench.clock.advance(5000);
      assert.equal(heartbeat(bench).status, "True");
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
    },
  },
  {
    name: "endpoints of a Service that becomes wanted later are listed, and followed",
    test: async (bench) => {
      bench.cluster.put("services", service("web"));
      bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.put("pods", pod("web"));
      await bench.clock.advance(1000);
      assert.equal(bench.dataplane.plan?.ports[0]?.endpoints.length, 1);
      bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5"), endpoint("10.42.1.6")]));
      await bench.clock.advance(1000);
      assert.equal(bench.dataplane.plan?.ports[0]?.endpoints.length, 2);
      bench.cluster.remove("endpointslices", "default/web-abc");
      await bench.clock.advance(1000);
      assert.equal(bench.dataplane.plan?.ports[0]?.endpoints.length, 0);
    },
  },
  {
    name: "a pod whose Service's endpoints can't be listed is not judged",
    test: async (bench) => {
      bench.cluster.put("services", service("web"));
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.failures.set("list endpointslices", { left: 2, httpStatus: 500 });
      bench.cluster.put("pods", pod("web"));
      await bench.clock.advance(200);
      assert.equal(bench.gate("svclb-web-x"), undefined);
      assert.equal(bench.dataplane.plan?.ports.length, 0);
      await bench.clock.advance(5000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
    },
  },
  {
    name: "a pod that leaves is unprogrammed",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.remove("pods", "kube-system/svclb-web-x");
      await bench.clock.advance(20_000);
      assert.deepEqual(bench.dataplane.plan?.ports, []);
    },
  },
  {
    name: "changes come together: the first at once, the others 100 ms later as one",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      const before = bench.dataplane.applies;
      bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.6")]));
      await bench.clock.advance(0);
      assert.equal(bench.dataplane.applies, before + 1);
      assert.equal(bench.dataplane.plan?.ports[0]?.endpoints[0]?.ip, "10.42.1.6");
      for (const last of [7, 8, 9]) bench.cluster.put("endpointslices", slice("web", [endpoint(`10.42.1.${last}`)]));
      await bench.clock.advance(90);
      assert.equal(bench.dataplane.applies, before + 1);
      await bench.clock.advance(20);
      assert.equal(bench.dataplane.applies, before + 2);
      assert.equal(bench.dataplane.plan?.ports[0]?.endpoints[0]?.ip, "10.42.1.9");
    },
  },
  {
    name: "nothing is written while nothing changes, heartbeats apart",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      const gates = bench.writes("pods");
      const beats = bench.writes("nodes");
      await bench.clock.advance(600_000);
      assert.equal(bench.writes("pods"), gates);
      assert.equal(bench.writes("nodes"), beats + 10);
      assert.equal(heartbeat(bench).lastHeartbeatTime, "2026-11-23T00:10:00Z");
    },
  },
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
      for (const call of ["patch pods", "patch nodes"]) {
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
      bench.cluster.failures.clear();
      await bench.clock.advance(120_000);
      assert.equal(bench.gate("svclb-api-x")?.reason, "PortInUse");
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
      assert.ok(bench.lines.some((line) => line.includes("Mended the kernel's rules")));
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
    name: "a process that comes later is said and doesn't take the port, not even over a restart",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      bench.listeners = [NGINX];
      await bench.clock.advance(11_000);
      assert.match(bench.gate("svclb-web-x")?.message ?? "", /nginx/);
      await bench.stop();
      bench.start({}, "two");
      await bench.clock.advance(11_000);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      assert.equal(bench.dataplane.plan?.ports.length, 1);
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
    },
  },
];

for (const { name, test } of CASES) Deno.test(`runAgent: ${name}`, () => AgentBench.run(test));
