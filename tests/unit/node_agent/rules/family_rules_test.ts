// A remembered value is used for the same content only, and goes when a whole rule set did without it.
import assert from "node:assert/strict";
import type { ForwardedPort } from "../../../../node_agent/dataplane_contract.ts";
import { PortMemo } from "../../../../node_agent/rules/family_rules.ts";

function port(number: number, ips: readonly string[]): ForwardedPort {
  return {
    namespace: "default",
    service: "web",
    portName: "",
    protocol: "TCP",
    port: number,
    families: ["IPv4"],
    trafficPolicy: "Cluster",
    endpoints: ips.map((ip) => ({ ip, port: 80, local: true })),
  };
}

/** Which of `ports` are computed in one rule set of them. */
function ruleSet(memo: PortMemo<string>, ports: readonly ForwardedPort[]): readonly number[] {
  return memo.ruleSet((remember) => {
    const computed: number[] = [];
    for (const one of ports) {
      const value = remember(one, () => {
        computed.push(one.port);
        return `value of ${JSON.stringify(one)}`;
      });
      assert.equal(value, `value of ${JSON.stringify(one)}`);
    }
    return computed;
  });
}

Deno.test("PortMemo computes only ports whose content is new", () => {
  const memo = new PortMemo<string>();
  assert.deepEqual(ruleSet(memo, [port(80, ["10.42.1.5"]), port(81, ["10.42.1.6"])]), [80, 81]);
  assert.deepEqual(ruleSet(memo, [port(80, ["10.42.1.5"]), port(81, ["10.42.1.6"])]), []);
  assert.deepEqual(ruleSet(memo, [port(80, ["10.42.1.5"]), port(81, ["10.42.1.7"])]), [81]);
});

Deno.test("PortMemo forgets what a whole rule set did without", () => {
  const memo = new PortMemo<string>();
  ruleSet(memo, [port(80, ["10.42.1.5"]), port(81, ["10.42.1.6"])]);
  ruleSet(memo, [port(80, ["10.42.1.5"])]);
  assert.deepEqual(ruleSet(memo, [port(80, ["10.42.1.5"]), port(81, ["10.42.1.6"])]), [81]);
});
