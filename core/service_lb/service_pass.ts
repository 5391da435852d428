// One pass over one Service: what it should have against what it has, and the writes for the difference.
// Nothing is remembered here but times and what was told last, so that a pass can be repeated at any moment.
import type { Clock } from "../runtime/clock.ts";
import { isForbidden, isInvalid } from "../kube/errors.ts";
import type { Condition, DaemonSet, Service } from "../kube/types.ts";
import { errorMessage } from "../shared/errors.ts";
import { differsFromDesired } from "./desired_daemonset.ts";
import {
  type DesiredService,
  desiredService,
  type DesiredServiceOptions,
  type ServiceFacts,
} from "./desired_service.ts";
import { type IngressAddress, type ObservedIngress, sameIngress } from "./desired_status.ts";
import { DATAPLANE_LABEL, SERVED_CONDITION } from "./labels.ts";
import { daemonSetName } from "./names.ts";
import { type ServedSummary, servedSummary } from "./served_condition.ts";
import { type ClaimOptions, type ServiceClaim, serviceClaim } from "./service_claim.ts";
import type { SettingsProblem } from "./service_settings.ts";
import {
  applyDaemonSet,
  deleteDaemonSet,
  type EventTarget,
  finalizersFor,
  referenceTo,
  writeFinalizers,
  writeStatus,
} from "./service_writes.ts";
import { patienceEndMs, statusWriteDelayMs } from "./status_timing.ts";
import type { KubeClient } from "../kube/contract.ts";

/** Where Events go. Sending is the recorder's affair; it never throws. */
export interface ServiceEvents {
  record(target: EventTarget, event: ServiceEvent): void;
}

