// The status of one Service: whether it differs, when it is written, and which Events go with it.
import type { Condition, Service } from "../kube/types.ts";
import type { DesiredService } from "./desired_service.ts";
import { type IngressAddress, type ObservedIngress, sameIngress } from "./desired_status.ts";
import { SERVED_CONDITION } from "../service/labels.ts";
import { type PassContext, type PassMemory, recordEvent, servedCondition } from "./pass_context.ts";
import { type ServedSummary, servedSummary } from "./served_condition.ts";
import type { SettingsProblem } from "../service/reading.ts";
import { writeStatus } from "./service_writes.ts";
import { patienceEndMs, statusWriteDelayMs } from "./status_timing.ts";

/** A lasting refusal of the API server. */
export interface Refusal extends SettingsProblem {
  readonly cause: unknown;
}

/** Writes the status if it differs and its time has come. Returns after how many milliseconds to look again. */
export async function syncStatus(
  context: PassContext,
  input: {
    readonly service: Service;
    readonly memory: PassMemory;
    readonly desired: DesiredService;
    readonly refused: Refusal | undefined;
  },
): Promise<number | undefined> {
  const { service, desired, memory, refused } = input;
  const summary = refused === undefined
    ? desired.summary
    : servedSummary(desired.verdicts, { error: refused, warnings: desired.warnings });
  const observed = service.status?.loadBalancer?.ingress ?? [];
  const condition = servedCondition(service);
  const nowMs = context.clock.monotonicMs();
  const waitsFor = refused === undefined ? desired.waitsFor : undefined;
  const complete = waitsFor === undefined;
  noteTimes(memory, { nowMs, complete, gained: gains(desired.ingress, observed), progress: progressText(desired) });
  const patienceMs = waitsFor === undefined ? undefined : patienceEndMs(waitsFor, {
    sinceMs: memory.waitingSinceMs ?? nowMs,
    progressMs: memory.progressMs ?? nowMs,
  });
  const same = sameIngress(desired.ingress, observed);
  const settled = patienceMs === undefined || nowMs >= patienceMs;
  if (same && sameSummary(summary, condition)) {
    if (memory.owesWarning !== true) return undefined;
    if (!settled) return patienceMs - nowMs;
    tell(context, { service, memory, summary, settled, before: observed, after: desired.ingress });
    return undefined;
  }
  const contestedMs = contestDelayMs(context, { service, memory, nowMs, wanted: desired.ingress, same });
  const delayMs = contestedMs ?? statusWriteDelayMs({
    nowMs,
    lost: observed.some(({ ip }) => !desired.ingress.some((address) => address.ip === ip)),
    gained: !same,
    hadAddresses: observed.length > 0,
    conditionFlips: condition?.status !== summary.status || condition.reason !== summary.reason,
    complete,
    patienceEndMs: patienceMs,
    waitingSinceMs: memory.waitingSinceMs,
    gainSinceMs: memory.gainSinceMs,
    lastWriteMs: memory.lastWriteMs,
  });
  if (delayMs > 0) return delayMs;
  const written = await writeStatus(context, {
    service,
    status: {
      ingress: desired.ingress,
      condition: servedConditionOf(summary, { service, nowMs: context.clock.now() }),
    },
  });
  memory.lastWriteMs = context.clock.monotonicMs();
  memory.lastWritten = ingressText(desired.ingress);
  context.written.service(written);
  tell(context, { service, memory, summary, settled, before: observed, after: desired.ingress });
  return memory.owesWarning === true && patienceMs !== undefined ? patienceMs - nowMs : undefined;
}

function noteTimes(
  memory: PassMemory,
  facts: {
    readonly nowMs: number;
    readonly complete: boolean;
    readonly gained: boolean;
    readonly progress: string;
  },
): void {
  if (memory.progress !== facts.progress) memory.progressMs = facts.nowMs;
  memory.progress = facts.progress;
  if (facts.complete) delete memory.waitingSinceMs;
  else memory.waitingSinceMs ??= facts.nowMs;
  if (facts.gained) memory.gainSinceMs ??= facts.nowMs;
  else delete memory.gainSinceMs;
}

function progressText(desired: DesiredService): string {
  return desired.verdicts.map((verdict) => verdict.serves ? verdict.node : `${verdict.node} ${verdict.reason}`).join(
    ",",
  );
}

