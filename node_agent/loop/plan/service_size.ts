// How many rules a Service asks of a node, before any is made. Pure.
// Endpoints, ranges and ports are a tenant's to write, and multiply: 100 ports with 1,000 endpoints fit into 71 KB of EndpointSlice.
import type { EndpointSlice } from "../../../core/kube/types.ts";
import type { ServiceReading } from "../../../core/service/reading.ts";

/** Rules of one Service unless told otherwise; several times what Kubernetes is tested with, a second of work for the kernel's tools. */
export const DEFAULT_MAX_SERVICE_RULES = 10_000;

/** Ports times endpoints, source ranges and matched addresses. Costs little, however many they are. */
export function rulesAsked(reading: ServiceReading, slices: readonly EndpointSlice[], addresses = 0): number {
  const wanted = new Set(reading.ports.map(({ name, protocol }) => `${protocol} ${name}`));
  const forEndpoints = slices.reduce((sum, { ports = [], endpoints }) => {
    const used = ports.filter(({ name, protocol }) => wanted.has(`${protocol ?? "TCP"} ${name ?? ""}`)).length;
    return sum + used * (endpoints ?? []).length;
  }, 0);
  return forEndpoints + reading.ports.length * ((reading.sourceRanges ?? []).length + addresses);
}
