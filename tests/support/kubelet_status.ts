// The status that kubelet reports for a pod whose containers all run. Pure.
// Facts: readiness gates (KEP-580): Ready is True when all containers are ready and every gate's condition is True.
import type { Condition, Pod } from "../../core/kube/types.ts";

/** What is known of the running pod. */
export interface RunningPod {
  readonly hostIps: readonly string[];
  readonly podIps: readonly string[];
  /** Gates to which this kubelet says True itself. */
  readonly ownGates: readonly string[];
}

/** The part of the status to patch, or `undefined` if the pod says all of it already. */
export function podStatus(pod: Pod, running: RunningPod, now: Date = new Date()): Pod["status"] | undefined {
  const gates = (pod.spec?.readinessGates ?? []).map(({ conditionType }) => conditionType);
  const own = gates.filter((gate) => running.ownGates.includes(gate));
  const holds = (type: string): boolean => own.includes(type) || conditionOf(pod, type)?.status === "True";
  const closed = gates.filter((gate) => !holds(gate));
  const time = `${now.toISOString().slice(0, 19)}Z`;
  const condition = (type: string, status: boolean, message = ""): Condition => ({
    type,
    status: status ? "True" : "False",
    ...(status ? {} : { reason: "ReadinessGatesNotReady", message }),
    lastTransitionTime: time,
  });
  const conditions = [
    condition("PodReadyToStartContainers", true),
    condition("Initialized", true),
    condition("ContainersReady", true),
    condition("Ready", closed.length === 0, `the status of ${closed.join(", ")} is not "True"`),
    ...own.map((gate) => condition(gate, true)),
  ];
  const isReported = pod.status?.phase === "Running" &&
    JSON.stringify(pod.status?.podIPs?.map(({ ip }) => ip)) === JSON.stringify(running.podIps) &&
    conditions.every(({ type, status }) => conditionOf(pod, type)?.status === status);
  if (isReported) return undefined;
  const changed = conditions.filter(({ type, status }) => conditionOf(pod, type)?.status !== status);
  return {
    phase: "Running",
    conditions: changed as NonNullable<NonNullable<Pod["status"]>["conditions"]>,
    hostIP: running.hostIps[0] ?? "",
    hostIPs: running.hostIps.map((ip) => ({ ip })),
    podIP: running.podIps[0] ?? "",
    podIPs: running.podIps.map((ip) => ({ ip })),
    startTime: pod.status?.startTime ?? time,
    containerStatuses: (pod.spec?.containers ?? []).map((container) => ({
      name: container.name,
      image: container.image ?? "",
      imageID: container.image ?? "",
      containerID: `none://${pod.metadata?.uid}-${container.name}`,
      ready: true,
      started: true,
      restartCount: 0,
      state: { running: { startedAt: pod.status?.startTime ?? time } },
    })),
  };
}

function conditionOf(pod: Pod, type: string): { readonly status: string } | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}
