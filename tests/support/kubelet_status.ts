// The statuses that kubelet reports for a pod, from its admission to its end. Pure.
// Facts: readiness gates (KEP-580): Ready is True when all containers are ready and every gate's condition is True. What was seen on kubelet
// 1.36.3: the reasons of the conditions, and a phase `Succeeded` or `Failed` before a deleted pod's object goes.
import type { Condition, Pod } from "../../core/kube/types.ts";

type PodStatus = NonNullable<Pod["status"]>;
type ContainerState = NonNullable<NonNullable<PodStatus["containerStatuses"]>[number]["state"]>;

/** What is known of the running pod. */
export interface RunningPod {
  readonly hostIps: readonly string[];
  readonly podIps: readonly string[];
  /** Whether all containers' readiness probes succeed. */
  readonly isProbedReady: boolean;
  /** Gates to which this kubelet says True itself. */
  readonly ownGates: readonly string[];
}

/** The part of the status to patch, or `undefined` if the pod says all of it already. */
export function podStatus(pod: Pod, running: RunningPod, now: Date = new Date()): Pod["status"] | undefined {
  const gates = (pod.spec?.readinessGates ?? []).map(({ conditionType }) => conditionType);
  const own = gates.filter((gate) => running.ownGates.includes(gate));
  const holds = (type: string): boolean => own.includes(type) || conditionOf(pod, type)?.status === "True";
  const closed = gates.filter((gate) => !holds(gate));
  const notReady = !running.isProbedReady
    ? "ContainersNotReady"
    : closed.length > 0
    ? "ReadinessGatesNotReady"
    : undefined;
  const condition = conditionsAt(now);
  const conditions = [
    condition("PodReadyToStartContainers"),
    condition("Initialized"),
    condition("ContainersReady", running.isProbedReady ? undefined : "ContainersNotReady"),
    condition(
      "Ready",
      notReady,
      notReady === "ReadinessGatesNotReady" ? `the status of ${closed.join(", ")} is not "True"` : "",
    ),
    ...own.map((gate) => condition(gate)),
  ];
  const changed = conditions.filter((each) => !says(pod, each));
  const isReported = pod.status?.phase === "Running" && changed.length === 0 &&
    JSON.stringify(pod.status?.podIPs?.map(({ ip }) => ip)) === JSON.stringify(running.podIps);
  if (isReported) return undefined;
  const startTime = pod.status?.startTime ?? timeText(now);
  return {
    phase: "Running",
    conditions: asConditions(changed),
    ...hostIpsOf(running.hostIps),
    podIP: running.podIps[0] ?? "",
    podIPs: running.podIps.map((ip) => ({ ip })),
    startTime,
    containerStatuses: containerStatuses(pod, { running: { startedAt: startTime } }, running.isProbedReady),
  };
}

/** A pod whose containers are being made, or can't be (`reason`, such as ErrImagePull). */
export function waitingStatus(
  pod: Pod,
  { hostIps, reason }: { readonly hostIps: readonly string[]; readonly reason: string },
  now: Date = new Date(),
): PodStatus {
  const condition = conditionsAt(now);
  return {
    phase: "Pending",
    conditions: asConditions([
      condition("PodReadyToStartContainers", ""),
      condition("Initialized"),
      condition("ContainersReady", "ContainersNotReady"),
      condition("Ready", "ContainersNotReady"),
    ]),
    ...hostIpsOf(hostIps),
    startTime: timeText(now),
    containerStatuses: containerStatuses(pod, { waiting: { reason } }, false),
  };
}

/** A pod whose containers have ended by themselves, or when they were told to. */
export function endedStatus(
  pod: Pod,
  end: { readonly phase: "Succeeded" | "Failed"; readonly reason?: string; readonly message?: string },
  now: Date = new Date(),
): PodStatus {
  const condition = conditionsAt(now);
  const why = end.phase === "Succeeded" ? "PodCompleted" : "PodFailed";
  const startedAt = pod.status?.startTime ?? timeText(now);
  const terminated = { exitCode: 0, reason: "Completed", startedAt, finishedAt: timeText(now) };
  return {
    ...end,
    conditions: asConditions([
      condition("PodReadyToStartContainers", ""),
      condition("ContainersReady", why),
      condition("Ready", why),
    ]),
    containerStatuses: containerStatuses(pod, { terminated }, false),
  };
}

/** Null takes away what an earlier condition said. */
const NOTHING_SAID = { reason: null, message: null } as unknown as { readonly reason?: string };

/** True without a reason. */
function conditionsAt(now: Date): (type: string, reason?: string, message?: string) => Condition {
  return (type, reason, message = "") => ({
    type,
    status: reason === undefined ? "True" : "False",
    ...(reason ? { reason, message } : NOTHING_SAID),
    lastTransitionTime: timeText(now),
  });
}

function containerStatuses(pod: Pod, state: ContainerState, ready: boolean): PodStatus["containerStatuses"] & object {
  const isMade = state.waiting === undefined;
  return (pod.spec?.containers ?? []).map((container) => ({
    name: container.name,
    image: container.image ?? "",
    imageID: isMade ? container.image ?? "" : "",
    ...(isMade ? { containerID: `none://${pod.metadata?.uid}-${container.name}` } : {}),
    ready,
    started: state.running !== undefined,
    restartCount: 0,
    state: { waiting: null, running: null, terminated: null, ...state } as unknown as ContainerState,
  }));
}

function hostIpsOf(ips: readonly string[]): Pick<PodStatus, "hostIP" | "hostIPs"> {
  return { hostIP: ips[0] ?? "", hostIPs: ips.map((ip) => ({ ip })) };
}

function asConditions(conditions: readonly Condition[]): PodStatus["conditions"] & object {
  return conditions as unknown as PodStatus["conditions"] & object;
}

function timeText(time: Date): string {
  return `${time.toISOString().slice(0, 19)}Z`;
}

function conditionOf(pod: Pod, type: string): { readonly status: string; readonly reason?: string } | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}

function says(pod: Pod, { type, status, reason }: Condition): boolean {
  const said = conditionOf(pod, type);
  return said?.status === status && (said.reason || undefined) === (reason || undefined);
}
