// The condition `k3slb.io/Served` and the words of Events: who serves a Service, who does not and why, in bounded length. Pure.
// No times and no counters inside, so that the text stays the same while the state does.
import { nameList, plural } from "../../shared/name_list.ts";
import { visibleLine } from "../../shared/visible_text.ts";
import type { NodeVerdict, VerdictReason } from "../nodes/node_verdicts.ts";
import type { SettingsProblem } from "../../service/reading.ts";

/** What the condition says. */
export interface ServedSummary {
  /** Whether any node serves. */
  readonly status: "True" | "False";
  /** Stable CamelCase name. */
  readonly reason: string;
  /** What an Event about it is called, where that is not the reason: what is wrong with a Service that is served. */
  readonly cause?: string;
  /** What is wrong and what to do, for people. */
  readonly message: string;
  /** Whether something is wrong that somebody should know of. */
  readonly problem: boolean;
  /** Whether a node that serves has something to say that will pass, such as that there are no endpoints. */
  readonly noted?: true;
}

/** What beside the verdicts is to be said. */
export interface ServedFacts {
  /** Why the DaemonSet is not written. */
  readonly error?: SettingsProblem;
  readonly warnings: readonly SettingsProblem[];
}

/** What `verdicts` mean for the Service. */
export function servedSummary(verdicts: readonly NodeVerdict[], facts: ServedFacts): ServedSummary {
  const serving = verdicts.filter(({ serves }) => serves);
  const refused = verdicts.flatMap((verdict) => verdict.serves ? [] : [verdict]);
  const wrong = refused.filter(({ reason }) => !BY_CHOICE.has(reason));
  const served = serving.length > 0;
  // Clients notice nothing, but whoever can fix it must hear of it; what is merely slow is no trouble.
  const unreserved = serving.flatMap((verdict) =>
    verdict.serves && verdict.isReservationMissed ? verdict.unreserved ?? [] : []
  ).filter(({ reason }) => reason === "FailedCreate" || reason === "NotScheduled");
  const problem = facts.error !== undefined || facts.warnings.length > 0 || wrong.length > 0 || !served ||
    unreserved.length > 0 || serving.some((verdict) => verdict.serves && verdict.degraded !== undefined);
  const sentences = [
    ...(facts.error === undefined ? [] : [facts.error.message]),
    served
      ? `Served by ${plural(serving.length, "node")}: ${nameList(serving.map(({ node }) => node))}`
      : "Served by no node",
    ...groupSentences(
      serving.flatMap((verdict) =>
        (verdict.serves ? [verdict.degraded, verdict.note] : []).flatMap((message) =>
          message === undefined ? [] : [{ node: verdict.node, message }]
        )
      ),
    ),
    ...groupSentences(wrong),
    ...groupSentences(refused.filter(({ reason }) => BY_CHOICE.has(reason))),
    ...facts.warnings.map(({ message }) => message),
  ];
  const reason = reasonOf(verdicts, { ...facts, served, wrong });
  const [warning = unreserved[0]] = facts.warnings;
  return {
    status: served ? "True" : "False",
    reason,
    ...(reason === "Served" && warning !== undefined ? { cause: warning.reason } : {}),
    message: bounded(sentences.join(". ")),
    problem,
    ...(serving.some((verdict) => verdict.serves && verdict.note !== undefined) ? { noted: true } : {}),
  };
}

interface ReasonFacts extends ServedFacts {
  readonly served: boolean;
  readonly wrong: readonly { readonly reason: VerdictReason }[];
}

function reasonOf(verdicts: readonly NodeVerdict[], facts: ReasonFacts): string {
  if (facts.error !== undefined) return facts.error.reason;
  if (facts.served) return facts.wrong.length === 0 ? "Served" : "PartlyServed";
  if (verdicts.length === 0) return "NoNodes";
  const reasons = new Set<VerdictReason>(facts.wrong.map(({ reason }) => reason));
  if (reasons.size > 0) return REASON_ORDER.find((reason) => reasons.has(reason)) ?? "NotServed";
  const refused = verdicts.flatMap((verdict) => verdict.serves ? [] : [verdict.reason]);
  return refused.includes("NoLocalEndpoint") ? "NoLocalEndpoint" : "NoNodeSelected";
}

/** Nodes with the same words share one sentence. */
function groupSentences(items: readonly { readonly node: string; readonly message: string }[]): readonly string[] {
  return [...Map.groupBy(items, ({ message }) => message)].map(([message, group]) =>
    `${nameList(group.map(({ node }) => node))}: ${cut(message, MAX_WORDS)}`
  );
}

function bounded(message: string): string {
  return cut(message, MAX_MESSAGE);
}

function cut(text: string, length: number): string {
  const line = visibleLine(text);
  return line.length <= length ? line : `${line.slice(0, length - 3)}...`;
}

/** Reasons of nodes that the Service is not for: somebody chose so, and nobody waits for them. */
export const NO_CANDIDATE: ReadonlySet<string> = new Set<VerdictReason>([
  "NotLinux",
  "NotEnabled",
  "NotInPool",
  "Excluded",
  "Tainted",
]);

/** Reasons that somebody chose: they are told, but nothing is wrong. */
const BY_CHOICE: ReadonlySet<string> = new Set([...NO_CANDIDATE, "NoLocalEndpoint"]);

/** Which reason stands for the Service when nodes have several: the one that somebody must act on first. */
const REASON_ORDER: readonly VerdictReason[] = [
  "FailedCreate",
  "PortTaken",
  "NotProgrammed",
  "NotScheduled",
  "AgentMissing",
  "NoAddress",
  "PodNotReady",
  "PodFailed",
  "PodOutdated",
  "WaitingForAgent",
  "WaitingForScheduler",
  "NoPod",
  "PodEnding",
];

/** Characters of what is said of one node, such as the scheduler's words. */
const MAX_WORDS = 320;
/** Characters of the whole message; an Event's note is refused above 1024. */
const MAX_MESSAGE = 900;
