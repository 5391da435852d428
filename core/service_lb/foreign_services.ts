// Services of other types that have ports on nodes, and who must be looked at when such a port comes or goes. Adapter.
import { type Reflector, type ReflectorOptions, startReflector } from "../kube/reflector.ts";
import { SERVICES } from "../kube/resources.ts";
import type { Service } from "../kube/types.ts";
import { foreignPortIds, trimForeign } from "../service/foreign_ports.ts";
import type { ServiceKey } from "../service/keys.ts";
import { portIds } from "../service/port_owners.ts";
import { readService } from "../service/reading.ts";
import { portSharers } from "./affected_services.ts";
import type { ObjectChange } from "./cluster_view.ts";

/** Watches them; `onChange` is told of each change that concerns ports. */
export function watchForeignServices(
  options: Pick<ReflectorOptions<Service>, "client" | "clock" | "logger" | "signal"> & {
    readonly onChange: (change: ObjectChange<Service>) => void;
  },
): Reflector<Service> {
  return startReflector({
    ...options,
    type: SERVICES,
    selection: { fieldSelector: "spec.type!=LoadBalancer" },
    keep: trimForeign,
    onChange: (change) => options.onChange(change),
  });
}

/** Load balancers that may win or lose a port by the change of a port on nodes. */
export function concernedBy(
  change: ObjectChange<Service>,
  services: ReadonlyMap<ServiceKey, Service>,
): ReadonlySet<ServiceKey> {
  const changed = new Set([...foreignPortIds(change.before), ...foreignPortIds(change.after)]);
  const concerned = new Set<ServiceKey>();
  if (changed.size === 0) return concerned;
  for (const service of services.values()) {
    if (!portIds(service).some((id) => changed.has(id))) continue;
    concerned.add(readService(service).key);
    for (const key of portSharers({ before: service, after: undefined }, services.values())) concerned.add(key);
  }
  return concerned;
}
