// How soon, and how often, the agent brings changes into the kernel.
import assert from "node:assert/strict";
import type { KubeObject } from "../../../../core/kube/types.ts";
import { AgentBench, type LoopCase, putWeb } from "../_agent_bench.ts";
import { endpoint, NODE, service, slice } from "../_objects.ts";

const CASES: readonly LoopCase[] = [
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
    name: "a new Service whose endpoints come a moment later is in the kernel as soon as they do",
    test: async (bench) => {
      bench.publish();
      bench.start();
      await bench.clock.advance(1000);
      bench.cluster.put("services", service("web", { spec: { selector: { app: "web" } } }));
      await bench.clock.advance(15);
      assert.deepEqual(bench.dataplane.plan?.ports, []);
      bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
      await bench.clock.advance(10);
      assert.deepEqual(bench.dataplane.plan?.ports.map(({ port }) => port), [80]);
    },
  },
  {
    name: "a new Service is not looked at before its endpoints are known, nor after it has gone",
    test: async (bench) => {
      bench.publish();
      bench.start();
      await bench.clock.advance(1000);
      const before = bench.dataplane.applies;
      const web = service("web", { spec: { selector: { app: "web" } } });
      bench.cluster.put("services", web);
      await bench.clock.advance(200);
      const status = { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } };
      bench.cluster.put("services", { ...web, status } as KubeObject);
      await bench.clock.advance(200);
      assert.equal(bench.dataplane.applies, before);
      bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
      await bench.clock.advance(200);
      assert.equal(bench.dataplane.applies, before + 1);
      assert.deepEqual(bench.dataplane.plan?.ports.map(({ port }) => port), [80]);
      bench.cluster.remove("services", "default/web");
      await bench.clock.advance(200);
      assert.deepEqual(bench.dataplane.plan?.ports, []);
      const gone = bench.dataplane.applies;
      for (const { metadata } of bench.cluster.list<KubeObject>("endpointslices")) {
        bench.cluster.remove("endpointslices", `default/${metadata?.name}`);
      }
      await bench.clock.advance(200);
      assert.equal(bench.dataplane.applies, gone);
    },
  },
  {
    name: "a Service that is written again and again, and says nothing else by it, is not looked at",
    test: async (bench) => {
      putWeb(bench);
      bench.publish();
      bench.start();
      await bench.clock.advance(1000);
      const write = (tolerations: string): void => {
        const annotations = { "svccontroller.k3s.cattle.io/tolerations": tolerations };
        bench.cluster.put("services", service("web", { annotations }));
      };
      write("[".repeat(1_000));
      await bench.clock.advance(1000);
      const before = bench.dataplane.applies;
      for (let i = 1; i < 30; i++) {
        write("[".repeat(1_000 + i));
        await bench.clock.advance(25);
      }
      assert.equal(bench.dataplane.applies, before);
    },
  },
  {
    name: "a namespace that changes all the time keeps another one not waiting",
    test: async (bench) => {
      putWeb(bench);
      const busy = service("busy", { spec: { ports: [{ port: 81, protocol: "TCP" }] } });
      const put = (name: string, ip: string, namespace: string): void => {
        const { metadata, ...rest } = slice(name, [endpoint(ip)]);
        bench.cluster.put("endpointslices", { ...rest, metadata: { ...metadata, namespace } } as KubeObject);
      };
      bench.cluster.put("services", { ...busy, metadata: { ...busy.metadata, namespace: "busy" } });
      bench.publish();
      bench.start();
      await bench.clock.advance(1000);
      const before = bench.dataplane.applies;
      for (let i = 1; i < 46; i++) {
        put("busy", `10.42.1.${100 + i}`, "busy");
        await bench.clock.advance(10);
      }
      put("web", "10.42.1.7", "default");
      await bench.clock.advance(0);
      const ips = bench.dataplane.plan?.ports.map(({ endpoints }) => endpoints[0]?.ip);
      assert.deepEqual([ips, bench.dataplane.applies], [["10.42.1.7", "10.42.1.145"], before + 6]);
    },
  },
  {
    name: "changes that make no difference to the kernel are looked at together",
    test: async (bench) => {
      putWeb(bench);
      bench.publish();
      bench.start();
      await bench.clock.advance(1000);
      const before = bench.dataplane.applies;
      for (let i = 0; i < 100; i++) {
        bench.cluster.put(
          "endpointslices",
          slice("web", [endpoint("10.42.1.5", NODE, { ready: true, serving: i % 2 === 0 })]),
        );
        await bench.clock.advance(1);
      }
      const looks = bench.dataplane.applies - before;
      assert.ok(looks <= 6, `${looks} in 100 ms`);
    },
  },
];

for (const { name, test } of CASES) Deno.test(`runAgent, its pace: ${name}`, () => AgentBench.run(test));