/** Two programs that both write the status would do so without end: each own turn waits longer. */
function contestDelayMs(
  context: PassContext,
  input: {
    readonly service: Service;
    readonly memory: PassMemory;
    readonly nowMs: number;
    readonly wanted: readonly IngressAddress[];
    readonly same: boolean;
  },
): number | undefined {
  const { memory, nowMs } = input;
  const isWanted = memory.lastWritten === ingressText(input.wanted);
  if (input.same || !isWanted || memory.lastWriteMs === undefined) {
    if (!input.same && !isWanted) memory.contested = 0;
    return undefined;
  }
  const pauseMs = Math.min(MAX_CONTEST_PAUSE_MS, FIRST_CONTEST_PAUSE_MS * 2 ** memory.contested);
  const delayMs = memory.lastWriteMs + pauseMs - nowMs;
  if (delayMs > 0) return delayMs;
  memory.contested++;
  if (memory.contested === CONTESTS_BEFORE_WARNING) {
    const message =
      "Another program changes the addresses in this Service's status; give one of them a loadBalancerClass";
    recordEvent(context, input.service, { type: "Warning", reason: "StatusContested", message });
  }
  return 0;
}

function tell(
  context: PassContext,
  input: {
    readonly service: Service;
    readonly memory: PassMemory;
    readonly summary: ServedSummary;
    readonly settled: boolean;
    readonly before: readonly ObservedIngress[];
    readonly after: readonly IngressAddress[];
  },
): void {
  const { service, memory, summary } = input;
  const after = addressText(input.after);
  const before = memory.toldAddresses ??= addressText(input.before);
  // While nodes come up one by one only the end is told.
  const isWorthTelling = input.settled || input.after.length < input.before.length;
  if (isWorthTelling && after !== before) {
    const message = `Addresses changed: [${before}] -> [${after}]`;
    recordEvent(context, service, { type: "Normal", reason: "UpdatedLoadBalancer", message });
    memory.toldAddresses = after;
  }
  const warning = summary.problem && input.settled ? `${summary.reason} ${summary.message}` : undefined;
  if (warning !== undefined && warning !== memory.toldWarning) {
    recordEvent(context, service, { type: "Warning", reason: eventReason(summary), message: summary.message });
  }
  if (input.settled) memory.toldWarning = warning ?? "";
  memory.owesWarning = summary.problem && !input.settled;
}

/** K3s's and upstream's names where they have one. */
function eventReason(summary: ServedSummary): string {
  if (summary.reason === "NoNodes" || summary.reason === "NoNodeSelected") return "UnAvailableLoadBalancer";
  return SYNC_FAILURES.has(summary.reason) ? "SyncLoadBalancerFailed" : summary.reason;
}

function servedConditionOf(
  summary: ServedSummary,
  options: { readonly service: Service; readonly nowMs: number },
): Condition {
  const before = options.service.status?.conditions?.find(({ type }) => type === SERVED_CONDITION);
  const transition = before?.status === summary.status ? before.lastTransitionTime : undefined;
  return {
    type: SERVED_CONDITION,
    status: summary.status,
    reason: summary.reason,
    message: summary.message,
    // The API keeps whole seconds.
    lastTransitionTime: String(transition ?? new Date(options.nowMs).toISOString().replace(/\.\d+Z$/, "Z")),
  };
}

function sameSummary(summary: ServedSummary, condition: ReturnType<typeof servedCondition>): boolean {
  return condition?.status === summary.status && condition.reason === summary.reason &&
    condition.message === summary.message;
}

function gains(wanted: readonly IngressAddress[], observed: readonly ObservedIngress[]): boolean {
  return wanted.some(({ ip }) => !observed.some((address) => address.ip === ip));
}

function addressText(addresses: readonly ObservedIngress[]): string {
  return addresses.map(({ ip, hostname }) => ip ?? hostname ?? "").join(" ");
}

/** All that a write of the addresses says. */
function ingressText(ingress: readonly IngressAddress[]): string {
  return JSON.stringify(ingress);
}

const SYNC_FAILURES: ReadonlySet<string> = new Set([
  "InvalidSourceRange",
  "InvalidAnnotation",
  "InvalidMatchAddress",
  "InvalidMatchInterface",
  "NoPorts",
  "NoClusterIP",
  "NoNodePort",
  "DaemonSetRefused",
]);
const FIRST_CONTEST_PAUSE_MS = 1_000;
const MAX_CONTEST_PAUSE_MS = 60_000;
const CONTESTS_BEFORE_WARNING = 2;
