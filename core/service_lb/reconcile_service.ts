// Reconciles one Service: what it should have against what it has, and the writes for the difference.
// Nothing is remembered here but times and what was told last, so that it can be repeated at any moment.
import type { DaemonSet, Node, Service } from "../kube/types.ts";
import { contestedTurn } from "./contest.ts";
import { appliedHash, differsFromDesired } from "./daemonset/desired_daemonset.ts";
import { reconcileDaemonSet, removeDaemonSet } from "./daemonset/reconcile_daemonset.ts";
import { type DesiredService, desiredService, type ServiceFacts } from "./desired_service.ts";
import { DATAPLANE_LABEL } from "../service/labels.ts";
import { hasLastGoodRecord, lastGoodRecord } from "../service/last_good.ts";
import type { LateClaim } from "../service/foreign_ports.ts";
import { readService } from "../service/reading.ts";
import { daemonSetName } from "./daemonset/names.ts";
import { isMarked, servedCondition } from "./own_marks.ts";
import { type ReconcileContext, recordEvent, type ServiceMemory } from "./reconcile_context.ts";
import { type ServiceClaim, serviceClaim } from "../service/claim.ts";
import { finalizersFor, writeFinalizers, writeRecord, writeStatus } from "./service_writes.ts";
import { choosePauseImage } from "./daemonset/pause_image.ts";
import { reconcileStatus } from "./status/reconcile_status.ts";
import { NO_CANDIDATE } from "./status/served_condition.ts";
import { earliest } from "./status/status_timing.ts";

/** What {@linkcode reconcileService} goes by. */
export interface ReconcileInput {
  readonly service: Service;
  /** DaemonSets that carry the Service's name, in any form. */
  readonly daemonSets: readonly DaemonSet[];
  readonly facts: () => ServiceFacts;
  readonly memory: ServiceMemory;
}

/** Brings the cluster nearer to what `input.service` should have. Returns after how many milliseconds to come again. */
export async function reconcileService(context: ReconcileContext, input: ReconcileInput): Promise<number | undefined> {
  const claim = serviceClaim(input.service, context.options);
  const { key } = readService(input.service);
  if (!claim.ours) {
    context.reservations.leave(key);
    await releaseService(context, { ...input, claim });
    return undefined;
  }
  const { service, recordDelayMs } = await ensureRecord(context, input);
  const remembered = { remembered: input.memory.status?.nodes ?? new Map(), nowMs: context.clock.monotonicMs() };
  const name = daemonSetName(service);
  const observed = input.daemonSets.find(({ metadata }) => metadata?.name === name);
  const facts = input.facts();
  const options = withPauseImage(context.options, { nodes: facts.nodes, observed });
  const seen = desiredService(service, { ...options, facts: { ...facts, remembered } });
  const { obstacles, againMs } = await context.inquiry.ask({
    key,
    service,
    daemonSet: observed,
    verdicts: seen.verdicts,
  });
  input.memory.obstacles = obstacles;
  const desired = obstacles === undefined
    ? seen
    : desiredService(service, { ...options, facts: { ...input.facts(), remembered, obstacles } });
  tellLate(context, { service, memory: input.memory, late: seen.lateClaims });
  const isHeld = needsFinalizer(context, input.daemonSets);
  const first = isReservedLate(desired, { observed, memory: input.memory, reported: facts.reported })
    ? await reconcileStatus(context, { ...input, service, desired, isHeld })
    : undefined;
  const nowMs = context.clock.monotonicMs();
  const heldMs = first && context.reservations.delayMs(key, { isAnswered: desired.waitsFor === undefined, nowMs });
  if (heldMs) return earliest(againMs, first?.delayMs, heldMs, recordDelayMs);
  context.reservations.leave(key);
  const current = first?.service ?? service;
  const held = isHeld ? await ensureFinalizer(context, current) : current;
  const { refused, contested, delayMs } = await reconcileDaemonSet(context, { ...input, service: held, desired });
  const isTold = first !== undefined && refused === undefined && contested === undefined;
  const told = isTold
    ? first
    : await reconcileStatus(context, { ...input, service: held, desired, isHeld, refused, contested });
  if (refused !== undefined) throw refused.cause;
  return earliest(againMs, delayMs, told.delayMs, recordDelayMs);
}

/** A DaemonSet to be made or changed whose pods decide nothing: the agents of all nodes tell by themselves what they serve. */
function isReservedLate(
  { daemonSet, verdicts }: DesiredService,
  { observed, memory, reported }: {
    readonly observed: DaemonSet | undefined;
    readonly memory: ServiceMemory;
    readonly reported: ServiceFacts["reported"];
  },
): boolean {
  if (daemonSet.action !== "apply") return false;
  const wanted = daemonSet.daemonSet;
  // What was written as it should be, and has been changed since, is repaired at once.
  if (memory.daemonSet?.wanted === appliedHash(wanted) || !differsFromDesired(wanted, observed)) return false;
  return verdicts.every((verdict) => {
    if (verdict.serves) return reported?.(verdict.node) !== undefined;
    return NO_CANDIDATE.has(verdict.reason) || (reported?.(verdict.node) !== undefined && verdict.reason !== "NoPod");
  });
}

