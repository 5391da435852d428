// The agent's loop against a cluster, a kernel and a host that have state: what the world looks like after each event.
import assert from "node:assert/strict";
import { AgentBench, heartbeat, type LoopCase, putWeb } from "../_agent_bench.ts";
import type { Pod, Service } from "../../../../core/kube/types.ts";
import { endpoint, pod, service, slice } from "../_objects.ts";

const ended = (before: Pod, phase: string): Pod => ({ ...before, status: { ...before.status, phase } });

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
      bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
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
    name: "a pod that is seen before its Service is not told so at once",
    test: async (bench) => {
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.put("pods", pod("web"));
      await bench.clock.advance(1500);
      assert.equal(bench.gate("svclb-web-x"), undefined);
      bench.cluster.put("services", service("web"));
      await bench.clock.advance(500);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      assert.equal(bench.writes("pods"), 1);
    },
  },
  {
    name: "a pod that stays without its Service is told so",
    test: async (bench) => {
      bench.cluster.put("pods", pod("web"));
      bench.start();
      await bench.clock.advance(5000);
      assert.equal(bench.gate("svclb-web-x")?.reason, "NoSuchService");
      bench.cluster.put("services", service("web"));
      await bench.clock.advance(500);
      assert.equal(bench.gate("svclb-web-x")?.status, "True");
      bench.cluster.remove("services", "default/web");
      await bench.clock.advance(5000);
      assert.equal(bench.gate("svclb-web-x")?.reason, "NoSuchService");
      assert.deepEqual(bench.dataplane.plan?.ports, []);
    },
  },
  {
    name: "a pod that is replaced leaves no gap",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      const seen = new Set<number | undefined>();
      bench.dataplane.onApply = (plan) => seen.add(plan.ports[0]?.endpoints.length);
      bench.cluster.remove("pods", "kube-system/svclb-web-x");
      await bench.clock.advance(2000);
      bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.7"), endpoint("10.42.1.8")]));
      await bench.clock.advance(500);
      bench.cluster.put("pods", pod("web", { name: "svclb-web-y" }));
      await bench.clock.advance(10_000);
      assert.deepEqual([...seen].filter((count) => count !== 1), [2], "served all the time, and up to date");
      assert.equal(bench.gate("svclb-web-y")?.status, "True");
    },
  },
  {
    name: "a pod that ends before it goes, as a kubelet has it, leaves no gap",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      const seen = new Set<number>();
      bench.dataplane.onApply = (plan) => seen.add(plan.ports.length);
      for (const phase of ["Failed", "Succeeded"]) {
        const name = phase === "Failed" ? "svclb-web-x" : "svclb-web-y";
        const before = bench.cluster.get<Pod>("pods", `kube-system/${name}`) ?? pod("web", { name });
        bench.cluster.put("pods", ended(before, phase));
        await bench.clock.advance(2000);
        bench.cluster.remove("pods", `kube-system/${name}`);
        await bench.clock.advance(3000);
        bench.cluster.put("pods", pod("web", { name: phase === "Failed" ? "svclb-web-y" : "svclb-web-z" }));
        await bench.clock.advance(1000);
      }
      // A pod that is refused by the kubelet must not end the time of the one that went before.
      bench.cluster.remove("pods", "kube-system/svclb-web-z");
      bench.cluster.put("pods", ended(pod("web", { name: "svclb-web-refused" }), "Failed"));
      await bench.clock.advance(5000);
      assert.deepEqual([...seen], [1]);
    },
  },
  {
    name: "a Service whose pod went is served for as long as its status lists this node",
    test: async (bench) => {
      putWeb(bench);
      const listed = (ip: string): Service => ({ ...service("web"), status: { loadBalancer: { ingress: [{ ip }] } } });
      bench.cluster.put("services", listed("192.0.2.1"));
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.put("pods", ended(pod("web"), "Failed"));
      bench.cluster.remove("pods", "kube-system/svclb-web-x");
      await bench.clock.advance(600_000);
      assert.equal(bench.dataplane.plan?.ports.length, 1);
      bench.cluster.put("services", listed("192.0.2.2"));
      await bench.clock.advance(20_000);
      assert.deepEqual(bench.dataplane.plan?.ports, []);
    },
  },
  {
    name: "a pod that leaves for good is unprogrammed after a while",
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
    name: "only pods of the ServiceLB namespace that a DaemonSet owns are believed",
    test: async (bench) => {
      const web = pod("web");
      const withMetadata = (metadata: Partial<typeof web.metadata>): Pod => ({
        ...web,
        metadata: { ...web.metadata, ...metadata },
      });
      const owner = web.metadata?.ownerReferences?.[0];
      assert.ok(owner);
      bench.cluster.put("services", service("web"));
      bench.cluster.put("pods", withMetadata({ namespace: "default" }));
      bench.cluster.put("pods", withMetadata({ name: "bare", ownerReferences: [] }));
      bench.cluster.put("pods", withMetadata({ name: "other", ownerReferences: [{ ...owner, kind: "ReplicaSet" }] }));
      bench.cluster.put("pods", withMetadata({ name: "ref", ownerReferences: [{ ...owner, controller: false }] }));
      bench.cluster.put(
        "pods",
        withMetadata({ name: "alien", ownerReferences: [{ ...owner, apiVersion: "example.com/v1" }] }),
      );
      bench.start();
      await bench.clock.advance(20_000);
      assert.deepEqual(bench.dataplane.plan?.ports, []);
      assert.equal(bench.writes("pods"), 0);
      bench.cluster.put("pods", web);
      await bench.clock.advance(1000);
      assert.equal(bench.dataplane.plan?.ports.length, 1);
    },
  },
  {
    name: "the ServiceLB namespace is what --servicelb-namespace says",
    test: async (bench) => {
      bench.cluster.put("services", service("web"));
      bench.cluster.put("pods", pod("web"));
      bench.start({ servicelbNamespace: "balancers" });
      await bench.clock.advance(20_000);
      assert.deepEqual(bench.dataplane.plan?.ports, []);
      bench.cluster.put("pods", { ...pod("web"), metadata: { ...pod("web").metadata, namespace: "balancers" } });
      await bench.clock.advance(1000);
      assert.equal(bench.dataplane.plan?.ports.length, 1);
    },
  },
  {
    name: "the heartbeat counts what is served within seconds of a change, and seldom",
    test: async (bench) => {
      bench.start();
      await bench.clock.advance(30_000);
      assert.match(heartbeat(bench).message ?? "", /^0 ports of 0 Services, /);
      putWeb(bench);
      await bench.clock.advance(3000);
      assert.match(heartbeat(bench).message ?? "", /^1 port of 1 Service, /);
      const beats = bench.writes("nodes");
      for (let i = 0; i < 30; i++) {
        if (i % 2) bench.cluster.remove("services", "default/more");
        else {
          bench.cluster.put("services", service("more", { spec: { ports: [{ port: 81 }, { port: 82, name: "b" }] } }));
          bench.cluster.put("pods", pod("more"));
        }
        await bench.clock.advance(1000);
      }
      await bench.clock.advance(10_000);
      assert.match(heartbeat(bench).message ?? "", /^1 port of 1 Service, /);
      assert.ok(bench.writes("nodes") - beats <= 5, `${bench.writes("nodes") - beats} writes in 40 s`);
    },
  },
  {
    name: "a Service without endpoints is served, and said to have none once that lasts",
    test: async (bench) => {
      putWeb(bench);
      bench.start();
      await bench.clock.advance(1000);
      const before = bench.writes("pods");
      for (let i = 0; i < 20; i++) {
        bench.cluster.put("endpointslices", slice("web", i % 2 ? [endpoint("10.42.1.5")] : []));
        await bench.clock.advance(500);
      }
      assert.ok(bench.writes("pods") - before <= 4, `${bench.writes("pods") - before} writes in 10 s`);
      bench.cluster.put("endpointslices", slice("web", []));
      await bench.clock.advance(4000);
      const gate = bench.gate("svclb-web-x");
      assert.deepEqual([gate?.status, gate?.reason], ["True", "Programmed"]);
      assert.match(
        gate?.message ?? "",
        /^The kernel forwards TCP 80; no endpoints: connections to TCP port 80 are refused$/,
      );
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
];

for (const { name, test } of CASES) Deno.test(`runAgent: ${name}`, () => AgentBench.run(test));
