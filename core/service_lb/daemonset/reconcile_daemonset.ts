// The DaemonSet of one Service: applied when it differs, with growing pauses while another program undoes it, removed when it is not wanted.
import { isForbidden } from "../../kube/errors.ts";
import { FIELD_MANAGER } from "../../kube/contract.ts";
import { DAEMON_SETS } from "../../kube/resources.ts";
import type { DaemonSet, Service } from "../../kube/types.ts";
import type { SettingsProblem } from "../../service/reading.ts";
import { errorMessage, isK3slbError } from "../../shared/errors.ts";
import { contestedForMs, contestedTurn, CONTESTS_BEFORE_WARNING } from "../contest.ts";
import { appliedHash, differsFromDesired } from "./desired_daemonset.ts";
import type { DesiredService } from "../desired_service.ts";
import { daemonSetName } from "./names.ts";
import { type ReconcileContext, recordEvent, type ServiceMemory } from "../reconcile_context.ts";
import { applyDaemonSet, deleteDaemonSet } from "../service_writes.ts";

/** A lasting refusal of the API server. */
export interface Refusal extends SettingsProblem {
  readonly cause: unknown;
}

/** What became of the DaemonSet. */
export interface DaemonSetOutcome {
  /** A server's lasting refusal, so that the Service can say it. */
  readonly refused: Refusal | undefined;
  /** Another program writes it too. */
  readonly contested: SettingsProblem | undefined;
  /** After how many milliseconds to come again. */
  readonly delayMs: number | undefined;
}

/** What is looked at. */
export interface DaemonSetInput {
  readonly service: Service;
  /** DaemonSets that carry the Service's name, in any form. */
  readonly daemonSets: readonly DaemonSet[];
  readonly memory: ServiceMemory;
  readonly desired: DesiredService;
}

/** Applies, leaves or removes the DaemonSet. */
export async function reconcileDaemonSet(context: ReconcileContext, input: DaemonSetInput): Promise<DaemonSetOutcome> {
  const { service, desired } = input;
  const name = daemonSetName(service);
  const observed = input.daemonSets.find((each) => each.metadata?.name === name);
  let outcome: DaemonSetOutcome = { refused: undefined, contested: undefined, delayMs: undefined };
  const { action } = desired.daemonSet;
  if (action === "apply" || (action === "retain" && observed !== undefined)) {
    outcome = await bringAbout(context, { ...input, observed, wanted: desired.daemonSet.daemonSet });
  } else if (action === "remove" && observed !== undefined) {
    // What is made again after that was nobody else's doing.
    delete input.memory.daemonSet;
    await removeDaemonSet(context, { service, daemonSet: observed });
  }
  // Left over by an older naming or by a Service of the same name: they hold the ports.
  for (const daemonSet of input.daemonSets) {
    const other = daemonSet.metadata?.name ?? "";
    if (other !== name && other.startsWith("svclb-")) await removeDaemonSet(context, { service, daemonSet });
  }
  return outcome;
}

interface Difference extends DaemonSetInput {
  readonly wanted: DaemonSet;
  readonly observed: DaemonSet | undefined;
}

async function bringAbout(context: ReconcileContext, input: Difference): Promise<DaemonSetOutcome> {
  const { memory, wanted, observed } = input;
  const hash = appliedHash(wanted);
  const nowMs = context.clock.monotonicMs();
  let refused: Refusal | undefined;
  let delayMs: number | undefined;
  if (differsFromDesired(wanted, observed)) {
    // One edit, or deletion, by hand is undone at once.
    const turn = contestedTurn(memory.daemonSet, hash, nowMs);
    const isFight = turn.count >= CONTESTS_BEFORE_WARNING;
    if (isFight && turn.delayMs > 0) delayMs = turn.delayMs;
    else {
      if (isFight) memory.rivals = await rivalsOf(context, wanted);
      refused = await applyOrExplain(context, input);
      memory.daemonSet = { wanted: hash, writtenMs: nowMs, count: refused === undefined ? turn.count : NOT_WRITTEN };
    }
  }
  const leftMs = contestedForMs(memory.daemonSet, nowMs);
  if (leftMs === undefined || memory.rivals === undefined) {
    delete memory.rivals;
    return { refused, contested: undefined, delayMs };
  }
  return { refused, contested: contestOf(wanted, memory.rivals), delayMs: delayMs ?? leftMs };
}

/** Names of those that write the DaemonSet beside this program and the cluster's own DaemonSet controller. */
async function rivalsOf({ client, signal }: ReconcileContext, { metadata }: DaemonSet): Promise<readonly string[]> {
  const { namespace = "", name = "" } = metadata ?? {};
  const { items } = await client.list(DAEMON_SETS, { namespace, fieldSelector: `metadata.name=${name}`, signal });
  const others = items.flatMap((present) => present.metadata?.managedFields ?? []).flatMap(({ manager, subresource }) =>
    manager === undefined || manager === FIELD_MANAGER || subresource ? [] : [manager]
  );
  return [...new Set(others)];
}

function contestOf({ metadata }: DaemonSet, rivals: readonly string[]): SettingsProblem {
  const who = rivals.length === 0
    ? "another program, or changed by an admission webhook"
    : rivals.map((name) => `"${name}"`).join(" and ");
  const message = `DaemonSet ${metadata?.namespace}/${metadata?.name} is also written by ${who}, again and again; ` +
    "if that is K3s, start every K3s server with --disable=servicelb";
  return { reason: "DaemonSetContested", message };
}

async function applyOrExplain(
  context: ReconcileContext,
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

/** What the server refuses nobody has undone: the next try is the first one. */
const NOT_WRITTEN = -1;

/** Somebody has to do something first: give a right, make the namespace, loosen a policy. */
function isLasting(error: unknown): boolean {
  return isForbidden(error) || (isK3slbError(error) && !error.retriable);
}

/** Deletes the DaemonSet, and tells it. */
export async function removeDaemonSet(
  context: ReconcileContext,
  input: { readonly service: Service; readonly daemonSet: DaemonSet },
): Promise<void> {
  if (input.daemonSet.metadata?.deletionTimestamp) return;
  if (!await deleteDaemonSet(context, input.daemonSet)) return;
  const { namespace, name } = input.daemonSet.metadata ?? {};
  const message = `Deleted DaemonSet ${namespace}/${name}`;
  recordEvent(context, input.service, { type: "Normal", reason: "DeletedDaemonSet", message });
}
