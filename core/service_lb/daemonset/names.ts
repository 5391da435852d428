// Names of a Service's objects. Pure.
// Facts: k3s `pkg/cloudprovider/servicelb.go` (name of the DaemonSet).
import type { Service } from "../../kube/types.ts";

/** Name of a Service's DaemonSet: 48 characters of the Service's name without hyphens at the cut, and 8 of its uid. */
export function daemonSetName(service: Service): string {
  const name = (service.metadata?.name ?? "").slice(0, MAX_NAME_PART).replace(/-+$/, "");
  return `svclb-${name}-${(service.metadata?.uid ?? "").slice(0, UID_PART)}`;
}

const MAX_NAME_PART = 48;
const UID_PART = 8;
