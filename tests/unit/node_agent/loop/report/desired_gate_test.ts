// What a pod's gate says for each verdict and outcome, and when it is written.
import assert from "node:assert/strict";
import { K3slbError } from "../../../../../core/shared/errors.ts";
import { PROGRAMMED_CONDITION } from "../../../../../core/service/labels.ts";
import type { ApplyReport, ForwardedPort } from "../../../../../node_agent/dataplane_contract.ts";
import { type ApplyOutcome, desiredGate, gatePatch } from "../../../../../node_agent/loop/report/desired_gate.ts";
import type { PodVerdict } from "../../../../../node_agent/loop/plan/forwarding_plan.ts";
import { pod } from "../../_objects.ts";

const PORT: ForwardedPort = {
  namespace: "default",
  service: "web",
  portName: "",
  protocol: "TCP",
  port: 80,
  families: ["IPv4"],
  trafficPolicy: "Cluster",
  endpoints: [],
};
const VERDICT: PodVerdict = { pod: pod("web"), ports: [PORT], refusals: [], notes: [] };
const REPORT: ApplyReport = { families: ["IPv4"], failures: [], ruleCounts: { IPv4: 10 }, chainsWritten: 1 };
const LOCKED = new K3slbError("Cannot run iptables-restore: the lock is held", { code: "iptables-locked" });

interface Case {
  readonly name: string;
  readonly verdict?: Partial<PodVerdict>;
  readonly outcome: ApplyOutcome;
  readonly want: { readonly status: string; readonly reason: string; readonly message: RegExp };
}

const CASES: readonly Case[] = [
  {
    name: "all in the kernel",
    outcome: { report: REPORT },
    want: { status: "True", reason: "Programmed", message: /^The kernel forwards TCP 80$/ },
  },
  {
    name: "notes are said beside",
    verdict: { notes: ["Something to know"] },
    outcome: { report: REPORT },
    want: { status: "True", reason: "Programmed", message: /TCP 80; Something to know$/ },
  },
  {
    name: "a refusal gives its reason, whatever the kernel has",
    verdict: { refusals: [{ reason: "PortTaken", message: "first" }, { reason: "PortInUse", message: "second" }] },
    outcome: { report: REPORT },
    want: { status: "False", reason: "PortTaken", message: /^first; second$/ },
  },
  {
    name: "no rules because the tool failed",
    outcome: { error: LOCKED, programmed: new Set() },
    want: { status: "False", reason: "IptablesLocked", message: /the lock is held/ },
  },
  {
    name: "a failed update leaves what an earlier one wrote",
    outcome: { error: LOCKED, programmed: new Set(["default/web/TCP/80"]) },
    want: { status: "True", reason: "Programmed", message: /TCP 80/ },
  },
  {
    name: "an error of no known kind",
    outcome: { error: new Error("boom"), programmed: new Set() },
    want: { status: "False", reason: "ProgrammingFailed", message: /boom/ },
  },
  {
    name: "this port could not be programmed",
    outcome: { report: { ...REPORT, failures: [{ port: PORT, family: "IPv4", reason: "no SCTP in this kernel" }] } },
    want: { status: "False", reason: "ProgrammingFailed", message: /TCP port 80, IPv4: no SCTP in this kernel/ },
  },
  {
    name: "another Service's port could not be programmed",
    outcome: { report: { ...REPORT, failures: [{ port: { ...PORT, service: "x" }, family: "IPv4", reason: "no" }] } },
    want: { status: "True", reason: "Programmed", message: /TCP 80/ },
  },
  {
    name: "a family that the kernel lacks, beside one that it has",
    verdict: { ports: [{ ...PORT, families: ["IPv4", "IPv6"] }] },
    outcome: { report: REPORT },
    want: { status: "True", reason: "Programmed", message: /IPv6 is missing on this node/ },
  },
  {
    name: "no family of the Service",
    verdict: { ports: [{ ...PORT, families: ["IPv6"] }] },
    outcome: { report: REPORT },
    want: { status: "False", reason: "FamilyMissing", message: /IPv6/ },
  },
];

for (const { name, verdict, outcome, want } of CASES) {
  Deno.test(`desiredGate: ${name}`, () => {
    const { status, reason, message } = desiredGate({ ...VERDICT, ...verdict }, outcome);
    assert.deepEqual([status, reason], [want.status, want.reason]);
    assert.match(message, want.message);
  });
}

const STATE = { status: "True", reason: "Programmed", message: "x" } as const;
const NOW = "2026-11-23T00:00:00Z";
const BEFORE = "2026-11-22T00:00:00Z";

function gated(state: { status: string; reason: string; message: string }): ReturnType<typeof pod> {
  const conditions = [{ type: PROGRAMMED_CONDITION, ...state, lastTransitionTime: BEFORE }];
  return { ...pod("web"), status: { conditions } };
}

function patchedCondition(before: ReturnType<typeof pod>): unknown {
  const patch = gatePatch(before, STATE, NOW);
  return patch && (patch.body as { status: { conditions: unknown[] } }).status.conditions[0];
}

Deno.test("gatePatch: a first gate, tied to the pod's uid", () => {
  assert.deepEqual(gatePatch(pod("web"), STATE, NOW), {
    type: "strategic",
    body: {
      metadata: { uid: "uid-web" },
      status: { conditions: [{ type: PROGRAMMED_CONDITION, ...STATE, lastTransitionTime: NOW }] },
    },
  });
});

Deno.test("gatePatch: nothing to write when nothing changes", () => {
  assert.equal(gatePatch(gated(STATE), STATE, NOW), undefined);
});

Deno.test("gatePatch: the transition time moves with the status only", () => {
  const same = { type: PROGRAMMED_CONDITION, ...STATE, lastTransitionTime: BEFORE };
  assert.deepEqual(patchedCondition(gated({ ...STATE, message: "y" })), same);
  assert.deepEqual(patchedCondition(gated({ ...STATE, status: "False" })), { ...same, lastTransitionTime: NOW });
});

Deno.test("gatePatch: a pod without our gate, as K3s makes them, is left alone", () => {
  assert.equal(gatePatch(pod("web", { gated: false }), STATE, NOW), undefined);
});
