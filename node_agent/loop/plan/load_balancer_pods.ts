// Which pods of this node the agent believes, and which ports of the node they hold. Pure.
// A label is anybody's to write. What makes a pod a load balancer's is its namespace, where only the cluster's own controllers make pods, and
// its owner; what makes a port its Service's is that the scheduler has reserved it for the pod.
import { conditionOf } from "../../../core/kube/conditions.ts";
import type { Condition, Pod } from "../../../core/kube/types.ts";
import { PROGRAMMED_CONDITION, SERVICE_NAME_LABEL } from "../../../core/service/labels.ts";
import { hostPortIds } from "../../../core/service/port_owners.ts";

/** Whether `pod` was made for a load balancer, here or by a K3s ServiceLB: in its namespace, labelled, and owned by a DaemonSet. */
export function isLoadBalancerPod(pod: Pod, servicelbNamespace: string): boolean {
  const owner = pod.metadata?.ownerReferences?.find((one) => one.controller);
  return pod.metadata?.namespace === servicelbNamespace &&
    pod.metadata.labels?.[SERVICE_NAME_LABEL] !== undefined &&
    owner?.kind === "DaemonSet" && owner.apiVersion.startsWith("apps/");
}

/** Whether the agent's word is asked for: a placeholder of ours. Pods that forward by themselves, such as K3s's own, have no gate. */
export function isPlaceholder(pod: Pod): boolean {
  return pod.spec?.readinessGates?.some(({ conditionType }) => conditionType === PROGRAMMED_CONDITION) ?? false;
}

/** The pod's gate condition, if it has one. */
export function gateOf(pod: Pod): Condition | undefined {
  return conditionOf(pod, PROGRAMMED_CONDITION) as Condition | undefined;
}

/** The node's ports that the scheduler has reserved for `pods`, as `portId` writes them. */
export function heldPorts(pods: readonly Pod[]): ReadonlySet<string> {
  return hostPortIds(pods.flatMap((pod) => pod.spec?.containers ?? []));
}
