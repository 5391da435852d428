// What of a Service is written here, and whether it bears any of it, also when it is a load balancer of ours no more. Pure.
import { conditionOf } from "../kube/conditions.ts";
import { FIELD_MANAGER } from "../kube/contract.ts";
import type { ObjectMeta, Service } from "../kube/types.ts";
import { SERVED_CONDITION, SERVICE_FINALIZER } from "../service/labels.ts";

type ServiceCondition = NonNullable<NonNullable<Service["status"]>["conditions"]>[number];

/** The own condition in a Service's status. */
export function servedCondition(service: Service): ServiceCondition | undefined {
  return conditionOf(service, SERVED_CONDITION);
}

/** What the status publishes: addresses, and names where it has those. */
export function addressesOf({ status }: Service): readonly string[] {
  return (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? "");
}

/** Whether `service` bears the condition, or the finalizer of a server that ended before it wrote the condition. */
export function isMarked(service: Service): boolean {
  return servedCondition(service) !== undefined || hasOwnFinalizer(service);
}

/**
 * Of a Service's `managedFields` what shows that the finalizer is ours: its name is that of upstream's controllers, too. Absent where the condition
 * says enough.
 */
export function finalizerMark(service: Service): Pick<ObjectMeta, "managedFields"> {
  const isNeeded = servedCondition(service) === undefined && hasOwnFinalizer(service);
  return isNeeded ? { managedFields: OWN_FINALIZER } : {};
}

function hasOwnFinalizer({ metadata }: Service): boolean {
  if (!metadata?.finalizers?.includes(SERVICE_FINALIZER)) return false;
  return (metadata.managedFields ?? []).some(({ manager, fieldsV1 }) => {
    const fields = fieldsV1 as { readonly "f:metadata"?: { readonly "f:finalizers"?: object } } | undefined;
    return manager === FIELD_MANAGER && FINALIZER_FIELD in (fields?.["f:metadata"]?.["f:finalizers"] ?? {});
  });
}

const FINALIZER_FIELD = `v:${JSON.stringify(SERVICE_FINALIZER)}`;
const OWN_FINALIZER: NonNullable<ObjectMeta["managedFields"]> = [{
  manager: FIELD_MANAGER,
  fieldsV1: { "f:metadata": { "f:finalizers": { [FINALIZER_FIELD]: {} } } },
}];
