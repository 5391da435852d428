// The resource types that this program works with, so that no caller spells a path. Pure.
import type { ResourceType } from "./contract.ts";
import type * as t from "./types.ts";

type Scope = "namespaced" | "cluster";

/** The plural of every kind here is the kind with an "s". */
function define<T extends t.KubeObject>(apiVersion: string, kind: string, scope: Scope): ResourceType<T> {
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  return Object.freeze({ group, version, kind, plural: `${kind.toLowerCase()}s`, namespaced: scope === "namespaced" });
}

const RBAC = "rbac.authorization.k8s.io/v1";

export const SERVICES = define<t.Service>("v1", "Service", "namespaced");
export const NODES = define<t.Node>("v1", "Node", "cluster");
export const PODS = define<t.Pod>("v1", "Pod", "namespaced");
export const CONFIG_MAPS = define<t.ConfigMap>("v1", "ConfigMap", "namespaced");
export const SECRETS = define<t.Secret>("v1", "Secret", "namespaced");
export const SERVICE_ACCOUNTS = define<t.ServiceAccount>("v1", "ServiceAccount", "namespaced");
export const NAMESPACES = define<t.Namespace>("v1", "Namespace", "cluster");
export const EVENTS = define<t.KubeEvent>("v1", "Event", "namespaced");
export const DAEMON_SETS = define<t.DaemonSet>("apps/v1", "DaemonSet", "namespaced");
export const DEPLOYMENTS = define<t.Deployment>("apps/v1", "Deployment", "namespaced");
export const JOBS = define<t.Job>("batch/v1", "Job", "namespaced");
export const ENDPOINT_SLICES = define<t.EndpointSlice>("discovery.k8s.io/v1", "EndpointSlice", "namespaced");
/** Kubernetes 1.33 and later. */
export const SERVICE_CIDRS = define<t.ServiceCidr>("networking.k8s.io/v1", "ServiceCIDR", "cluster");
export const LEASES = define<t.Lease>("coordination.k8s.io/v1", "Lease", "namespaced");
export const ROLES = define<t.Role>(RBAC, "Role", "namespaced");
export const ROLE_BINDINGS = define<t.RoleBinding>(RBAC, "RoleBinding", "namespaced");
export const CLUSTER_ROLES = define<t.ClusterRole>(RBAC, "ClusterRole", "cluster");
export const CLUSTER_ROLE_BINDINGS = define<t.ClusterRoleBinding>(RBAC, "ClusterRoleBinding", "cluster");
export const CUSTOM_RESOURCE_DEFINITIONS = define<t.CustomResourceDefinition>(
  "apiextensions.k8s.io/v1",
  "CustomResourceDefinition",
  "cluster",
);

/** `group/version` as objects carry it in `apiVersion`. */
export function apiVersionOf(type: Pick<ResourceType, "group" | "version">): string {
  return type.group === "" ? type.version : `${type.group}/${type.version}`;
}
