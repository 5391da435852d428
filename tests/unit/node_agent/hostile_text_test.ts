// Whatever texts objects carry, nothing of them becomes a rule, a line or a chain of its own, and a condition stays one that the API takes.
import assert from "node:assert/strict";
import fc from "fast-check";
import { IP_FAMILIES } from "../../../core/shared/ip.ts";
import { desiredGate } from "../../../node_agent/loop/report/desired_gate.ts";
import { heartbeatState } from "../../../node_agent/loop/report/heartbeat.ts";
import { desiredRuleSet } from "../../../node_agent/rules/desired_ruleset.ts";
import { DEFAULT_MARK_BITS, parseMarkBits } from "../../../node_agent/rules/parse_mark_bits.ts";
import { renderRuleSet } from "../../../node_agent/rules/render_restore.ts";
import { parseSave } from "../../../node_agent/rules/parse_save.ts";
import { portWith } from "../../support/plans.ts";
import { anyText } from "../../support/any_text.ts";

const OPTIONS = {
  marks: parseMarkBits(DEFAULT_MARK_BITS),
  features: { randomFully: true, sctp: true, recent: true, bridgeFilter: false },
};

/** Texts with all that means something to iptables-restore, shells, terminals and address parsers. */
const text = fc.oneof(
  anyText(300),
  fc.constantFrom(
    "",
    "\n-A INPUT -j ACCEPT\nCOMMIT\n*filter",
    '" -j ACCEPT #',
    "--to-destination 1.2.3.4",
    "10.0.0.1 -j ACCEPT",
    "10.0.0.0/8\n",
    "::1%eth0\n",
    "\u001b]0;x\u0007\u009b31m",
    "x".repeat(100_000),
  ),
);

const port = fc.record({
  namespace: text,
  service: text,
  portName: text,
  sourceRanges: fc.option(fc.array(text, { maxLength: 3 }), { nil: undefined }),
  matchAddresses: fc.option(fc.array(text, { maxLength: 3 }), { nil: undefined }),
  endpoints: fc.array(fc.record({ ip: text, port: fc.integer({ min: 1, max: 65_535 }), local: fc.boolean() }), {
    maxLength: 3,
  }),
}).map(({ sourceRanges, matchAddresses, ...rest }) =>
  portWith({ ...rest, ...(sourceRanges ? { sourceRanges } : {}), ...(matchAddresses ? { matchAddresses } : {}) })
);

Deno.test("rules: hostile texts leave a rule set that reads back as it was meant, line by line", () => {
  fc.assert(
    fc.property(port, fc.array(text, { maxLength: 2 }), fc.constantFrom(...IP_FAMILIES), (one, cidrs, family) => {
      const { ruleSet } = desiredRuleSet({ ports: [one], podCidrs: cidrs, ownAddresses: cidrs }, family, OPTIONS);
      const rendered = renderRuleSet(ruleSet);
      assert.deepEqual(parseSave(rendered, "K3SLB-"), ruleSet.tables);
      for (const line of rendered.split("\n")) {
        assert.match(
          line,
          /^(|\*(nat|filter)|COMMIT|:K3SLB-[A-Z0-9-]+ - \[0:0\]|-A K3SLB-[A-Za-z0-9 .:\/"_,!\[\]-]+)$/,
        );
        assert.ok(line.length < 1000, line);
      }
    }),
  );
});

Deno.test("conditions: hostile texts and sizes leave a message of one line that the API takes", () => {
  fc.assert(fc.property(fc.array(port, { maxLength: 4 }), text, (ports, reason) => {
    const report = { families: IP_FAMILIES, failures: [], ruleCounts: {}, chainsWritten: 0 };
    const signature = { version: "0.1.0", backend: "nft", instanceId: "one" };
    const unwritten = [{ family: "IPv4", reason }] as const;
    const states = [
      desiredGate({ ports, refusals: [], notes: [reason, reason] }, { report }),
      desiredGate({ ports, refusals: [{ reason: "PortInUse", message: reason }], notes: [] }, {
        report,
      }),
      desiredGate({ ports, refusals: [], notes: [] }, {
        error: new Error(reason),
        programmed: new Set(),
      }),
      heartbeatState(
        { plan: { ports, podCidrs: [] }, report: { ...report, unwritten }, warnings: [reason] },
        signature,
      ),
      heartbeatState({ reason: "ProgrammingFailed", message: reason }, signature),
    ];
    for (const { message } of states) {
      assert.ok(message.length < 32_768, `${message.length}`);
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(message, /[\u0000-\u001f\u007f-\u009f]/);
    }
  }));
});
