// What keeps a Job's helm from running, or from ending, as its pods tell it. Pure.
// Facts: kubelet's waiting reasons (`pkg/kubelet/images`, `kuberuntime`), PodScheduled, and MarkPodsNotReady of the node lifecycle
// controller, which sets Ready to False and nothing else. What the Job controller and mounts run into is in Events alone, which are
// not read: of these is said that it takes too long, and which command tells why.
import { conditionOf, isTrue } from "../../kube/conditions.ts";
import type { Job, Pod } from "../../kube/types.ts";
import { hideCredentials } from "./job_failure.ts";
import { helmStatusIn, podsOf } from "./job_state.ts";

/** Why nothing happens; as in the condition and the Event. */
export interface Obstacle {
  /** As Kubernetes calls it. */
  readonly reason: string;
  readonly message: string;
}

/** What is seen, and when it may be something else without a change. */
export interface JobSight {
  readonly obstacle?: Obstacle;
  readonly againMs?: number;
}

/** What {@linkcode jobObstacle} goes by. */
export interface ObstacleFacts {
  readonly pods: readonly Pod[];
  readonly nowMs: number;
  /** Sentences about Secrets that the pod mounts and that are known not to be there. */
  readonly missing?: readonly string[];
  /** What the condition says now. */
  readonly said?: { readonly reason?: string; readonly message?: string } | undefined;
}

/** A pod may wait that long for a node, which comes and goes while a cluster starts, or for a Secret that is applied with the chart. */
const UNSCHEDULED_MS = 15_000;
const NO_POD_MS = 30_000;
/** Long enough for the image on a slow line: while it is pulled, the pod looks as if its volumes were missing. */
const STARTING_MS = 120_000;
/** `deletionTimestamp` has the grace period in it; this is for kubelet's own pace. */
const OVERDUE_MS = 30_000;
/** What a container waits for while all is well, or what helm's own log tells. */
const ORDINARY = new Set(["ContainerCreating", "PodInitializing", "CrashLoopBackOff", "RunContainerError"]);
const PULL_REASON = "ImagePullBackOff";

/** What keeps `job`, which is not suspended and not at its end. */
export function jobObstacle(job: Job, facts: ObstacleFacts): JobSight {
  const pods = podsOf(job, facts.pods).toSorted((a, b) => bornMs(b) - bornMs(a));
  const [living] = pods.filter((pod) => !isEnded(pod) && !isLeaving(pod) && !isOutOfReach(pod, facts.nowMs));
  if (living !== undefined) return podSight(living, facts);
  const [leaving] = pods.filter((pod) => !isEnded(pod));
  if (leaving !== undefined) return podsLeft(job, facts);
  const [last] = pods;
  if (last === undefined) return withoutPod(job, facts.nowMs);
  const { phase, reason = "", message = "" } = last.status ?? {};
  // Turned away by a kubelet, or evicted before helm ran.
  if (phase !== "Failed" || reason === "" || helmStatusIn(last)?.state?.terminated !== undefined) return {};
  return { obstacle: { reason, message: `${nameOf(last)} failed: ${reason}${message === "" ? "" : `: ${message}`}` } };
}

/** Which of the Job's pods counts as running, or is waited for, on a node that does not answer. */
export function podsLeft(job: Job, { pods, nowMs }: Pick<ObstacleFacts, "pods" | "nowMs">): JobSight {
  const open = podsOf(job, pods).filter((pod) => !isEnded(pod));
  const lost = open.find((pod) => isOutOfReach(pod, nowMs));
  if (lost !== undefined) {
    const { namespace = "", name = "" } = lost.metadata ?? {};
    const message =
      `${nameOf(lost)} is on node "${lost.spec?.nodeName ?? ""}", which does not answer, and its helm may ` +
      `still run. If the node will not come back, delete the pod by force: ` +
      `kubectl delete pod --namespace ${namespace} ${name} --force --grace-period=0`;
    return { obstacle: { reason: "NodeLost", message } };
  }
  const waits = open.filter(isLeaving).map((pod) => overdueMs(pod) - nowMs);
  return waits.length === 0 ? {} : { againMs: Math.min(...waits) };
}

function podSight(pod: Pod, facts: ObstacleFacts): JobSight {
  const helm = helmStatusIn(pod);
  if (helm?.state?.running !== undefined) return {};
  const ended = helm?.state?.terminated ?? helm?.lastState?.terminated;
  if (ended?.reason === "StartError" || ended?.reason === "ContainerCannotRun") {
    const said = ended.message === undefined ? "" : `: ${ended.message}`;
    return { obstacle: { reason: "StartError", message: `${nameOf(pod)} can't start helm${said}` } };
  }
  // It ran; its log tells.
  if (ended !== undefined && (helm?.state?.waiting?.reason ?? "CrashLoopBackOff") === "CrashLoopBackOff") return {};
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  for (const { image, state } of [...initContainerStatuses, ...containerStatuses]) {
    const { reason = "", message = "" } = state?.waiting ?? {};
    if (reason === "" || ORDINARY.has(reason)) continue;
    if (reason === PULL_REASON || reason === "ErrImagePull") {
      return { obstacle: pullObstacle(`${nameOf(pod)} can't pull image "${image}"`, { message, said: facts.said }) };
    }
    const why = message === "" ? "" : `: ${hideCredentials(message)}`;
    return { obstacle: { reason, message: `${nameOf(pod)} can't start: ${reason}${why}` } };
  }
  return ended === undefined ? startingSight(pod, facts) : {};
}

