// Real packets through the rules: who answers, and which client address the pod sees.
import assert from "node:assert/strict";
import { createTopology } from "../support/net_topology.ts";
import { dataplaneOf, portOf } from "../support/netns_dataplane.ts";
import { enterWorld } from "../support/netns.ts";

if (await enterWorld(import.meta.url)) {
  Deno.test("apply forwards one TCP port to a local pod, which sees the client", async () => {
    await using topology = await createTopology();
    const [client, node] = [topology.clients[0], topology.nodes[0]];
    assert.ok(client && node && node.pods[0]);
    const pod = node.pods[0];
    await pod.ns.listen({ protocol: "tcp", port: 8080, name: "pod" });
    const dataplane = await dataplaneOf(node.ns);
    const report = await dataplane.apply({
      podCidrs: node.podCidrs,
      ports: [
        portOf({ endpoints: [{ ip: pod.ip4, port: 8080, local: true }, { ip: pod.ip6, port: 8080, local: true }] }),
      ],
    });
    assert.deepEqual([report.families, report.failures], [["IPv4", "IPv6"], []]);
    for (const family of ["ip4", "ip6"] as const) {
      const answer = await client.ns.request({ protocol: "tcp", ip: node[family], port: 80 });
      assert.deepEqual({ ...answer, peerPort: 0 }, {
        outcome: "answer",
        server: "pod",
        peer: client[family],
        peerPort: 0,
      });
    }
  });
}
