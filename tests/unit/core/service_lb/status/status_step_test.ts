// The reducer of a Service's status: a table of transitions, each from what is remembered and seen to what is written, told and awaited.
import assert from "node:assert/strict";
import type { NodeVerdict } from "../../../../../core/service_lb/nodes/node_verdicts.ts";
import type { ServedSummary } from "../../../../../core/service_lb/status/served_condition.ts";
import { type StatusFacts, type StatusMemory, statusStep } from "../../../../../core/service_lb/status/status_step.ts";
import { frozen } from "../../../../support/frozen.ts";

const SERVED: ServedSummary = { status: "True", reason: "Served", message: "Served by 1 node: a", problem: false };
const PARTLY: ServedSummary = { status: "True", reason: "PartlyServed", message: "b: no", problem: true };
const NOTED: ServedSummary = { ...SERVED, message: "Served by 1 node: a. a: no endpoints", noted: true };
const NOBODY: ServedSummary = { status: "False", reason: "NoPod", message: "Served by no node", problem: true };
const A = { ip: "10.0.0.1" };
const B = { ip: "10.0.0.2" };
const FOREIGN = { ip: "192.0.2.1" };
const serves = (node: string, more: Partial<NodeVerdict & { serves: true }> = {}): NodeVerdict => ({
  node,
  serves: true,
  ...more,
});

/** All is as it should be. */
const CALM: StatusFacts = {
  verdicts: [serves("a")],
  summary: SERVED,
  wanted: [A],
  waitsFor: undefined,
  observed: [A],
  condition: SERVED,
};
const WRITTEN = { wanted: JSON.stringify([A]), writtenMs: 0, count: 0 };
const DAY_MS = 86_400_000;
/** Events live for an hour. */
const TOLD_AGAIN_MS = 50 * 60_000;

interface Transition {
  readonly name: string;
  readonly memory?: StatusMemory;
  readonly facts: Partial<StatusFacts>;
  readonly nowMs?: number;
  /** Addresses written. */
  readonly writes?: readonly string[];
  readonly tells?: readonly string[];
  readonly againMs?: number;
  readonly remembers?: Partial<StatusMemory>;
  readonly forgets?: readonly (keyof StatusMemory)[];
}

