// Kubernetes objects as they are on the wire. The models are those of kubernetes-fluent-client; they say `Date` where the
// wire has an RFC 3339 string, which one mapped type puts right. This is the only file that imports the library.
import type { kind } from "kubernetes-fluent-client";

/** `T` as JSON carries it: dates are strings. */
export type Wire<T> = T extends Date ? string
  : T extends (infer U)[] ? Wire<U>[]
  : T extends object ? { [K in keyof T]: Wire<T[K]> }
  : T;

/** The library's model of a kind, as JSON carries it. */
export type Model<K extends keyof typeof kind> = Wire<InstanceType<(typeof kind)[K]>>;

/** A `v1` Service. */
export type Service = Model<"Service">;
/** A `v1` Node. */
export type Node = Model<"Node">;
/** A `v1` Pod. */
export type Pod = Model<"Pod">;
/** An `apps/v1` DaemonSet. */
export type DaemonSet = Model<"DaemonSet">;
/** An `apps/v1` Deployment. */
export type Deployment = Model<"Deployment">;
/** A `batch/v1` Job. */
export type Job = Model<"Job">;
/** A `discovery.k8s.io/v1` EndpointSlice. */
export type EndpointSlice = Model<"EndpointSlice">;
/** A `v1` ConfigMap. */
export type ConfigMap = Model<"ConfigMap">;
/** A `v1` Secret. */
export type Secret = Model<"Secret">;
/** A `v1` ServiceAccount. */
export type ServiceAccount = Model<"ServiceAccount">;
/** A `rbac.authorization.k8s.io/v1` ClusterRole. */
export type ClusterRole = Model<"ClusterRole">;
/** A `rbac.authorization.k8s.io/v1` ClusterRoleBinding. */
export type ClusterRoleBinding = Model<"ClusterRoleBinding">;
/** A `rbac.authorization.k8s.io/v1` Role. */
export type Role = Model<"Role">;
/** A `rbac.authorization.k8s.io/v1` RoleBinding. */
export type RoleBinding = Model<"RoleBinding">;
/** A `v1` Namespace. */
export type Namespace = Model<"Namespace">;
/** An `apiextensions.k8s.io/v1` CustomResourceDefinition. */
export type CustomResourceDefinition = Model<"CustomResourceDefinition">;
/** A `v1` Event. */
export type KubeEvent = Model<"CoreEvent">;
/** One toleration of a pod. */
export type Toleration = NonNullable<NonNullable<Pod["spec"]>["tolerations"]>[number];
/** Metadata of any object. */
export type ObjectMeta = NonNullable<Service["metadata"]>;
/** One owner of an object. */
export type OwnerReference = NonNullable<ObjectMeta["ownerReferences"]>[number];

/** The part that every object has. */
export interface KubeObject {
  /** Group and version. */
  readonly apiVersion?: string;
  /** Kind. */
  readonly kind?: string;
  /** Name, labels, versions. */
  readonly metadata?: ObjectMeta;
}

/** An object of a kind that this program knows nothing of. */
export interface UnknownObject extends KubeObject {
  /** Whatever the kind has. */
  readonly [field: string]: unknown;
}

/** One condition as Kubernetes writes them in the status of most objects. */
export interface Condition {
  /** What the condition is about. */
  readonly type: string;
  /** Whether it holds. */
  readonly status: "True" | "False" | "Unknown";
  /** Why, as one CamelCase word. */
  readonly reason?: string;
  /** Why, for people. */
  readonly message?: string;
  /** When the status changed. */
  readonly lastTransitionTime?: string;
  /** When somebody looked. */
  readonly lastProbeTime?: string;
  /** When the writer was last alive. */
  readonly lastHeartbeatTime?: string;
  /** The object's generation that it is about. */
  readonly observedGeneration?: number;
}

/** `coordination.k8s.io/v1` Lease; the library has no model of it. */
export interface Lease extends KubeObject {
  /** Who holds it, since when and for how long. */
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

/** Ranges of Services' addresses (Kubernetes 1.33 and later). */
export interface ServiceCidr extends KubeObject {
  /** What was asked for. */
  readonly spec?: {
    /** Such as `10.96.0.0/12`. */
    readonly cidrs?: readonly string[];
  };
}
