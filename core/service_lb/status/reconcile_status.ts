// Brings the status of one Service to what it should be: the reducer's step (status_step.ts), its write, its Events.
import type { Refusal } from "../daemonset/reconcile_daemonset.ts";
import { apiTime } from "../../runtime/clock.ts";
import type { Condition, Service } from "../../kube/types.ts";
import { readService, type SettingsProblem } from "../../service/reading.ts";
import type { DesiredService } from "../desired_service.ts";
import { addressesOf, servedCondition } from "../own_marks.ts";
import { type ReconcileContext, recordEvent, type ServiceMemory } from "../reconcile_context.ts";
import { type ServedSummary, servedSummary } from "./served_condition.ts";
import { SERVED_CONDITION } from "../../service/labels.ts";
import { writeStatus } from "../service_writes.ts";
import { statusStep } from "./status_step.ts";

/** What became of the status. */
export interface StatusOutcome {
  /** With the status that it has now. */
  readonly service: Service;
  /** After how many milliseconds to come again. */
  readonly delayMs: number | undefined;
}

/** Writes the status if it differs and its time has come. */
export async function reconcileStatus(
  context: ReconcileContext,
  input: {
    readonly service: Service;
    readonly memory: ServiceMemory;
    readonly desired: DesiredService;
    /** It is to be kept until its DaemonSet is gone. */
    readonly isHeld: boolean;
    readonly refused?: Refusal | undefined;
    /** Another program writes the DaemonSet too. */
    readonly contested?: SettingsProblem | undefined;
  },
): Promise<StatusOutcome> {
  const { desired, memory, refused, contested } = input;
  let { service } = input;
  const summary = refused === undefined && contested === undefined ? desired.summary : servedSummary(desired.verdicts, {
    ...(refused === undefined ? {} : { error: refused }),
    warnings: [...desired.warnings, ...(contested === undefined ? [] : [contested])],
  });
  const step = statusStep(memory.status ?? {}, {
    verdicts: desired.verdicts,
    summary,
    wanted: desired.ingress,
    waitsFor: refused === undefined ? desired.waitsFor : undefined,
    observed: service.status?.loadBalancer?.ingress ?? [],
    condition: servedCondition(service),
  }, context.clock.monotonicMs());
  if (step.write !== undefined) {
    const condition = servedConditionOf(step.write.summary, { service, nowMs: context.clock.now() });
    const status = { ingress: step.write.ingress, condition };
    const written = await writeStatus(context, { service, status, isHeld: input.isHeld });
    logChange(context, { before: service, after: written });
    context.written.service(written);
    service = written;
  }
  memory.status = step.memory;
  for (const event of step.events) recordEvent(context, service, event);
  return { service, delayMs: step.againMs };
}

/** One line when a Service becomes served, changes or stops being served. */
function logChange({ logger }: ReconcileContext, change: { readonly before: Service; readonly after: Service }): void {
  const before = servedCondition(change.before);
  const after = servedCondition(change.after);
  const addresses = addressesOf(change.after).join();
  const isServed = after?.status === "True";
  const wasServed = before?.status === "True";
  if (isServed === wasServed && before?.reason === after?.reason && addressesOf(change.before).join() === addresses) {
    return;
  }
  const what = isServed === wasServed ? "Service changed" : isServed ? "Service is served" : "Service is not served";
  logger.info(what, {
    service: readService(change.before).key,
    addresses,
    reason: after?.reason ?? "",
    message: after?.message ?? "",
  });
}

function servedConditionOf(
  summary: ServedSummary,
  options: { readonly service: Service; readonly nowMs: number },
): Condition {
  const before = servedCondition(options.service);
  const transition = before?.status === summary.status ? before.lastTransitionTime : undefined;
  return {
    type: SERVED_CONDITION,
    status: summary.status,
    reason: summary.reason,
    message: summary.message,
    lastTransitionTime: String(transition ?? apiTime(options.nowMs)),
  };
}