/** One Event. */
export interface ServiceEvent {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

/** What passes over one Service remember; lost at a restart without harm. */
export interface PassMemory {
  /** Since when something is expected to change by itself. */
  waitingSinceMs?: number;
  /** The nodes' states as text, and since when they are so. */
  progress?: string;
  progressMs?: number;
  gainSinceMs?: number;
  lastWriteMs?: number;
  /** Addresses of the last own write, as text. */
  lastWritten?: string;
  /** How often somebody else has changed them since. */
  contested: number;
  /** Addresses that the last Event named. */
  toldAddresses?: string;
  toldWarning?: string;
}

/** What a pass works with. */
export interface PassContext {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly events: ServiceEvents;
  readonly signal: AbortSignal;
  readonly options: DesiredServiceOptions & ClaimOptions;
  /** Told of each object as the server has it after a write, so that the next pass does not act on an older copy. */
  readonly written: {
    service(service: Service): void;
    daemonSet(daemonSet: DaemonSet): void;
  };
}

/** What a pass looks at. */
export interface PassInput {
  readonly service: Service;
  /** DaemonSets that carry the Service's name, in any form. */
  readonly daemonSets: readonly DaemonSet[];
  readonly facts: () => ServiceFacts;
  readonly memory: PassMemory;
}

/** Brings the cluster nearer to what `input.service` should have. Returns after how many milliseconds to look again. */
export async function passService(context: PassContext, input: PassInput): Promise<number | undefined> {
  const claim = serviceClaim(input.service, context.options);
  if (!claim.ours) {
    await releaseService(context, { ...input, claim });
    return undefined;
  }
  const service = await ensureFinalizer(context, input.service);
  const desired = desiredService(service, { ...context.options, facts: input.facts() });
  const refused = await syncDaemonSet(context, { ...input, service, desired });
  const delayMs = await syncStatus(context, { ...input, service, desired, refused });
  if (refused !== undefined) throw refused.cause;
  return delayMs;
}

/** Takes back what was given to a Service that is not ours (any more), and nothing that others gave it. */
export async function releaseService(
  context: PassContext,
  input: Pick<PassInput, "service" | "daemonSets"> & { readonly claim: ServiceClaim & { readonly ours: false } },
): Promise<void> {
  const { service, claim } = input;
  const own = input.daemonSets.filter(isOwn);
  const touched = own.length > 0 || servedCondition(service) !== undefined;
  for (const daemonSet of own) await removeDaemonSet(context, { service, daemonSet });
  const deleted = claim.reason === "Deleted";
  const wasOurs = touched || (deleted && serviceClaim(alive(service), context.options).ours);
  if (!wasOurs) return;
  // The condition goes last: it is what tells the next pass that this Service was once ours.
  const finalizers = finalizersFor(service, false);
  if (finalizers !== undefined) {
    context.written.service(await writeFinalizers(context, { service, finalizers }));
  }
  if (!deleted && servedCondition(service) !== undefined) {
    context.written.service(await writeStatus(context, { service, status: undefined }));
  }
}

/** Whether a DaemonSet was made by this program. */
export function isOwn(daemonSet: DaemonSet): boolean {
  return daemonSet.metadata?.labels?.[DATAPLANE_LABEL] !== undefined;
}

/** The own condition in a Service's status. */
export function servedCondition(service: Service): { status: string; reason: string; message: string } | undefined {
  return service.status?.conditions?.find(({ type }) => type === SERVED_CONDITION);
}

async function ensureFinalizer(context: PassContext, service: Service): Promise<Service> {
  const finalizers = finalizersFor(service, true);
  if (finalizers === undefined) return service;
  const written = await writeFinalizers(context, { service, finalizers });
  context.written.service(written);
  return written;
}

interface Refusal extends SettingsProblem {
  readonly cause: unknown;
}

/** Applies, leaves or removes the DaemonSet. A server's lasting refusal is returned, so that the Service can say it. */
async function syncDaemonSet(
  context: PassContext,
  input: PassInput & { readonly desired: DesiredService },
): Promise<Refusal | undefined> {
  const { service, desired } = input;
  const name = daemonSetName(service);
  const observed = input.daemonSets.find((each) => each.metadata?.name === name);
  let refusal: Refusal | undefined;
  if (desired.daemonSet.action === "apply") {
    const wanted = desired.daemonSet.daemonSet;
    if (differsFromDesired(wanted, observed)) refusal = await applyOrExplain(context, { service, wanted, observed });
  } else if (desired.daemonSet.action === "remove" && observed !== undefined) {
    await removeDaemonSet(context, { service, daemonSet: observed });
  }
  // Left over by an older naming or by a Service of the same name: they hold the ports.
  for (const daemonSet of input.daemonSets) {
    const other = daemonSet.metadata?.name ?? "";
    if (other !== name && other.startsWith("svclb-")) await removeDaemonSet(context, { service, daemonSet });
  }
  return refusal;
}

async function applyOrExplain(
  context: PassContext,
  input: { readonly service: Service; readonly wanted: DaemonSet; readonly observed: DaemonSet | undefined },
): Promise<Refusal | undefined> {
  const { service, wanted, observed } = input;
  try {
    context.written.daemonSet(await applyDaemonSet(context, wanted));
  } catch (error) {
    if (!isInvalid(error) && !isForbidden(error)) throw error;
    return { reason: "DaemonSetRefused", message: errorMessage(error), cause: error };
  }
  // The first one is told together with the first addresses: every Event is a request.
  if (observed !== undefined) {
    const message = `Applied DaemonSet ${wanted.metadata?.namespace}/${wanted.metadata?.name}`;
    record(context, service, { type: "Normal", reason: "AppliedDaemonSet", message });
  }
  return undefined;
}

async function removeDaemonSet(
  context: PassContext,
  input: { readonly service: Service; readonly daemonSet: DaemonSet },
): Promise<void> {
  if (input.daemonSet.metadata?.deletionTimestamp) return;
  if (!await deleteDaemonSet(context, input.daemonSet)) return;
  const { namespace, name } = input.daemonSet.metadata ?? {};
  const message = `Deleted DaemonSet ${namespace}/${name}`;
  record(context, input.service, { type: "Normal", reason: "DeletedDaemonSet", message });
}

async function syncStatus(
  context: PassContext,
  input: PassInput & { readonly desired: DesiredService; readonly refused: Refusal | undefined },
): Promise<number | undefined> {
  const { service, desired, memory, refused } = input;
  const summary = refused === undefined
    ? desired.summary
    : servedSummary(desired.verdicts, { error: refused, warnings: desired.settings.warnings });
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
  if (same && sameSummary(summary, condition)) return undefined;
  const contestedMs = contestDelayMs(context, { service, memory, nowMs, wanted: desired.ingress, same });
  const delayMs = contestedMs ?? statusWriteDelayMs({
    nowMs,
    lost: observed.some(({ ip }) => !desired.ingress.some((address) => address.ip === ip)),
    gained: !same,
    hadAddresses: observed.length > 0,
    conditionFlips: condition?.status !== summary.status || condition.reason !== summary.reason,
    complete,
    patienceEndMs: patienceMs,
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
  memory.lastWritten = addressText(desired.ingress);
  const settled = patienceMs === undefined || nowMs >= patienceMs;
  context.written.service(written);
  tell(context, { service, memory, summary, settled, before: observed, after: desired.ingress });
  return undefined;
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
  if (input.same || memory.lastWritten !== addressText(input.wanted) || memory.lastWriteMs === undefined) {
    if (!input.same && memory.lastWritten !== addressText(input.wanted)) memory.contested = 0;
    return undefined;
  }
  const pauseMs = Math.min(MAX_CONTEST_PAUSE_MS, FIRST_CONTEST_PAUSE_MS * 2 ** memory.contested);
  const delayMs = memory.lastWriteMs + pauseMs - nowMs;
  if (delayMs > 0) return delayMs;
  memory.contested++;
  if (memory.contested === CONTESTS_BEFORE_WARNING) {
    const message =
      "Another program changes the addresses in this Service's status; give one of them a loadBalancerClass";
    record(context, input.service, { type: "Warning", reason: "StatusContested", message });
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
    record(context, service, { type: "Normal", reason: "UpdatedLoadBalancer", message });
    memory.toldAddresses = after;
  }
  const warning = summary.problem && input.settled ? `${summary.reason} ${summary.message}` : undefined;
  if (warning !== undefined && warning !== memory.toldWarning) {
    record(context, service, { type: "Warning", reason: eventReason(summary), message: summary.message });
  }
  if (input.settled) memory.toldWarning = warning ?? "";
}

/** K3s's and upstream's names where they have one. */
function eventReason(summary: ServedSummary): string {
  if (summary.reason === "NoNodes" || summary.reason === "NoNodeSelected") return "UnAvailableLoadBalancer";
  return SYNC_FAILURES.has(summary.reason) ? "SyncLoadBalancerFailed" : summary.reason;
}

function record(context: PassContext, service: Service, event: ServiceEvent): void {
  context.events.record(referenceTo(service, SERVICE_KIND), event);
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

function alive(service: Service): Service {
  const { deletionTimestamp: _deleted, ...metadata } = service.metadata ?? {};
  return { ...service, metadata };
}

const SERVICE_KIND = { apiVersion: "v1", kind: "Service" };
const SYNC_FAILURES: ReadonlySet<string> = new Set([
  "InvalidSourceRange",
  "InvalidAnnotation",
  "NoPorts",
  "NoClusterIP",
  "NoNodePort",
  "DaemonSetRefused",
]);
const FIRST_CONTEST_PAUSE_MS = 1_000;
const MAX_CONTEST_PAUSE_MS = 60_000;
const CONTESTS_BEFORE_WARNING = 2;