const TRANSITIONS: readonly Transition[] = [
  { name: "nothing differs: nothing", facts: {} },
  {
    name: "a new Service: nothing is written before it has had its time",
    facts: { wanted: [], observed: [], summary: NOBODY, condition: undefined, waitsFor: "cluster", verdicts: [] },
    againMs: 15_000,
  },
  {
    name: "a new Service, all nodes serve: written and told at once",
    facts: { observed: [], condition: undefined },
    writes: ["10.0.0.1"],
    tells: ["UpdatedLoadBalancer"],
    remembers: { toldAddresses: "10.0.0.1", toldWarning: "" },
  },
  {
    name: "a new Service, one of two nodes serves: a moment for the other one",
    facts: { observed: [], condition: undefined, summary: PARTLY, waitsFor: "node" },
    againMs: 100,
  },
  {
    name: "that moment is over: written, and the end of patience is awaited",
    memory: { waitingSinceMs: 0, gainSinceMs: 0, progress: "a", progressMs: 0 },
    nowMs: 100,
    facts: { observed: [], condition: undefined, summary: PARTLY, waitsFor: "node" },
    writes: ["10.0.0.1"],
    againMs: 9_900,
    remembers: { owesWarning: true },
  },
  {
    name: "patience ends: told, not written",
    memory: { waitingSinceMs: 0, progress: "a", progressMs: 0, owesWarning: true, toldAddresses: "" },
    nowMs: 10_000,
    facts: { condition: PARTLY, summary: PARTLY, waitsFor: "node" },
    tells: ["UpdatedLoadBalancer", "PartlyServed"],
    againMs: TOLD_AGAIN_MS,
    remembers: { owesWarning: false, warnedMs: 10_000 },
  },
  {
    name: "an address is lost: taken out at once, however much goes on",
    memory: { written: { ...WRITTEN, wanted: JSON.stringify([A, B]), writtenMs: 999 } },
    nowMs: 1_000,
    facts: { observed: [A, B], summary: PARTLY, waitsFor: "node" },
    writes: ["10.0.0.1"],
    tells: ["UpdatedLoadBalancer"],
    againMs: 10_000,
  },
  {
    name: "one address more while others are to come: three seconds after the last write",
    memory: { written: { ...WRITTEN, writtenMs: 1_000 } },
    nowMs: 2_000,
    facts: { wanted: [A, B], summary: PARTLY, waitsFor: "node" },
    againMs: 2_000,
  },
  {
    name: "other words only: a second after the last write",
    memory: { written: { ...WRITTEN, writtenMs: 900 } },
    nowMs: 1_000,
    facts: { condition: { ...SERVED, message: "other" } },
    againMs: 900,
  },
  {
    name: "what was warned of is over: told, as a condition of a Service is seldom seen",
    memory: { toldWarning: "PartlyServed b: no", toldAddresses: "10.0.0.1" },
    facts: { condition: PARTLY },
    writes: ["10.0.0.1"],
    tells: ["Served"],
    remembers: { toldWarning: "" },
  },
  {
    name: "addresses told with a note, such as of no endpoints: the note is remembered",
    facts: { observed: [], condition: undefined, summary: NOTED },
    writes: ["10.0.0.1"],
    tells: ["UpdatedLoadBalancer"],
    remembers: { toldNote: true },
  },
  {
    name: "the note is over: told, or the last Event would go on saying it",
    memory: { toldNote: true, toldWarning: "", toldAddresses: "10.0.0.1" },
    facts: { condition: NOTED },
    writes: ["10.0.0.1"],
    tells: ["Served"],
    remembers: { toldNote: false },
  },
  {
    name: "a note that comes later, or stays in other words: no Event",
    memory: { toldNote: true, toldWarning: "", toldAddresses: "10.0.0.1" },
    facts: { summary: NOTED, condition: SERVED },
    writes: ["10.0.0.1"],
    remembers: { toldNote: true },
  },
  {
    name: "the same Warning is told once",
    memory: { toldWarning: "PartlyServed b: no", toldAddresses: "10.0.0.1" },
    facts: { summary: PARTLY, condition: SERVED },
    writes: ["10.0.0.1"],
    againMs: TOLD_AGAIN_MS,
  },
  {
    name: "a Warning that stands is told again before the API server forgets it",
    memory: { toldWarning: "PartlyServed b: no", toldAddresses: "10.0.0.1", warnedMs: 1_000 },
    nowMs: 1_000 + TOLD_AGAIN_MS,
    facts: { summary: PARTLY, condition: PARTLY },
    tells: ["PartlyServed"],
    againMs: TOLD_AGAIN_MS,
    remembers: { warnedMs: 1_000 + TOLD_AGAIN_MS },
  },
  {
    name: "and not earlier",
    memory: { toldWarning: "PartlyServed b: no", toldAddresses: "10.0.0.1", warnedMs: 1_000 },
    nowMs: TOLD_AGAIN_MS,
    facts: { summary: PARTLY, condition: PARTLY },
    againMs: 1_000,
  },
  {
    name: "after a restart: when it is that old again, as nobody knows when it was told",
    nowMs: DAY_MS,
    facts: { summary: PARTLY, condition: PARTLY },
    againMs: TOLD_AGAIN_MS,
    remembers: { warnedMs: DAY_MS },
  },
  {
    name: "what was warned of is over: nothing is to be told again",
    memory: { toldWarning: "", toldAddresses: "10.0.0.1", warnedMs: 1_000 },
    nowMs: DAY_MS,
    facts: {},
    forgets: ["warnedMs"],
  },
  {
    name: "while somebody else's write is waited out, nothing is told again, nor asked for at once",
    memory: { toldWarning: "PartlyServed b: no", written: { ...WRITTEN, writtenMs: DAY_MS }, warnedMs: 0 },
    nowMs: DAY_MS,
    facts: { observed: [FOREIGN], summary: PARTLY, condition: PARTLY },
    againMs: 1_000,
  },
  {
    name: "somebody else writes: a second's pause",
    memory: { written: WRITTEN },
    nowMs: 500,
    facts: { observed: [FOREIGN] },
    againMs: 500,
  },
  {
    name: "somebody else writes, the pause is over: written again",
    memory: { written: WRITTEN, toldAddresses: "10.0.0.1" },
    nowMs: 1_000,
    facts: { observed: [FOREIGN] },
    writes: ["10.0.0.1"],
    remembers: { written: { ...WRITTEN, writtenMs: 1_000, count: 1 } },
  },
  {
    name: "a second time within minutes: a Warning",
    memory: { written: { ...WRITTEN, count: 1 }, toldAddresses: "10.0.0.1" },
    nowMs: 2_000,
    facts: { observed: [FOREIGN] },
    writes: ["10.0.0.1"],
    tells: ["StatusContested"],
  },
  {
    name: "a second time after a month: as if it were the first",
    memory: { written: { ...WRITTEN, count: 1 }, toldAddresses: "10.0.0.1" },
    nowMs: 31 * DAY_MS,
    facts: { observed: [FOREIGN] },
    writes: ["10.0.0.1"],
    remembers: { written: { ...WRITTEN, writtenMs: 31 * DAY_MS, count: 1 } },
  },
  {
    name: "a contest of last month is over, though other words were written a moment ago",
    memory: { written: { ...WRITTEN, count: 1 }, toldAddresses: "10.0.0.1" },
    nowMs: 31 * DAY_MS,
    facts: { condition: { ...SERVED, reason: "PartlyServed" } },
    writes: ["10.0.0.1"],
    remembers: { written: { ...WRITTEN, writtenMs: 31 * DAY_MS, count: 0 } },
  },
  {
    name: "a contest of this minute goes on over a write of other words",
    memory: { written: { ...WRITTEN, count: 1 }, toldAddresses: "10.0.0.1" },
    nowMs: 60_000,
    facts: { condition: { ...SERVED, reason: "PartlyServed" } },
    writes: ["10.0.0.1"],
    remembers: { written: { ...WRITTEN, writtenMs: 60_000, count: 1 } },
  },
  {
    name: "another wish than the last one is nobody's contest",
    memory: { written: { ...WRITTEN, wanted: JSON.stringify([B]), count: 5 }, toldAddresses: "10.0.0.2" },
    nowMs: 10,
    facts: { observed: [B] },
    writes: ["10.0.0.1"],
    tells: ["UpdatedLoadBalancer"],
    remembers: { written: { ...WRITTEN, writtenMs: 10, count: 0 } },
  },
  {
    name: "a node whose pod is being replaced: nothing, until that takes too long",
    facts: { verdicts: [serves("a", { isMissing: true })] },
    nowMs: 5,
    againMs: 60_000,
    remembers: { nodes: new Map([["a", { missingSinceMs: 5 }]]) },
  },
  {
    name: "its pod is back: forgotten",
    memory: { nodes: new Map([["a", { missingSinceMs: 5 }]]) },
    facts: {},
    remembers: { nodes: new Map() },
  },
];

