// Questions to a Job and its pods. Pure. Facts: batch/v1 Job conditions; kubelet's container states.
import { isTrue } from "../../kube/conditions.ts";
import type { Job, Pod } from "../../kube/types.ts";
import { ATTEMPT_ANNOTATION, CONFIG_HASH_ANNOTATION, EXPECTED_REVISION_NAME } from "../names.ts";

const FIRST_DELAY_MS = 10_000;
const MAX_DELAY_MS = 300_000;

/** Whether the Job has ended without an error. */
export function isComplete(job: Job): boolean {
  return isTrue(job, "Complete");
}

/** Whether the Job has given up. */
export function isFailed(job: Job): boolean {
  return isTrue(job, "Failed");
}

/** The 64 digits on the Job's pod template; empty if it has none. */
export function hashOf(job: Job): string {
  return job.spec?.template.metadata?.annotations?.[CONFIG_HASH_ANNOTATION]?.replace(/^SHA256=/, "") ?? "";
}

/** How many Jobs of the same configuration came before. */
export function attemptOf(job: Job): number {
  const attempt = Number(job.metadata?.annotations?.[ATTEMPT_ANNOTATION] ?? 0);
  return Number.isSafeInteger(attempt) && attempt > 0 ? attempt : 0;
}

/** The release's revision that the Job was told of; 0 if it was told of none. */
export function expectedRevision(job: Job): number {
  const [container] = job.spec?.template.spec?.containers ?? [];
  return Number(container?.env?.find(({ name }) => name === EXPECTED_REVISION_NAME)?.value ?? 0);
}

/** Milliseconds until the next Job of the same configuration may follow; the first one follows at once, then 10 s to 5 min. */
export function retryDelayMs(job: Job, nowMs: number): number {
  const attempt = attemptOf(job);
  if (attempt === 0 && isComplete(job)) return 0;
  const ended = job.status?.conditions?.find(({ type, status }) =>
    (type === "Complete" || type === "Failed") && status === "True"
  )?.lastTransitionTime;
  const endedMs = Date.parse(ended ?? job.status?.completionTime ?? job.metadata?.creationTimestamp ?? "");
  if (Number.isNaN(endedMs)) return 0;
  const delayMs = Math.min(FIRST_DELAY_MS * 2 ** Math.max(0, attempt - 1), MAX_DELAY_MS);
  return endedMs + delayMs - nowMs;
}

/** Whether helm is at work in one of the Job's pods, as far as their kubelets have said. */
export function isHelmRunning(job: Job, pods: readonly Pod[]): boolean {
  return podsOf(job, pods).some((pod) => {
    const container = helmStatusIn(pod);
    return pod.status?.phase === "Running" && container?.state?.running !== undefined;
  });
}

/** Pods that the Job owns. */
export function podsOf(job: Job, pods: readonly Pod[]): readonly Pod[] {
  const uid = job.metadata?.uid;
  return pods.filter(({ metadata }) => metadata?.ownerReferences?.some((owner) => owner.uid === uid) ?? false);
}

type ContainerStatus = NonNullable<NonNullable<Pod["status"]>["containerStatuses"]>[number];

/** A container that ended with an error, and whether its log is that of the run before the present one. */
export interface FailedRun {
  readonly pod: Pod;
  readonly previous: boolean;
}

/** The latest failure in the Job's pods; `undefined` if there is none, or if helm has been at it again since and runs. */
export function latestFailure(job: Job, pods: readonly Pod[]): FailedRun | undefined {
  const runs = podsOf(job, pods).flatMap((pod) => {
    const container = helmStatusIn(pod);
    const now = container?.state?.terminated;
    if (now !== undefined) return now.exitCode === 0 ? [] : [{ pod, previous: false, at: now.finishedAt ?? "" }];
    const before = container?.lastState?.terminated;
    return before === undefined || before.exitCode === 0 ? [] : [{ pod, previous: true, at: before.finishedAt ?? "" }];
  });
  return runs.toSorted((a, b) => a.at < b.at ? 1 : a.at > b.at ? -1 : 0)[0];
}

/** What is said of the container with helm in it; webhooks put others beside it. */
export function helmStatusIn(pod: Pod): ContainerStatus | undefined {
  return pod.status?.containerStatuses?.find(({ name }) => name === "helm");
}

/** Lets a suspended Job go, unless someone else has done it. */
export function resumePatch(): readonly object[] {
  return [
    { op: "test", path: "/spec/suspend", value: true },
    { op: "replace", path: "/spec/suspend", value: false },
  ];
}
