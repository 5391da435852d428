import assert from "node:assert/strict";
import type { ConnectionCount } from "../../../../node_agent/dataplane_contract.ts";
import { ConnectionTotals, countConnections } from "../../../../node_agent/rules/connection_counts.ts";
import { portChainNames } from "../../../../node_agent/rules/desired_chain_names.ts";
import { portOf } from "../../../support/netns_dataplane.ts";

Deno.test("countConnections: packets of the rules that lead to a port, whichever chain is its first", () => {
  const [web, dns, gone] = [portOf(), portOf({ service: "dns", protocol: "UDP", port: 53 }), portOf({ port: 8 })];
  const lines = [
    "-N K3SLB-SERVICES -c 9 900",
    `-A K3SLB-SERVICES -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -m comment --comment "a -c 7 7 -j x" -c 3 180 -j ${
      portChainNames(web).ranges
    }`,
    `-A K3SLB-SERVICES -d 192.0.2.2/32 -p tcp -m tcp --dport 80 -c 4 240 -j ${portChainNames(web).ranges}`,
    `-A K3SLB-SERVICES -p udp -m udp --dport 53 -c 12345678901 1 -j ${portChainNames(dns).service}`,
  ];
  assert.deepEqual(countConnections([web, dns, gone], "IPv4", lines), [
    { namespace: "default", service: "web", protocol: "TCP", port: 80, family: "IPv4", count: 7 },
    { namespace: "default", service: "dns", protocol: "UDP", port: 53, family: "IPv4", count: 12345678901 },
  ]);
});

Deno.test("ConnectionTotals.note: counters that start anew take nothing from the sum; what is gone is forgotten", () => {
  const totals = new ConnectionTotals();
  const of = (count: number, family: "IPv4" | "IPv6" = "IPv4"): ConnectionCount => ({
    ...{ namespace: "default", service: "web", protocol: "TCP", port: 80 },
    family,
    count,
  });
  const sums = (): readonly number[] => totals.totals.map(({ count }) => count);
  totals.note([of(5), of(1, "IPv6")]);
  totals.note([of(8), of(1, "IPv6")]);
  assert.deepEqual(sums(), [8, 1]);
  totals.note([of(2), of(3, "IPv6")]);
  assert.deepEqual(sums(), [10, 3]);
  totals.note([of(2)]);
  assert.deepEqual(sums(), [10]);
});
