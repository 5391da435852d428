// What a tenant's Service must never take from the node, tried with real packets through real rules.
import assert from "node:assert/strict";
import { createTopology, type Topology, type TopologyNode } from "../support/net_topology.ts";
import { dataplaneOf, portOf } from "../support/netns_dataplane.ts";
import { enterWorld } from "../support/netns.ts";
import type { Host } from "../support/net_topology.ts";

interface Scene {
  readonly topology: Topology;
  readonly node: TopologyNode;
  /** The tenant's pod; it answers at port 8080 as "tenant". */
  readonly pod: Host;
  readonly client: Host;
}

async function setScene(): Promise<Scene & AsyncDisposable> {
  const topology = await createTopology({ nodes: 1 });
  const [node, client] = [topology.nodes[0], topology.clients[0]];
  const pod = node?.pods[0];
  assert.ok(node && pod && client);
  for (const protocol of ["tcp", "udp"] as const) await pod.ns.listen({ protocol, port: 8080, name: "tenant" });
  return { topology, node, pod, client, [Symbol.asyncDispose]: () => topology.remove() };
}

/** Name of who answers a machine at an address, or how it ends. */
async function answers(from: Host, ip: string, port: number, protocol: "tcp" | "udp" = "tcp"): Promise<string> {
  const answer = await from.ns.request({ protocol, ip, port, timeoutMs: 500 });
  return answer.outcome === "answer" ? answer.server : answer.outcome;
}

if (await enterWorld(import.meta.url)) {
  Deno.test("a loopback address of the node is never answered by a Service, whatever it asks to match", async () => {
    await using scene = await setScene();
    const { node, pod, client } = scene;
    // As kube-proxy sets it in iptables mode.
    await node.ns.setSysctl("net.ipv4.conf.all.route_localnet", 1);
    const loopback = ["127.0.0.1", "127.0.0.53", "::1"];
    for (const protocol of ["tcp", "udp"] as const) {
      for (const ip of loopback) await node.ns.listen({ protocol, port: 53, name: "resolver", ip });
    }
    const endpoints = [
      { ip: pod.ip4, port: 8080, local: true },
      { ip: pod.ip6, port: 8080, local: true },
    ];
    const dataplane = await dataplaneOf(node.ns);
    const asked = [undefined, ["127.0.0.53", "::1"], ["127.0.0.0/8", "::/0"], ["0.0.0.0/0", "::ffff:127.0.0.1"]];
    for (const matchAddresses of asked) {
      const fields = { port: 53, endpoints, ...(matchAddresses ? { matchAddresses } : {}) };
      const ports = [portOf(fields), portOf({ ...fields, protocol: "UDP" })];
      await dataplane.apply({ podCidrs: node.podCidrs, ports });
      for (const protocol of ["tcp", "udp"] as const) {
        for (const ip of loopback) assert.equal(await answers(node, ip, 53, protocol), "resolver", `${ip} ${protocol}`);
        const takesAll = matchAddresses === undefined || matchAddresses.includes("0.0.0.0/0");
        if (takesAll) assert.equal(await answers(client, node.ip4, 53, protocol), "tenant");
      }
      assert.deepEqual((await dataplane.repair()).repairs, []);
    }
  });
}
