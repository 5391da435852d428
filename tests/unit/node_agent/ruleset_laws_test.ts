// Laws of rendering, parsing and comparing, and one kernel kept in memory that lives through many plans.
import assert from "node:assert/strict";
import fc from "fast-check";
import { SILENT_LOGGER } from "../../../core/shared/log.ts";
import { IP_FAMILIES } from "../../../core/shared/ip.ts";
import { K3slbError } from "../../../core/shared/errors.ts";
import type { ForwardingPlan } from "../../../node_agent/dataplane_contract.ts";
import { desiredRuleSet } from "../../../node_agent/rules/desired_ruleset.ts";
import { diffRuleSet, type RuleSet } from "../../../node_agent/rules/ruleset.ts";
import { DEFAULT_MARK_BITS, parseMarkBits } from "../../../node_agent/rules/parse_mark_bits.ts";
import { parseSave } from "../../../node_agent/rules/parse_save.ts";
import { renderRestore, renderRuleSet } from "../../../node_agent/rules/render_restore.ts";
import { RuleSetWriter } from "../../../node_agent/rules/ruleset_writer.ts";
import { FakeIptables } from "../../support/fake_iptables.ts";
import { arbitraryPlan, EVERY_KIND, POD_CIDRS, portWith } from "../../support/plans.ts";

const OPTIONS = {
  marks: parseMarkBits(DEFAULT_MARK_BITS),
  features: { randomFully: true, sctp: true, recent: true, bridgeFilter: true },
};
const family = fc.constantFrom(...IP_FAMILIES);

function ruleSetOf(plan: ForwardingPlan, of: RuleSet["family"]): RuleSet {
  return desiredRuleSet(plan, of, OPTIONS).ruleSet;
}

Deno.test("parseSave: parse(render(x)) = x", () => {
  fc.assert(fc.property(arbitraryPlan(), family, (plan, of) => {
    const ruleSet = ruleSetOf(plan, of);
    assert.deepEqual(parseSave(renderRuleSet(ruleSet), "K3SLB-"), ruleSet.tables);
  }));
});

Deno.test("parseSave refuses what this program never writes", () => {
  const specs = [
    "-i eth0 -j ACCEPT",
    "-m physdev --physdev-is-in -j DROP",
    "-j LOG",
    "-m mark --mark 0x1/0x1",
    "-p tcp -m tcp --sport 1 -j DROP",
  ];
  for (const spec of specs) {
    assert.throws(() => parseSave(`*nat\n:K3SLB-A - [0:0]\n-A K3SLB-A ${spec}\nCOMMIT\n`, "K3SLB-"), SyntaxError, spec);
  }
});

Deno.test("diffRuleSet of equal rule sets is nothing", () => {
  fc.assert(fc.property(arbitraryPlan(), family, (plan, of) => {
    assert.deepEqual(diffRuleSet(ruleSetOf(plan, of), ruleSetOf(plan, of)), []);
  }));
});

Deno.test("diffRuleSet: the changes applied give the same as everything written anew", async () => {
  await fc.assert(fc.asyncProperty(arbitraryPlan(), arbitraryPlan(), family, async (before, after, of) => {
    const [stepwise, anew] = [new FakeIptables(of), new FakeIptables(of)];
    const [old, wanted] = [ruleSetOf(before, of), ruleSetOf(after, of)];
    await stepwise.restore(renderRestore(diffRuleSet(undefined, old), of));
    await stepwise.restore(renderRestore(diffRuleSet(old, wanted), of));
    await anew.restore(renderRestore(diffRuleSet(undefined, wanted), of));
    assert.equal(stepwise.save(), anew.save());
  }));
});

Deno.test("diffRuleSet writes only the chains of the Service whose endpoint changed", () => {
  const after = {
    ...EVERY_KIND,
    ports: EVERY_KIND.ports.map((port) =>
      port.service === "web" ? { ...port, endpoints: port.endpoints.slice(1) } : port
    ),
  };
  const changes = diffRuleSet(ruleSetOf(EVERY_KIND, "IPv4"), ruleSetOf(after, "IPv4"));
  assert.equal(changes.length, 1);
  assert.deepEqual(changes[0]?.written.map((chain) => chain.name.slice(0, 8)), ["K3SLB-S-"]);
  assert.deepEqual(changes[0]?.deleted, []);
});

