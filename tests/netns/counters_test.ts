// The rules' own counters, read while real connections come in.
import assert from "node:assert/strict";
import type { ForwardedPort } from "../../node_agent/dataplane_contract.ts";
import { createTopology } from "../support/net_topology.ts";
import { dataplaneOf, portOf } from "../support/netns_dataplane.ts";
import { enterWorld } from "../support/netns.ts";

if (await enterWorld(import.meta.url)) {
  for (const backend of ["nft", "legacy"] as const) {
    for (const more of [0, 300]) {
      Deno.test(`connections: each is counted once, refused ones too, beside ${more} other ports (${backend})`, async () => {
        const topology = await createTopology();
        try {
          const [client, node] = [topology.clients[0], topology.nodes[0]];
          const pod = node?.pods[0];
          assert.ok(client && node && pod);
          for (const protocol of ["tcp", "udp"] as const) await pod.ns.listen({ protocol, port: 8080, name: "pod" });
          const endpoints = [pod.ip4, pod.ip6].map((ip) => ({ ip, port: 8080, local: true }));
          const dataplane = await dataplaneOf(node.ns, { iptablesMode: backend });
          const counts = async (): Promise<string> =>
            (await dataplane.connections()).filter(({ service }) => service !== "many")
              .map(({ service, family, count }) => `${service} ${family} ${count}`).sort().join(", ");
          assert.equal(await counts(), "");
          const ports: readonly Partial<ForwardedPort>[] = [
            { endpoints },
            { service: "shut", port: 81, endpoints, sourceRanges: ["192.168.0.0/24"] },
            { service: "dns", protocol: "UDP", port: 53, endpoints },
            ...Array.from({ length: more }, (_, index) => ({ service: "many", port: 1000 + index })),
          ];
          await dataplane.apply({ podCidrs: node.podCidrs, ports: ports.map(portOf) });
          await client.ns.requestMany({ protocol: "tcp", ip: node.ip4, port: 80 }, 5);
          await client.ns.requestMany({ protocol: "tcp", ip: node.ip6, port: 80 }, 2);
          const stream = await client.ns.open({ protocol: "udp", ip: node.ip4, port: 53 });
          for (let i = 0; i < 3; i++) await stream.exchange(1000);
          await stream.close();
          // In IPv6 nobody may connect to it, so it has no chain there.
          const wanted = "dns IPv4 1, dns IPv6 0, shut IPv4 0, web IPv4 5, web IPv6 2";
          assert.equal(await counts(), wanted);
          await client.ns.request({ protocol: "tcp", ip: node.ip4, port: 81, timeoutMs: 300 });
          assert.match(await counts(), /shut IPv4 [1-9]/);
        } finally {
          await topology.remove();
        }
      });
    }
  }
}
