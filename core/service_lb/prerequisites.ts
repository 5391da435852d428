// What the cluster needs beside the Services' own objects: the pods' ServiceAccount, and the nodes' right to read endpoints. Pure.
// The Node authorizer lets a node's identity read Services, but not EndpointSlices (tried on Kubernetes 1.36).
import type { ClusterRole, ClusterRoleBinding, ServiceAccount } from "../kube/types.ts";
import { type DataplaneName, ENDPOINT_READER_ROLE, POD_SERVICE_ACCOUNT } from "../service/labels.ts";

/** Objects that are made once per cluster. */
export interface Prerequisites {
  readonly serviceAccount: ServiceAccount;
  /** Only where agents run with their nodes' identities. */
  readonly endpointReader?: { readonly role: ClusterRole; readonly binding: ClusterRoleBinding };
}

/** The label by which removal tells what was made here from what has the same name. */
export const MANAGED_BY_LABEL = "app.kubernetes.io/managed-by";

/** What `dataplane` needs; the ServiceAccount goes to `namespace`. */
export function desiredPrerequisites(dataplane: DataplaneName, namespace: string): Prerequisites {
  const labels = { [MANAGED_BY_LABEL]: "k3slb" };
  const serviceAccount = {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: POD_SERVICE_ACCOUNT, namespace, labels },
    automountServiceAccountToken: false,
  };
  if (dataplane === "pods") return { serviceAccount };
  const role = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRole",
    metadata: { name: ENDPOINT_READER_ROLE, labels },
    rules: [{ apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] }],
  };
  const binding = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: ENDPOINT_READER_ROLE, labels },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: ENDPOINT_READER_ROLE },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "system:nodes" }],
  };
  return { serviceAccount, endpointReader: { role, binding } };
}