Deno.test("RuleSetWriter: one kernel through many plans, then removal, is as at first", async () => {
  const many = (count: number): ForwardingPlan => ({
    podCidrs: POD_CIDRS,
    ports: Array.from({ length: count }, (_, i) => portWith({ service: `s${i}`, port: 1000 + i * 3 })),
  });
  const empty: ForwardingPlan = { podCidrs: [], ports: [] };
  const fixed = [empty, EVERY_KIND, many(3), many(257), many(600), many(258), EVERY_KIND, empty, many(300)];
  // The same plan gives the same however often it is asked: that is what the law says, and it takes long.
  const known = { IPv4: new Map<ForwardingPlan, string>(), IPv6: new Map<ForwardingPlan, string>() };
  await fc.assert(
    fc.asyncProperty(
      fc.array(arbitraryPlan(), { maxLength: 6 }),
      fc.infiniteStream(fc.nat()),
      family,
      async (random, picks, of) => {
        const kernel = new FakeIptables(of);
        await kernel.restore(
          "*nat\n:KUBE-SERVICES - [0:0]\n-I PREROUTING 1 -j KUBE-SERVICES\nCOMMIT\n*filter\n:KUBE-ROUTER-FORWARD - [0:0]\n-I FORWARD 1 -j KUBE-ROUTER-FORWARD\nCOMMIT\n",
        );
        const first = kernel.save();
        const writer = new RuleSetWriter(kernel, SILENT_LOGGER);
        const states = [...fixed, ...random];
        const hops = [...states, ...[...picks.take(4)].map((pick) => states[pick % states.length] ?? empty)];
        for (const plan of hops) {
          await writer.write(ruleSetOf(plan, of));
          const restores = kernel.restores;
          assert.equal(await writer.write(ruleSetOf(plan, of)), 0);
          assert.deepEqual(await writer.repair(), []);
          assert.equal(kernel.restores, restores, "nothing is written when nothing changed");
          const wanted = known[of].get(plan) ?? await savedAnew(plan, of, first);
          known[of].set(plan, wanted);
          assert.equal(kernel.save(), wanted);
        }
        assert.notDeepEqual(await writer.remove(), []);
        assert.equal(kernel.save(), first);
        assert.deepEqual(await writer.remove(), []);
      },
    ),
    { numRuns: 8 },
  );
});

Deno.test("RuleSetWriter writes everything anew after a failure, and a restart replaces what was there", async () => {
  const kernel = new FakeIptables("IPv4");
  const writer = new RuleSetWriter(kernel, SILENT_LOGGER);
  await writer.write(ruleSetOf(EVERY_KIND, "IPv4"));
  const whole = kernel.save();
  kernel.failure = new K3slbError("Locked", { code: "iptables-locked", retriable: true });
  await assert.rejects(writer.write(ruleSetOf({ podCidrs: [], ports: [] }, "IPv4")), { code: "iptables-locked" });
  assert.equal(kernel.save(), whole);
  kernel.failure = undefined;
  assert.deepEqual(await writer.repair(), ["The IPv4 rules were in doubt and were written anew"]);
  const emptied = kernel.save();
  assert.ok(!emptied.includes("K3SLB-S-"), "chains of Services are gone");
  await writer.write(ruleSetOf(EVERY_KIND, "IPv4"));
  const next = new RuleSetWriter(kernel, SILENT_LOGGER);
  await next.write(ruleSetOf({ podCidrs: [], ports: [] }, "IPv4"));
  assert.equal(kernel.save(), emptied);
});

Deno.test("RuleSetWriter writes large changes in parts where the kernel takes only small ones", async () => {
  const plan = (count: number): ForwardingPlan => ({
    podCidrs: POD_CIDRS,
    ports: Array.from(
      { length: count },
      (_, i) => portWith({ service: `s${i}`, port: 1000 + i * 3, sourceRanges: ["10.0.0.0/8"], affinitySeconds: 9 }),
    ),
  });
  const [small, large] = [new FakeIptables("IPv4"), new FakeIptables("IPv4")];
  small.maxLength = 60_000;
  const first = small.save();
  const [inParts, atOnce] = [new RuleSetWriter(small, SILENT_LOGGER), new RuleSetWriter(large, SILENT_LOGGER)];
  for (const count of [600, 20, 601, 0]) {
    for (const writer of [inParts, atOnce]) await writer.write(ruleSetOf(plan(count), "IPv4"));
    assert.equal(small.save(), large.save());
  }
  await inParts.write(ruleSetOf(plan(600), "IPv4"));
  await inParts.remove();
  assert.equal(small.save(), first);
});

/** What a fresh program would make of the same kernel. */
async function savedAnew(plan: ForwardingPlan, of: RuleSet["family"], first: string): Promise<string> {
  const kernel = new FakeIptables(of);
  const chains = first.split("\n").filter((line) =>
    line.startsWith("*") || line.startsWith(":KUBE") || line.startsWith("-A") || line === "COMMIT"
  );
  await kernel.restore(chains.join("\n") + "\n");
  await new RuleSetWriter(kernel, SILENT_LOGGER).write(ruleSetOf(plan, of));
  return kernel.save();
}
