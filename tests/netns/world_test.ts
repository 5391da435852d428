// The network world itself: what the other tests in this folder stand on.
import assert from "node:assert/strict";
import { createTopology } from "../support/net_topology.ts";
import { enterWorld, execHere } from "../support/netns.ts";

if (await enterWorld(import.meta.url)) {
  for (const podNetwork of ["host-gw", "vxlan"] as const) {
    Deno.test(`createTopology routes TCP and UDP of both families between pods over ${podNetwork}`, async () => {
      await using topology = await createTopology({ podNetwork });
      const [from, to] = [topology.nodes[0]?.pods[0], topology.nodes[1]?.pods[1]];
      assert.ok(from && to);
      for (const protocol of ["tcp", "udp"] as const) {
        await to.ns.listen({ protocol, port: 8080, name: "b" });
        for (const family of ["ip4", "ip6"] as const) {
          const answer = await from.ns.request({ protocol, ip: to[family], port: 8080 });
          assert.deepEqual({ ...answer, peerPort: 0 }, {
            outcome: "answer",
            server: "b",
            peer: from[family],
            peerPort: 0,
          });
        }
      }
    });
  }

  Deno.test("Netns.request tells a refusal from silence, and streams stay open", async () => {
    await using topology = await createTopology({ nodes: 1, podsPerNode: 0 });
    const [client, node] = [topology.clients[0], topology.nodes[0]];
    assert.ok(client && node);
    assert.equal((await client.ns.request({ protocol: "tcp", ip: node.ip4, port: 9 })).outcome, "refused");
    assert.equal(
      (await client.ns.request({ protocol: "tcp", ip: "172.30.0.250", port: 9, timeoutMs: 200 })).outcome,
      "timeout",
    );
    await node.ns.listen({ protocol: "tcp", port: 80, name: "host" });
    const stream = await client.ns.open({ protocol: "tcp", ip: node.ip4, port: 80 });
    assert.equal((await stream.exchange()).outcome, "answer");
    assert.equal((await stream.exchange()).outcome, "answer");
    await stream.close();
    assert.deepEqual(await client.ns.requestMany({ protocol: "tcp", ip: node.ip4, port: 80 }, 20), { host: 20 });
  });

  Deno.test("Topology.remove leaves no namespace behind", async () => {
    const topology = await createTopology({ nodes: 1 });
    await topology.remove();
    await topology.remove();
    assert.equal((await execHere("ip", ["netns", "list"])).stdout, "");
  });
}