for (const transition of TRANSITIONS) {
  const { name, memory = {}, facts, nowMs = 0, writes, tells = [], againMs, remembers = {}, forgets = [] } = transition;
  Deno.test(`statusStep() ${name}`, () => {
    const step = statusStep(frozen(memory), frozen({ ...CALM, ...facts }), nowMs);
    assert.deepEqual(step.write?.ingress.map(({ ip }) => ip), writes);
    assert.deepEqual(step.events.map(({ reason }) => reason), tells);
    assert.equal(step.againMs, againMs);
    for (const [field, value] of Object.entries(remembers)) {
      assert.deepEqual(step.memory[field as keyof StatusMemory], value, field);
    }
    for (const field of forgets) assert.equal(field in step.memory, false, field);
  });
}

Deno.test("statusStep() taken twice says and writes nothing new", () => {
  for (const { memory = {}, facts, nowMs = 0 } of TRANSITIONS) {
    const seen = { ...CALM, ...facts };
    const first = statusStep(memory, seen, nowMs);
    if (first.write === undefined) continue;
    const after = { ...seen, observed: first.write.ingress, condition: first.write.summary };
    const second = statusStep(first.memory, after, nowMs);
    assert.equal(second.write, undefined);
    assert.deepEqual(second.events, []);
  }
});