function withPauseImage(
  options: ReconcileContext["options"],
  facts: { readonly nodes: ReadonlyMap<string, Node>; readonly observed: DaemonSet | undefined },
): ReconcileContext["options"] {
  if (options.adoptPauseImage !== true || options.dataplane !== "agent") return options;
  const { observed, nodes } = facts;
  const isPlaceholder = observed?.metadata?.labels?.[DATAPLANE_LABEL] === "agent";
  const current = isPlaceholder ? observed?.spec?.template.spec?.containers[0]?.image : undefined;
  return { ...options, pauseImage: choosePauseImage(nodes.values(), options.pauseImage, current) };
}

/** The younger Service that was given a port which is served already is told so, too. */
function tellLate(
  context: ReconcileContext,
  { service, memory, late }: Pick<ReconcileInput, "service" | "memory"> & { readonly late: readonly LateClaim[] },
): void {
  const { key } = readService(service);
  const told = late.map(({ other, port }) => `${readService(other).key} ${port}`).join();
  if (memory.toldLate === told || (told === "" && memory.toldLate === undefined)) return;
  memory.toldLate = told;
  for (const { other, port } of late) {
    const message = `Port ${port} of the nodes is taken by the load balancer of Service ${key}, which is older`;
    recordEvent(context, other, { type: "Warning", reason: "PortTaken", message });
  }
}

/** Takes back what was given to a Service that is not ours (any more), and nothing that others gave it. */
export async function releaseService(
  context: ReconcileContext,
  input: Pick<ReconcileInput, "service" | "daemonSets"> & { readonly claim: ServiceClaim & { readonly ours: false } },
): Promise<void> {
  const { service, claim } = input;
  const own = input.daemonSets.filter(isOwnDaemonSet);
  const touched = own.length > 0 || isMarked(service);
  for (const daemonSet of own) await removeDaemonSet(context, { service, daemonSet });
  const deleted = claim.reason === "Deleted";
  const wasOurs = touched || (deleted && serviceClaim(alive(service), context.options).ours);
  if (!wasOurs) return;
  const { key } = readService(service);
  context.logger.info("Service is not served any more", { service: key, reason: claim.reason, message: claim.message });
  // The condition goes last: it is what tells the next time that this Service was once ours.
  const finalizers = finalizersFor(service, false);
  if (finalizers !== undefined) {
    context.written.service(await writeFinalizers(context, { service, finalizers }));
  }
  if (!deleted && servedCondition(service) !== undefined) {
    context.written.service(await writeStatus(context, { service, status: undefined }));
  }
}

/** Whether a DaemonSet was made by this program. */
export function isOwnDaemonSet(daemonSet: DaemonSet): boolean {
  return daemonSet.metadata?.labels?.[DATAPLANE_LABEL] !== undefined;
}

/** A finalizer holds a Service until its DaemonSet is gone; a Service without one needs no holding. */
function needsFinalizer({ options }: ReconcileContext, daemonSets: readonly DaemonSet[]): boolean {
  return options.dataplane !== "agent" || options.reservePorts !== "none" || daemonSets.some(isOwnDaemonSet);
}

/** Where the status has not set it: it comes before the DaemonSet. */
async function ensureFinalizer(context: ReconcileContext, service: Service): Promise<Service> {
  const finalizers = finalizersFor(service, true);
  if (finalizers === undefined) return service;
  const written = await writeFinalizers(context, { service, finalizers });
  context.written.service(written);
  return written;
}

/**
 * While a wish can't be read, what it said before stands in the Service: the agents, and the next server, go by it. Whoever writes another
 * record again and again is answered with growing pauses.
 */
async function ensureRecord(
  context: ReconcileContext,
  { service, memory }: Pick<ReconcileInput, "service" | "memory">,
): Promise<{ readonly service: Service; readonly recordDelayMs?: number }> {
  const record = lastGoodRecord(service);
  // The cached object has a record as soon as it is needed; whether the API server has it too is known after a write.
  if (record === undefined ? !hasLastGoodRecord(service) : memory.recorded === record) return { service };
  const nowMs = context.clock.monotonicMs();
  const { delayMs, count } = contestedTurn(memory.record, record ?? "", nowMs);
  if (delayMs > 0) return { service, recordDelayMs: delayMs };
  const written = await writeRecord(context, { service, record });
  memory.record = { wanted: record ?? "", writtenMs: nowMs, count };
  if (record === undefined) delete memory.recorded;
  else memory.recorded = record;
  context.written.service(written);
  return { service: written };
}

/** The Service as it was before its deletion began. */
function alive(service: Service): Service {
  const { deletionTimestamp: _deleted, ...metadata } = service.metadata ?? {};
  return { ...service, metadata };
}
