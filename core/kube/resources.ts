// The resource types that this program works with, so that no caller spells a path.
import type { ResourceType } from "./contract.ts";
import type * as t from "./types.ts";

function define<T extends t.KubeObject>(
  apiVersion: string,
  kind: string,
  plural: string,
  scope: "namespaced" | "cluster",
): ResourceType<T> {
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  return Object.freeze({ group, version, kind, plural, namespaced: scope === "namespaced" });
}

export const SERVICES = define<t.Service>("v1", "Service", "services", "namespaced");
export const NODES = define<t.Node>("v1", "Node", "nodes", "cluster");
export const PODS = define<t.Pod>("v1", "Pod", "pods", "namespaced");
export const CONFIG_MAPS = define<t.ConfigMap>("v1", "ConfigMap", "configmaps", "namespaced");
export const SECRETS = define<t.Secret>("v1", "Secret", "secrets", "namespaced");
export const SERVICE_ACCOUNTS = define<t.ServiceAccount>("v1", "ServiceAccount", "serviceaccounts", "namespaced");
export const NAMESPACES = define<t.Namespace>("v1", "Namespace", "namespaces", "cluster");
export const EVENTS = define<t.KubeEvent>("v1", "Event", "events", "namespaced");
export const DAEMON_SETS = define<t.DaemonSet>("apps/v1", "DaemonSet", "daemonsets", "namespaced");
export const DEPLOYMENTS = define<t.Deployment>("apps/v1", "Deployment", "deployments", "namespaced");
export const JOBS = define<t.Job>("batch/v1", "Job", "jobs", "namespaced");
export const ENDPOINT_SLICES = define<t.EndpointSlice>(
  "discovery.k8s.io/v1",
  "EndpointSlice",
  "endpointslices",
  "namespaced",
);
/** Kubernetes 1.33 and later. */
export const SERVICE_CIDRS = define<t.ServiceCidr>("networking.k8s.io/v1", "ServiceCIDR", "servicecidrs", "cluster");
export const LEASES = define<t.Lease>("coordination.k8s.io/v1", "Lease", "leases", "namespaced");
export const ROLES = define<t.Role>("rbac.authorization.k8s.io/v1", "Role", "roles", "namespaced");
export const ROLE_BINDINGS = define<t.RoleBinding>(
  "rbac.authorization.k8s.io/v1",
  "RoleBinding",
  "rolebindings",
  "namespaced",
);
export const CLUSTER_ROLES = define<t.ClusterRole>(
  "rbac.authorization.k8s.io/v1",
  "ClusterRole",
  "clusterroles",
  "cluster",
);
export const CLUSTER_ROLE_BINDINGS = define<t.ClusterRoleBinding>(
  "rbac.authorization.k8s.io/v1",
  "ClusterRoleBinding",
  "clusterrolebindings",
  "cluster",
);
export const CUSTOM_RESOURCE_DEFINITIONS = define<t.CustomResourceDefinition>(
  "apiextensions.k8s.io/v1",
  "CustomResourceDefinition",
  "customresourcedefinitions",
  "cluster",
);

/** `group/version` as objects carry it in `apiVersion`. */
export function apiVersionOf(type: Pick<ResourceType, "group" | "version">): string {
  return type.group === "" ? type.version : `${type.group}/${type.version}`;
}