/** kubelet goes from one reason to the other and back with every try, and older ones say why in the first alone. */
function pullObstacle(
  subject: string,
  { message, said }: { readonly message: string; readonly said: ObstacleFacts["said"] },
): Obstacle {
  const why = hideCredentials(
    message.replace(/^Back-off pulling image "[^"]*"(: )?/, "").replace(/^ErrImagePull: /, ""),
  )
    // The port of each try is another.
    .replaceAll(/:\d+->/g, "->");
  if (why !== "") return { reason: PULL_REASON, message: `${subject}: ${why}` };
  const isSaid = said?.reason === PULL_REASON && said.message?.startsWith(subject);
  return { reason: PULL_REASON, message: isSaid ? said.message ?? subject : subject };
}

function startingSight(pod: Pod, { nowMs, missing = [] }: ObstacleFacts): JobSight {
  const scheduled = conditionOf(pod, "PodScheduled");
  if (scheduled?.status === "False") {
    const { reason = "Unschedulable", message = "" } = scheduled;
    const why = `${nameOf(pod)} gets no node: ${reason}${message === "" ? "" : `: ${message}`}`;
    return after(bornMs(pod) + UNSCHEDULED_MS - nowMs, { reason, message: why });
  }
  if (!pod.spec?.nodeName) {
    const message = `${nameOf(pod)} gets no node: no scheduler has looked at it`;
    return after(bornMs(pod) + NO_POD_MS - nowMs, { reason: "Unschedulable", message });
  }
  const sinceMs = timeOf(scheduled?.lastTransitionTime) ?? bornMs(pod);
  if (missing.length > 0) {
    const message = `${nameOf(pod)} can't start: ${missing.join(", ")}`;
    return after(sinceMs + UNSCHEDULED_MS - nowMs, { reason: "FailedMount", message });
  }
  const { namespace = "", name = "" } = pod.metadata ?? {};
  const mounts = (pod.spec.volumes ?? []).flatMap(({ secret, configMap }) => [
    ...(secret?.secretName === undefined ? [] : [`Secret "${secret.secretName}"`]),
    ...(configMap?.name === undefined ? [] : [`ConfigMap "${configMap.name}"`]),
  ]);
  const needs = mounts.length === 0 ? "" : ` (it mounts ${mounts.join(", ")})`;
  const message =
    `${nameOf(pod)} does not start on node "${pod.spec.nodeName}": its volumes${needs}, network or image ` +
    `are not there yet, see: kubectl describe pod --namespace ${namespace} ${name}`;
  const reason = helmStatusIn(pod)?.state?.waiting?.reason ?? "ContainerCreating";
  return after(sinceMs + STARTING_MS - nowMs, { reason, message });
}

/** No pod, although there has been time for one. */
function withoutPod(job: Job, nowMs: number): JobSight {
  const { active = 0, failed = 0, succeeded = 0, startTime, conditions = [] } = job.status ?? {};
  const suspended = conditions.find(({ type }) => type === "Suspended");
  // After a failed pod its controller takes its time; and it has not seen yet that the Job was resumed.
  if (active > 0 || failed > 0 || succeeded > 0 || suspended?.status === "True") return {};
  const { namespace = "", name = "", creationTimestamp } = job.metadata ?? {};
  const times = [startTime, suspended?.lastTransitionTime, creationTimestamp].flatMap((time) => timeOf(time) ?? []);
  if (times.length === 0) return {};
  const message = `Job ${namespace}/${name} gets no pod: a quota, an admission rule or a webhook may refuse it, see: ` +
    `kubectl describe job --namespace ${namespace} ${name}`;
  return after(Math.max(...times) + NO_POD_MS - nowMs, { reason: "FailedCreate", message });
}

function after(inMs: number, obstacle: Obstacle): JobSight {
  return inMs > 0 ? { againMs: inMs } : { obstacle };
}

/** Whether no kubelet speaks for the pod any more. */
function isOutOfReach(pod: Pod, nowMs: number): boolean {
  const { phase, reason, conditions = [] } = pod.status ?? {};
  if (phase === "Unknown" || reason === "NodeLost") return true;
  if (isLeaving(pod)) return overdueMs(pod) <= nowMs;
  // A kubelet gives a reason with a False, and never says so of a pod whose containers are ready.
  return helmStatusIn(pod)?.state?.running !== undefined && isTrue(pod, "ContainersReady") &&
    conditions.some(({ type, status, reason: why = "" }) => type === "Ready" && status === "False" && why === "");
}

function isEnded(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

function isLeaving(pod: Pod): boolean {
  return pod.metadata?.deletionTimestamp !== undefined;
}

function overdueMs(pod: Pod): number {
  return (timeOf(pod.metadata?.deletionTimestamp) ?? Infinity) + OVERDUE_MS;
}

function bornMs(pod: Pod): number {
  return timeOf(pod.metadata?.creationTimestamp) ?? 0;
}

function timeOf(time: string | null | undefined): number | undefined {
  const ms = Date.parse(time ?? "");
  return Number.isNaN(ms) ? undefined : ms;
}

function nameOf({ metadata }: Pod): string {
  return `Pod ${metadata?.namespace}/${metadata?.name}`;
}
