// One pass over one Service: what it should have against what it has, and the writes for the difference.
// Nothing is remembered here but times and what was told last, so that a pass can be repeated at any moment.
import { isForbidden } from "../kube/errors.ts";
import type { DaemonSet, Service } from "../kube/types.ts";
import { errorMessage, isK3slbError } from "../shared/errors.ts";
import { differsFromDesired } from "./desired_daemonset.ts";
import { type DesiredService, desiredService, type ServiceFacts } from "./desired_service.ts";
import { DATAPLANE_LABEL } from "../service/labels.ts";
import { hasLastGoodRecord, lastGoodRecord } from "../service/last_good.ts";
import { readService } from "../service/reading.ts";
import { daemonSetName } from "./names.ts";
import { type PassContext, type PassMemory, recordEvent, servedCondition } from "./pass_context.ts";
import { type ServiceClaim, serviceClaim } from "../service/claim.ts";
import {
  applyDaemonSet,
  deleteDaemonSet,
  finalizersFor,
  writeFinalizers,
  writeRecord,
  writeStatus,
} from "./service_writes.ts";
import { type Refusal, syncStatus } from "./status_pass.ts";

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
  const service = await ensureRecord(context, {
    service: await ensureFinalizer(context, input.service),
    memory: input.memory,
  });
  const remembered = { remembered: input.memory.status?.nodes ?? new Map(), nowMs: context.clock.monotonicMs() };
  const seen = desiredService(service, { ...context.options, facts: { ...input.facts(), remembered } });
  const { obstacles, againMs } = await context.inquiry.look({
    key: readService(service).key,
    service,
    daemonSet: input.daemonSets.find(({ metadata }) => metadata?.name === daemonSetName(service)),
    verdicts: seen.verdicts,
  });
  const desired = obstacles === undefined
    ? seen
    : desiredService(service, { ...context.options, facts: { ...input.facts(), remembered, obstacles } });
  const refused = await syncDaemonSet(context, { ...input, service, desired });
  const delayMs = await syncStatus(context, { ...input, service, desired, refused });
  if (refused !== undefined) throw refused.cause;
  return earliest(delayMs, againMs);
}

function earliest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? a ?? b : Math.min(a, b);
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

async function ensureFinalizer(context: PassContext, service: Service): Promise<Service> {
  const finalizers = finalizersFor(service, true);
  if (finalizers === undefined) return service;
  const written = await writeFinalizers(context, { service, finalizers });
  context.written.service(written);
  return written;
}

/** While a wish can't be read, what it said before stands in the Service: the agents, and the next server, go by it. */
async function ensureRecord(
  context: PassContext,
  { service, memory }: Pick<PassInput, "service" | "memory">,
): Promise<Service> {
  const record = lastGoodRecord(service);
  // The cached object has a record as soon as it is needed; whether the API server has it too is known after a write.
  if (record === undefined ? !hasLastGoodRecord(service) : memory.recorded === record) return service;
  const written = await writeRecord(context, { service, record });
  if (record === undefined) delete memory.recorded;
  else memory.recorded = record;
  context.written.service(written);
  return written;
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
    if (!isLasting(error)) throw error;
    return { reason: "DaemonSetRefused", message: errorMessage(error), cause: error };
  }
  // The first one is told together with the first addresses: every Event is a request.
  if (observed !== undefined) {
    const message = `Applied DaemonSet ${wanted.metadata?.namespace}/${wanted.metadata?.name}`;
    recordEvent(context, service, { type: "Normal", reason: "AppliedDaemonSet", message });
  }
  return undefined;
}

/** Somebody has to do something first: give a right, make the namespace, loosen a policy. */
function isLasting(error: unknown): boolean {
  return isForbidden(error) || (isK3slbError(error) && !error.retriable);
}

async function removeDaemonSet(
  context: PassContext,
  input: { readonly service: Service; readonly daemonSet: DaemonSet },
): Promise<void> {
  if (input.daemonSet.metadata?.deletionTimestamp) return;
  if (!await deleteDaemonSet(context, input.daemonSet)) return;
  const { namespace, name } = input.daemonSet.metadata ?? {};
  const message = `Deleted DaemonSet ${namespace}/${name}`;
  recordEvent(context, input.service, { type: "Normal", reason: "DeletedDaemonSet", message });
}

/** The Service as it was before its deletion began. */
function alive(service: Service): Service {
  const { deletionTimestamp: _deleted, ...metadata } = service.metadata ?? {};
  return { ...service, metadata };
}
