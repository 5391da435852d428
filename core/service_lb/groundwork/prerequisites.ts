// What the cluster needs beside the Services' own objects: the pods' ServiceAccount, and the nodes' rights to read endpoints and what the server
// publishes for agents. Pure.
// The Node authorizer lets a node's identity read Services, but neither EndpointSlices nor ConfigMaps that no pod of it mounts (tried on
// Kubernetes 1.36).
import type { ClusterRole, ClusterRoleBinding, Role, RoleBinding, ServiceAccount } from "../../kube/types.ts";
import { FACTS_CONFIG_MAP } from "../../service/cluster_facts.ts";
import {
  type DataplaneName,
  ENDPOINT_READER_ROLE,
  FACTS_READER_ROLE,
  MANAGED_BY_LABEL,
  POD_SERVICE_ACCOUNT,
} from "../../service/labels.ts";

/** Objects that are made once per cluster. */
export interface Prerequisites {
  readonly serviceAccount: ServiceAccount;
  /** Only where agents run with their nodes' identities. */
  readonly nodeRights?: {
    readonly endpointReader: { readonly role: ClusterRole; readonly binding: ClusterRoleBinding };
    readonly factsReader: { readonly role: Role; readonly binding: RoleBinding };
  };
}

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
  const endpointReader = nodesMay(
    { kind: "ClusterRole", metadata: { name: ENDPOINT_READER_ROLE, labels } },
    { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
  );
  const factsReader = nodesMay(
    { kind: "Role", metadata: { name: FACTS_READER_ROLE, namespace, labels } },
    { apiGroups: [""], resources: ["configmaps"], resourceNames: [FACTS_CONFIG_MAP], verbs: ["list", "watch"] },
  );
  return { serviceAccount, nodeRights: { endpointReader, factsReader } };
}

/** A role with `rule`, and the binding of the same name that gives it to all nodes. */
function nodesMay(
  { kind, metadata }: Required<Pick<Role, "metadata">> & { readonly kind: "Role" | "ClusterRole" },
  rule: NonNullable<Role["rules"]>[number],
): { readonly role: Role & ClusterRole; readonly binding: RoleBinding & ClusterRoleBinding } {
  const apiVersion = `${RBAC}/v1`;
  return {
    role: { apiVersion, kind, metadata, rules: [rule] },
    binding: {
      apiVersion,
      kind: `${kind}Binding`,
      metadata,
      roleRef: { apiGroup: RBAC, kind, name: metadata.name ?? "" },
      subjects: [{ apiGroup: RBAC, kind: "Group", name: "system:nodes" }],
    },
  };
}

const RBAC = "rbac.authorization.k8s.io";
