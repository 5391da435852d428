// Kubernetes objects as they are on the wire. The models are those of kubernetes-fluent-client; they say `Date` where the
// wire has an RFC 3339 string, which one mapped type puts right. This is the only file that imports the library.
import type { kind } from "kubernetes-fluent-client";

/** `T` as JSON carries it: dates are strings. */
export type Wire<T> = T extends Date ? string
  : T extends (infer U)[] ? Wire<U>[]
  : T extends object ? { [K in keyof T]: Wire<T[K]> }
  : T;

export type Service = Wire<kind.Service>;
export type Node = Wire<kind.Node>;
export type Pod = Wire<kind.Pod>;
export type DaemonSet = Wire<kind.DaemonSet>;
export type Deployment = Wire<kind.Deployment>;
export type Job = Wire<kind.Job>;
export type EndpointSlice = Wire<kind.EndpointSlice>;
export type ConfigMap = Wire<kind.ConfigMap>;
export type Secret = Wire<kind.Secret>;
export type ServiceAccount = Wire<kind.ServiceAccount>;
export type ClusterRole = Wire<kind.ClusterRole>;
export type ClusterRoleBinding = Wire<kind.ClusterRoleBinding>;
export type Namespace = Wire<kind.Namespace>;
export type CustomResourceDefinition = Wire<kind.CustomResourceDefinition>;
export type KubeEvent = Wire<kind.CoreEvent>;
export type Toleration = NonNullable<NonNullable<Pod["spec"]>["tolerations"]>[number];
export type ObjectMeta = NonNullable<Service["metadata"]>;
export type OwnerReference = NonNullable<ObjectMeta["ownerReferences"]>[number];

/** The part that every object has. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: ObjectMeta;
}

/** An object of a kind that this program knows nothing of. */
export interface UnknownObject extends KubeObject {
  readonly [field: string]: unknown;
}

/** One condition as Kubernetes writes them in the status of most objects. */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
  readonly lastProbeTime?: string;
  readonly lastHeartbeatTime?: string;
  readonly observedGeneration?: number;
}

/** `coordination.k8s.io/v1` Lease; the library has no model of it. */
export interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string;
    readonly leaseDurationSeconds?: number;
    /** RFC 3339 with microseconds. */
    readonly acquireTime?: string;
    /** RFC 3339 with microseconds. */
    readonly renewTime?: string;
    readonly leaseTransitions?: number;
  };
}
