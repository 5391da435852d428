// Services counted by what their condition says, for metrics. No I/O.
import type { Service } from "../../kube/types.ts";
import { type ClaimOptions, serviceClaim } from "../../service/claim.ts";
import { servedCondition } from "../own_marks.ts";

/** How many Services say the same. */
export interface ServiceCount {
  /** Whether any node serves them; `unknown`, without a reason, before the first reconciliation. */
  readonly served: "true" | "false" | "unknown";
  readonly reason: string;
  readonly count: number;
}

/** Those of `services` that are this load balancer's. Reasons are this program's own, so there are few. */
export function countServices(services: Iterable<Service>, settings: ClaimOptions): readonly ServiceCount[] {
  const counts = new Map<string, ServiceCount>();
  for (const service of services) {
    if (!serviceClaim(service, settings).ours) continue;
    const { status = "", reason = "" } = servedCondition(service) ?? {};
    const served = status === "True" ? "true" : status === "False" ? "false" : "unknown";
    const key = `${served} ${reason}`;
    counts.set(key, { served, reason, count: (counts.get(key)?.count ?? 0) + 1 });
  }
  return [...counts.values()];
}
