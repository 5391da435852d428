import assert from "node:assert/strict";
import { claimRemedy, nodeRemedy, VERDICT_REASONS } from "../../../../../core/service_lb/answers/remedies.ts";
import { readService } from "../../../../../core/service/reading.ts";

const READING = readService({
  metadata: { namespace: "shop", name: "web", labels: { "svccontroller.k3s.cattle.io/lbpool": "edge" } },
});

Deno.test("nodeRemedy: every reason has one line of its own, which names no undefined thing", () => {
  const facts = { node: "node1", reading: READING, servicelbNamespace: "kube-system", daemonSet: "svclb-web-1" };
  const lines = VERDICT_REASONS.map((reason) => nodeRemedy(reason, facts));
  assert.equal(new Set(lines).size, VERDICT_REASONS.length);
  for (const line of lines) assert.match(line, /^(?!.*undefined)[A-Zk].{10,180}$/);
});

Deno.test("nodeRemedy: who has the port is named", () => {
  const conflict = { port: "80/TCP", owner: "demo/old" };
  const facts = { node: "node1", reading: READING, servicelbNamespace: "kube-system", daemonSet: "d", conflict };
  assert.match(nodeRemedy("PortTaken", facts), /Service old in namespace demo/);
});

Deno.test("claimRemedy: every reason has one", () => {
  for (const reason of ["Deleted", "NotLoadBalancer", "OtherClass", "NoClass", "OptedOut"] as const) {
    assert.ok(claimRemedy(reason, { reading: READING, lbClass: "k3slb.io/node-addresses" }).length > 10, reason);
  }
});
