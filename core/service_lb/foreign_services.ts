// Services of other types that have ports on nodes. Adapter.
import { type Reflector, type ReflectorOptions, startReflector } from "../kube/reflector.ts";
import { SERVICES } from "../kube/resources.ts";
import type { Service } from "../kube/types.ts";
import { trimForeign } from "../service/foreign_ports.ts";
import type { ObjectChange } from "../kube/object_store.ts";

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
