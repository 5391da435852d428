// What one svclb pod says about its node: does it forward, and if not, in whose words. Pure.
// Placeholders are judged by the agent's gate, not by Ready: kubelet turns a False gate into NotReady only after a second.
import { conditionOf } from "../../kube/conditions.ts";
import type { Pod } from "../../kube/types.ts";
import { DATAPLANE_LABEL, PORT_NOT_HELD_REASON, PROGRAMMED_CONDITION } from "../../service/labels.ts";

/** Why a pod does not forward. */
export type PodReason =
  | "PodEnding"
  | "PodFailed"
  | "PodOutdated"
  | "NotScheduled"
  | "WaitingForScheduler"
  | "WaitingForAgent"
  | "NotProgrammed"
  | "PodNotReady";

/** What a pod says. */
export type PodState =
  | {
    readonly forwards: true;
    /** What its connections come to, where that is not an answer. */
    readonly note?: string;
  }
  | { readonly forwards: false; readonly reason: PodReason; readonly message: string };

/** Why a pod keeps no ports. */
export interface ReservationGap {
  readonly reason: Extract<PodReason, "NotScheduled" | "WaitingForScheduler" | "PodFailed">;
  readonly message: string;
}

/** The node a pod is on, or is meant for while it is not scheduled. */
export function nodeOfPod(pod: Pod): string | undefined {
  if (pod.spec?.nodeName) return pod.spec.nodeName;
  const affinity = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const term of affinity?.nodeSelectorTerms ?? []) {
    const field = term.matchFields?.find(({ key, operator }) => key === "metadata.name" && operator === "In");
    if (field?.values?.[0]) return field.values[0];
  }
  return undefined;
}

/** Whether the pod is a placeholder for the agent. */
export function isPlaceholder(pod: Pod): boolean {
  return pod.metadata?.labels?.[DATAPLANE_LABEL] === "agent";
}

/** What `pod` says. */
export function podState(pod: Pod): PodState {
  const { status } = pod;
  if (pod.metadata?.deletionTimestamp) return state("PodEnding", "its pod is being deleted");
  if (status?.phase === "Failed" || status?.phase === "Succeeded") {
    return state("PodFailed", sentence("its pod ended", status.reason, status.message));
  }
  if (!pod.spec?.nodeName) {
    const scheduled = conditionOf(pod, "PodScheduled");
    if (scheduled?.status !== "False") return state("WaitingForScheduler", "its pod waits for the scheduler");
    return state("NotScheduled", sentence("its pod is not scheduled", undefined, scheduled.message));
  }
  return isPlaceholder(pod) ? placeholderState(pod) : forwarderState(pod);
}

/** Why the scheduler does not keep a node's ports for `pod`; `undefined` if it does. */
export function reservationGap(pod: Pod): ReservationGap | undefined {
  const found = podState(pod);
  if (found.forwards) return undefined;
  const { reason, message } = found;
  return reason === "NotScheduled" || reason === "WaitingForScheduler" || reason === "PodFailed"
    ? { reason, message }
    : undefined;
}

function placeholderState(pod: Pod): PodState {
  const gate = conditionOf(pod, PROGRAMMED_CONDITION);
  if (gate?.status === "True") {
    const note = NO_ENDPOINTS_REGEXP.exec(gate.message ?? "")?.[0];
    return note === undefined ? { forwards: true } : { forwards: true, note };
  }
  // The Service has got other ports: the DaemonSet's next pod holds them.
  if (gate?.status === "False" && gate.reason === PORT_NOT_HELD_REASON) {
    return state("PodOutdated", sentence("its pod is to be replaced", undefined, gate.message));
  }
  if (gate?.status === "False") {
    return state("NotProgrammed", sentence("rules are not programmed", gate.reason, gate.message));
  }
  return state("WaitingForAgent", "the agent has not programmed the rules yet");
}

function forwarderState(pod: Pod): PodState {
  const ready = conditionOf(pod, "Ready");
  if (ready?.status === "True" && pod.status?.podIP) return { forwards: true };
  for (const container of pod.status?.containerStatuses ?? []) {
    const waiting = container.state?.waiting;
    if (waiting?.reason && waiting.reason !== "ContainerCreating" && waiting.reason !== "PodInitializing") {
      return state("PodNotReady", sentence("its pod is not ready", waiting.reason, waiting.message));
    }
  }
  return state("PodNotReady", "its pod is not ready");
}

/** The agent's words for a port that it refuses for want of pods. */
const NO_ENDPOINTS_REGEXP = /no endpoints\b[^;]*/;

function state(reason: PodReason, message: string): PodState {
  return { forwards: false, reason, message };
}

function sentence(what: string, reason: string | undefined, message: string | undefined): string {
  const words = [reason, message].filter((part) => part).join(": ");
  return words === "" ? what : `${what}: ${words}`;
}
