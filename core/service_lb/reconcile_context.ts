// What reconciling a Service works with, remembers and tells. Types, and what all parts of it ask and tell.
import type { Surroundings } from "../kube/contract.ts";
import { isConflict } from "../kube/errors.ts";
import type { DaemonSet, Service } from "../kube/types.ts";
import type { ServiceKey } from "../service/keys.ts";
import { errorMessage, isAbort } from "../shared/errors.ts";
import type { Contest } from "./contest.ts";
import type { ServiceEvent, StatusMemory } from "./status/status_step.ts";
import type { ServiceLbOptions } from "./service_lb_options.ts";
import type { LateReservations } from "./daemonset/late_reservations.ts";
import type { PodInquiry } from "./nodes/pod_inquiry.ts";
import type { PodObstacles } from "./daemonset/port_holder.ts";
import { type ObjectReference, referenceTo } from "../kube/events.ts";

/** Where Events go. Sending is the recorder's affair; it never throws. */
export interface ServiceEvents {
  record(target: ObjectReference, event: ServiceEvent): void;
}

/** What is remembered of one Service; lost at a restart without harm. */
export interface ServiceMemory {
  status?: StatusMemory;
  /** Last good texts, as they were written into the Service, and how often somebody else has written others since. */
  recorded?: string;
  record?: Contest;
  /** Younger Services that were told that a port of theirs is taken. */
  toldLate?: string;
  /** What is in the way of its pods, as far as it was asked for. */
  obstacles?: PodObstacles | undefined;
  /** The failure that was told last. */
  toldFailure?: string;
  /** The last write of the DaemonSet, and who else writes it. */
  daemonSet?: Contest;
  rivals?: readonly string[];
}

/** What reconciling works with. */
export interface ReconcileContext extends Surroundings {
  readonly events: ServiceEvents;
  readonly options: ServiceLbOptions;
  /** Finds out why pods are missing. */
  readonly inquiry: Pick<PodInquiry, "ask" | "forget">;
  /** When new DaemonSets are made whose pods decide nothing. */
  readonly reservations: Pick<LateReservations, "delayMs" | "leave">;
  /** Told of each object as the server has it after a write, so that the next time does not act on an older copy. */
  readonly written: {
    service(service: Service): void;
    daemonSet(daemonSet: DaemonSet): void;
  };
}

/** Tells what happened to `service`. Only after it has. */
export function recordEvent(context: ReconcileContext, service: Service, event: ServiceEvent): void {
  context.events.record(referenceTo({ ...service, ...SERVICE_KIND }), event);
}

/** Logs why a Service can't be brought up to date, and tells it on the Service: each reason once. */
export function noteFailure(
  context: ReconcileContext,
  { key, error, service, memory }: {
    readonly key: ServiceKey;
    readonly error: unknown;
    readonly service: Service | undefined;
    readonly memory: ServiceMemory | undefined;
  },
): void {
  if (isAbort(error)) return;
  // Someone else was faster; the next time sees what they wrote.
  if (isConflict(error)) return context.logger.debug("A Service changed while it was reconciled", { service: key });
  const message = errorMessage(error);
  context.logger.warn("Cannot bring a Service up to date", { service: key, error: message });
  if (service === undefined || memory === undefined || memory.toldFailure === message) return;
  memory.toldFailure = message;
  recordEvent(context, service, { type: "Warning", reason: "SyncLoadBalancerFailed", message });
}

const SERVICE_KIND = { apiVersion: "v1", kind: "Service" };
