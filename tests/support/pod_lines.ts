// Pods in words, for what tests compare and for what a wait says that fails. Pure.
import type { Pod } from "../../core/kube/types.ts";

/** A pod's status in one line. */
export function podLine(pod: Pod): string {
  const { status, metadata } = pod;
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  const [container] = status?.containerStatuses ?? [];
  const { waiting, running, terminated } = container?.state ?? {};
  return [
    [status?.phase, status?.reason, metadata?.deletionTimestamp === undefined ? undefined : "deleting"],
    [`Ready=${ready?.status}`, ready?.reason],
    [
      waiting && `waiting ${waiting.reason}`,
      running && "running",
      terminated && `terminated ${terminated.exitCode}`,
    ],
  ].map((words) => words.filter((word) => word !== undefined && word !== "").join(" ")).filter((part) => part !== "")
    .join(", ");
}

/** How many of `pods` are in which state, and the name of one in each. */
export function podLines(pods: readonly Pod[]): string {
  const lines = [...Map.groupBy(pods, podLine)].map(([line, those]) =>
    `${those.length} of ${pods.length} pods: ${line}, as ${those[0]?.metadata?.name} on ${those[0]?.spec?.nodeName}`
  );
  return lines.length === 0 ? "no pods" : lines.join("\n");
}

/** Whether the Ready condition is True. */
export function isPodReady({ status }: Pod): boolean {
  return status?.conditions?.some((one) => one.type === "Ready" && one.status === "True") ?? false;
}
