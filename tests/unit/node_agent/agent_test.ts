// The agent's loop against a cluster, a kernel and a host that have state: what the world looks like after each event.
import assert from "node:assert/strict";
import { AgentBench } from "./_agent_bench.ts";
import { endpoint, pod, service, slice } from "./_objects.ts";

Deno.test("runAgent: a bound pod's Service is in the kernel, then its gate is True", async () => {
  await AgentBench.run(async (bench) => {
    bench.cluster.put("services", service("web"));
    bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
    bench.cluster.put("pods", pod("web"));
    bench.start();
    await bench.clock.advance(200);
    assert.deepEqual(bench.dataplane.plan?.ports.map((one) => [one.service, one.port, one.endpoints]), [
      ["web", 80, [{ ip: "10.42.1.5", port: 8080, local: true }]],
    ]);
    assert.equal(bench.gate("svclb-web-x")?.status, "True");
    assert.equal(bench.readyCalls, 1);
  });
});
