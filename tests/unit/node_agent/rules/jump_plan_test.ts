// Where our jumps stand among those of others.
import assert from "node:assert/strict";
import { desiredJumps } from "../../../../node_agent/rules/desired_ruleset.ts";
import { planJump, planUnhook } from "../../../../node_agent/rules/jump_plan.ts";
import type { JumpEdit } from "../../../../node_agent/rules/ruleset.ts";

const [PREROUTING, , , , FORWARD] = desiredJumps("IPv4");
const NAT = "! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j K3SLB-SERVICES";

const CASES: readonly {
  readonly name: string;
  readonly given: { readonly chain: "PREROUTING" | "FORWARD"; readonly rules: readonly string[] };
  readonly want: { readonly edits: readonly string[]; readonly finding?: string };
}[] = [
  {
    name: "an empty chain gets the jump",
    given: { chain: "PREROUTING", rules: [] },
    want: { edits: [`insert 1 ${NAT}`], finding: "The jump from nat PREROUTING to K3SLB-SERVICES was missing" },
  },
  {
    name: "a jump in its place stays",
    given: { chain: "PREROUTING", rules: [NAT, "-j KUBE-SERVICES"] },
    want: { edits: [] },
  },
  {
    name: "options in another order are the same rule",
    given: { chain: "PREROUTING", rules: ["-m addrtype --dst-type LOCAL ! -d 127.0.0.0/8 -j K3SLB-SERVICES"] },
    want: { edits: [] },
  },
  {
    name: "a jump behind another moves",
    given: { chain: "PREROUTING", rules: ["-j KUBE-SERVICES", NAT] },
    want: {
      edits: [`delete ${NAT}`, `insert 1 ${NAT}`],
      finding: "The jump from nat PREROUTING to K3SLB-SERVICES was not in its place (behind KUBE-SERVICES)",
    },
  },
  {
    name: "a jump that is there twice is there once after",
    given: { chain: "PREROUTING", rules: [NAT, NAT] },
    want: {
      edits: [`delete ${NAT}`, `delete ${NAT}`, `insert 1 ${NAT}`],
      finding: "The jump from nat PREROUTING to K3SLB-SERVICES was not in its place",
    },
  },
  {
    name: "a jump with another condition is replaced",
    given: { chain: "PREROUTING", rules: ["-m addrtype --dst-type LOCAL -j K3SLB-SERVICES"] },
    want: {
      edits: ["delete -m addrtype --dst-type LOCAL -j K3SLB-SERVICES", `insert 1 ${NAT}`],
      finding: "The jump from nat PREROUTING to K3SLB-SERVICES was not in its place",
    },
  },
  {
    name: "the accept in FORWARD goes below the network policy",
    given: {
      chain: "FORWARD",
      rules: ['-m comment --comment "kube-router netpol - X" -j KUBE-ROUTER-FORWARD', "-j KUBE-FORWARD"],
    },
    want: {
      edits: ["insert 2 -j K3SLB-FORWARD"],
      finding: "The jump from filter FORWARD to K3SLB-FORWARD was missing",
    },
  },
  {
    name: "the accept in FORWARD stays below the network policy",
    given: { chain: "FORWARD", rules: ["-j KUBE-ROUTER-FORWARD", "-j K3SLB-FORWARD", "-j KUBE-FORWARD"] },
    want: { edits: [] },
  },
  {
    name: "the accept in FORWARD above the network policy moves below it",
    given: { chain: "FORWARD", rules: ["-j K3SLB-FORWARD", "-j KUBE-ROUTER-FORWARD"] },
    want: {
      edits: ["delete -j K3SLB-FORWARD", "insert 2 -j K3SLB-FORWARD"],
      finding: "The jump from filter FORWARD to K3SLB-FORWARD was not in its place (before KUBE-ROUTER-FORWARD)",
    },
  },
  {
    name: "the accept in FORWARD stays below Calico's network policy",
    given: {
      chain: "FORWARD",
      rules: ['-m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD', "-j K3SLB-FORWARD", "-j KUBE-FORWARD"],
    },
    want: { edits: [] },
  },
  {
    name: "the accept in FORWARD goes below all network policy there is",
    given: { chain: "FORWARD", rules: ["-j cali-FORWARD", "-j KUBE-FORWARD", "-j KUBE-ROUTER-FORWARD"] },
    want: {
      edits: ["insert 4 -j K3SLB-FORWARD"],
      finding: "The jump from filter FORWARD to K3SLB-FORWARD was missing",
    },
  },
  {
    name: "Calico keeps the first place, which it would take back",
    given: { chain: "PREROUTING", rules: ["-j cali-PREROUTING", NAT, "-j KUBE-SERVICES"] },
    want: { edits: [] },
  },
];

for (const { name, given, want } of CASES) {
  Deno.test(`planJump: ${name}`, () => {
    const jump = given.chain === "PREROUTING" ? PREROUTING : FORWARD;
    assert.ok(jump);
    const plan = planJump(jump, "IPv4", [
      `-P ${given.chain} ACCEPT`,
      ...given.rules.map((rule) => `-A ${given.chain} ${rule}`),
    ]);
    assert.deepEqual(plan.edits.map(textOf), want.edits);
    assert.equal(plan.finding, want.finding);
  });
}

Deno.test("planUnhook takes out every rule of ours and none of others", () => {
  const lines = [
    `-A INPUT -j KUBE-FIREWALL`,
    "-A INPUT -j K3SLB-INPUT",
    "-A INPUT -s 1.1.1.1/32 -j K3SLB-OLD",
    "-A FORWARD -j K3SLB-FORWARD",
  ];
  assert.deepEqual(planUnhook("INPUT", lines).map(textOf), [
    "delete -j K3SLB-INPUT",
    "delete -s 1.1.1.1/32 -j K3SLB-OLD",
  ]);
});

function textOf(edit: JumpEdit): string {
  return edit.kind === "insert" ? `insert ${edit.position} ${edit.spec}` : `delete ${edit.spec}`;
}
