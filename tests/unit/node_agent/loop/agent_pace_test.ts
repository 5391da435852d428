// How soon, and how often, the agent brings changes into the kernel.
import assert from "node:assert/strict";
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
