// The status of one Service as a reducer: what was remembered and what is seen now → what to remember, what to write, what to tell and when
// to come again. Pure. Remembered are times, what was written and told last, and the nodes that served; losing it does no harm.
import { type Contest, contestAfterWrite, contestedTurn, CONTESTS_BEFORE_WARNING } from "../contest.ts";
import { type IngressAddress, type ObservedIngress, sameIngress } from "./desired_status.ts";
import type { NodeVerdict } from "../nodes/node_verdicts.ts";
import { present } from "../../shared/values.ts";
import { nodesAfter, type RememberedNodes, replacementEndMs } from "../nodes/replaced_pods.ts";
import type { ServedSummary } from "./served_condition.ts";
import { earliest, patienceEndMs, statusWriteDelayMs, type WaitsFor } from "./status_timing.ts";

/** One Event of a Service. */
export interface ServiceEvent {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

/** What is remembered of one Service. Times are in milliseconds of a clock that never jumps. */
export interface StatusMemory {
  /** Since when something is expected to change by itself. */
  readonly waitingSinceMs?: number;
  /** The nodes' states as text, and since when they are so. */
  readonly progress?: string;
  readonly progressMs?: number;
  /** Since when an address is wanted that is not in the status. */
  readonly gainSinceMs?: number;
  /** The last own write of the addresses, and how often somebody else has changed them since. */
  readonly written?: Contest;
  /** Addresses that the last Event named. */
  readonly toldAddresses?: string;
  /** The last Warning, empty if nothing is wrong. */
  readonly toldWarning?: string;
  /** When the Warning that stands was told last; after a restart: since when it is known. */
  readonly warnedMs?: number;
  /** The last Event said something of the nodes that will pass: its end is told too. */
  readonly toldNote?: boolean;
  /** A state was written that is only worth a Warning if it lasts. */
  readonly owesWarning?: boolean;
  readonly nodes?: RememberedNodes;
}

/** What is seen now. */
export interface StatusFacts {
  readonly verdicts: readonly NodeVerdict[];
  readonly summary: ServedSummary;
  readonly wanted: readonly IngressAddress[];
  /** What is expected to change by itself; `undefined` if nothing is. */
  readonly waitsFor: WaitsFor | undefined;
  readonly observed: readonly ObservedIngress[];
  /** The own condition as it stands in the status. */
  readonly condition: { readonly status: string; readonly reason: string; readonly message: string } | undefined;
}

/** What follows. */
export interface StatusStep {
  /** To be remembered: at once, or once the write has been made. */
  readonly memory: StatusMemory;
  readonly write?: { readonly ingress: readonly IngressAddress[]; readonly summary: ServedSummary };
  /** To be told, after the write. */
  readonly events: readonly ServiceEvent[];
  /** Milliseconds after which to come again though nothing has changed. */
  readonly againMs?: number;
}

/** One step. */
export function statusStep(before: StatusMemory, facts: StatusFacts, nowMs: number): StatusStep {
  const memory = noteTimes(before, facts, nowMs);
  const { waitsFor, wanted, observed, summary, condition } = facts;
  const endMs = waitsFor === undefined ? undefined : patienceEndMs(waitsFor, {
    sinceMs: memory.waitingSinceMs ?? nowMs,
    progressMs: memory.progressMs ?? nowMs,
  });
  const settled = endMs === undefined || nowMs >= endMs;
  const patienceMs = endMs === undefined ? undefined : endMs - nowMs;
  const same = sameIngress(wanted, observed);
  const again = (after: StatusMemory, ...delays: readonly (number | undefined)[]): { readonly againMs?: number } => {
    const warnMs = after.warnedMs === undefined || isToldAgain(after, nowMs)
      ? undefined
      : after.warnedMs + WARN_AGAIN_MS - nowMs;
    return present({ againMs: earliest(...delays, warnMs, replacementEndMs(memory.nodes, nowMs)) });
  };
  if (same && sameSummary(summary, condition)) {
    if (memory.owesWarning === true ? !settled : !isToldAgain(memory, nowMs)) {
      return { memory, events: [], ...again(memory, memory.owesWarning === true ? patienceMs : undefined) };
    }
    const told = tell(memory, facts, { settled, nowMs });
    return { ...told, ...again(told.memory) };
  }
  const turn = contestedTurn(same ? undefined : memory.written, ingressText(wanted), nowMs);
  const delayMs = turn.count > 0 ? turn.delayMs : statusWriteDelayMs({
    nowMs,
    lost: isMissing(observed, wanted),
    gained: !same,
    hadAddresses: observed.length > 0,
    conditionFlips: condition?.status !== summary.status || condition.reason !== summary.reason,
    complete: waitsFor === undefined,
    patienceEndMs: endMs,
    waitingSinceMs: memory.waitingSinceMs,
    gainSinceMs: memory.gainSinceMs,
    lastWriteMs: memory.written?.writtenMs,
  });
  if (delayMs > 0) return { memory, events: [], ...again(memory, delayMs) };
  const told = tell(memory, facts, { settled, nowMs });
  const written = contestAfterWrite(memory.written, { wanted: ingressText(wanted), count: turn.count, same }, nowMs);
  return {
    memory: { ...told.memory, written },
    write: { ingress: wanted, summary },
    events: turn.count === CONTESTS_BEFORE_WARNING ? [CONTESTED, ...told.events] : told.events,
    ...again(told.memory, told.memory.owesWarning === true ? patienceMs : undefined),
  };
}

const CONTESTED: ServiceEvent = {
  type: "Warning",
  reason: "StatusContested",
  message: "Another program changes the addresses in this Service's status; give one of them a loadBalancerClass",
};

/** The API server forgets Events after an hour, and with them goes what `kubectl describe` shows. */
function isToldAgain({ warnedMs }: StatusMemory, nowMs: number): boolean {
  return warnedMs !== undefined && nowMs - warnedMs >= WARN_AGAIN_MS;
}

function noteTimes(before: StatusMemory, facts: StatusFacts, nowMs: number): StatusMemory {
  const { waitingSinceMs, gainSinceMs, warnedMs, ...rest } = before;
  const progress = progressText(facts.verdicts);
  return {
    ...rest,
    progress,
    progressMs: before.progress === progress ? before.progressMs ?? nowMs : nowMs,
    ...(facts.waitsFor === undefined ? {} : { waitingSinceMs: waitingSinceMs ?? nowMs }),
    ...(isMissing(facts.wanted, facts.observed) ? { gainSinceMs: gainSinceMs ?? nowMs } : {}),
    ...(facts.summary.problem ? { warnedMs: warnedMs ?? nowMs } : {}),
    nodes: nodesAfter(before.nodes, facts.verdicts, nowMs),
  };
}

function progressText(verdicts: readonly NodeVerdict[]): string {
  return verdicts.map((verdict) => verdict.serves ? verdict.node : `${verdict.node} ${verdict.reason}`).join(",");
}

function tell(
  memory: StatusMemory,
  { summary, observed, wanted }: StatusFacts,
  { settled, nowMs }: { readonly settled: boolean; readonly nowMs: number },
): Pick<StatusStep, "memory" | "events"> {
  const events: ServiceEvent[] = [];
  const after = addressText(wanted);
  const before = memory.toldAddresses ?? addressText(observed);
  // While nodes come up one by one only the end is told.
  const isChangeTold = (settled || wanted.length < observed.length) && after !== before;
  const warning = summary.problem && settled ? `${summary.reason} ${summary.message}` : undefined;
  const isWarningTold = warning !== undefined && (warning !== memory.toldWarning || isToldAgain(memory, nowMs));
  const isOver = memory.toldWarning || (memory.toldNote === true && summary.noted !== true);
  // `kubectl describe` shows Events and no conditions of Services: what the condition says is said here too.
  if (isChangeTold) {
    const message = `Addresses changed: [${before}] -> [${after}]`;
    const rest = summary.problem || !settled ? "" : `. ${summary.message}`;
    events.push({ type: "Normal", reason: "UpdatedLoadBalancer", message: `${message}${rest}` });
  } else if (settled && warning === undefined && isOver) {
    events.push({ type: "Normal", reason: summary.reason, message: summary.message });
  }
  const [told] = events;
  if (isWarningTold) events.push({ type: "Warning", reason: eventReason(summary), message: summary.message });
  return {
    memory: {
      ...memory,
      toldAddresses: isChangeTold ? after : before,
      ...(settled ? { toldWarning: warning ?? "" } : {}),
      ...(isWarningTold ? { warnedMs: nowMs } : {}),
      ...(told?.message.endsWith(summary.message) ? { toldNote: summary.noted === true } : {}),
      owesWarning: summary.problem && !settled,
    },
    events,
  };
}

/** K3s's and upstream's names where they have one. */
function eventReason({ reason: stated, cause: reason = stated }: ServedSummary): string {
  if (reason === "NoNodes" || reason === "NoNodeSelected") return "UnAvailableLoadBalancer";
  return SYNC_FAILURES.has(reason) ? "SyncLoadBalancerFailed" : reason;
}

function sameSummary(summary: ServedSummary, condition: StatusFacts["condition"]): boolean {
  return condition?.status === summary.status && condition.reason === summary.reason &&
    condition.message === summary.message;
}

/** Whether `a` has an address that is not in `b`. */
function isMissing(a: readonly ObservedIngress[], b: readonly ObservedIngress[]): boolean {
  return a.some(({ ip }) => !b.some((address) => address.ip === ip));
}

function addressText(addresses: readonly ObservedIngress[]): string {
  return addresses.map(({ ip, hostname }) => ip ?? hostname ?? "").join(" ");
}

/** A text that is the same for the same addresses. */
function ingressText(ingress: readonly IngressAddress[]): string {
  return JSON.stringify(ingress);
}

const WARN_AGAIN_MS = 50 * 60_000;
const SYNC_FAILURES: ReadonlySet<string> = new Set([
  "InvalidSourceRange",
  "InvalidAnnotation",
  "InvalidMatchAddress",
  "TooManyPorts",
  "InvalidMatchInterface",
  "NoPorts",
  "NoClusterIP",
  "NoNodePort",
  "DaemonSetRefused",
]);
