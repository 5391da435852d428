// Which Services are ours. Pure.
// Facts: `spec.loadBalancerClass` is set once and a controller must leave other classes alone (Kubernetes API).
import type { Service } from "../kube/types.ts";
import { ENABLED_ANNOTATION } from "./labels.ts";
import { readService } from "./reading.ts";

/** Whose Services are served. */
export interface ClaimOptions {
  /** `spec.loadBalancerClass` that is served. */
  readonly lbClass: string;
  /** Whether Services without a class are served. */
  readonly lbDefault: boolean;
}

/** Whether a Service is ours; if not, why. */
export type ServiceClaim =
  | { readonly ours: true }
  | {
    readonly ours: false;
    readonly reason: "Deleted" | "NotLoadBalancer" | "OtherClass" | "NoClass" | "OptedOut";
    readonly message: string;
  };

/** Decides whether `service` is ours. */
export function serviceClaim(service: Service, options: ClaimOptions): ServiceClaim {
  const { isBeingDeleted, isLoadBalancer, lbClass, enabled } = readService(service);
  if (isBeingDeleted) return refuse("Deleted", "The Service is being deleted");
  if (!isLoadBalancer) return refuse("NotLoadBalancer", `The Service's type is not LoadBalancer`);
  if (lbClass && lbClass !== options.lbClass) return refuse("OtherClass", `The Service is of class "${lbClass}"`);
  if (!lbClass && !options.lbDefault) {
    return refuse("NoClass", `The Service has no class; "${options.lbClass}" is served`);
  }
  if (!enabled) return refuse("OptedOut", `Annotation "${ENABLED_ANNOTATION}=false" keeps it from being served`);
  return { ours: true };
}

function refuse(reason: (ServiceClaim & { ours: false })["reason"], message: string): ServiceClaim {
  return { ours: false, reason, message };
}
