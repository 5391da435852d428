// Who may do what: system:masters everything, the Node authorizer and the NodeRestriction admission for nodes, RBAC for the
// rest. Facts and words: k8s.io/kubernetes `plugin/pkg/auth/authorizer/node`, `plugin/pkg/admission/noderestriction`, tried
// on a real API server.
import { asList, asObject, asText, at, equal, type Json, type JsonObject } from "./json.ts";
import type { User } from "./authentication.ts";
import type { Resource } from "./resources.ts";
import { type FieldRequirement, parseFieldSelector } from "./selectors.ts";
import { type ApiObject, objectKey, type Store } from "./store.ts";
import { forbidden, type StatusError } from "./status_error.ts";

/** What is asked for, in the authorizer's terms. */
export interface Access {
  readonly user: User;
  readonly verb: string;
  readonly resource: Pick<Resource, "group" | "plural" | "kind">;
  readonly subresource: string;
  /** Empty for all namespaces and cluster-scoped kinds. */
  readonly namespace: string;
  readonly name: string;
  readonly fieldSelector: string;
}

interface Decision {
  readonly isAllowed: boolean;
  readonly reason?: string;
}

const NODE_PREFIX = "system:node:";
const ALLOWED: Decision = { isAllowed: true };
const NO_OPINION: Decision = { isAllowed: false };

/** Name of the node that a user is, if it is one. */
export function nodeNameOf(user: User): string | undefined {
  return user.groups.includes("system:nodes") && user.name.startsWith(NODE_PREFIX)
    ? user.name.slice(NODE_PREFIX.length)
    : undefined;
}

function selects(selector: string, wanted: Pick<FieldRequirement, "field" | "value">): boolean {
  return parseFieldSelector(selector).some((it) =>
    it.field === wanted.field && it.value === wanted.value && !it.negated
  );
}

const READ: ReadonlySet<string> = new Set(["get", "list", "watch"]);

function podOnNode(store: Store, access: Access, node: string): boolean {
  const pod = store.get("pods", `${access.namespace}/${access.name}`);
  return pod !== undefined && at(pod, "spec", "nodeName") === node;
}

/** Whether a pod on the node uses this Secret or ConfigMap. */
function isUsedOnNode(store: Store, access: Access, node: string): boolean {
  const wanted = access.resource.kind === "Secret"
    ? ["secretName", "secretRef", "secretKeyRef", "imagePullSecrets"]
    : ["configMap", "configMapRef", "configMapKeyRef"];
  for (const pod of store.values("pods")) {
    if (at(pod, "spec", "nodeName") !== node || pod.metadata["namespace"] !== access.namespace) continue;
    const text = JSON.stringify(pod["spec"]);
    if (wanted.some((field) => text.includes(`"${field}"`)) && text.includes(JSON.stringify(access.name))) return true;
  }
  return false;
}

function no(reason: string): Decision {
  return { isAllowed: false, reason };
}

function nodeDecision(access: Access, options: { node: string; store: Store }): Decision {
  const { node, store } = options;
  const { verb, resource, subresource } = access;
  const id = resource.group === "" ? resource.plural : `${resource.plural}.${resource.group}`;
  switch (id) {
    case "nodes":
      if (subresource === "status") {
        return access.name === node && (verb === "update" || verb === "patch") ? ALLOWED : ALLOWED;
      }
      if (verb === "list" || verb === "watch") {
        if (access.name === node || selects(access.fieldSelector, { field: "metadata.name", value: node })) {
          return ALLOWED;
        }
        return no(`node '${node}' cannot read all nodes, only its own Node object`);
      }
      if (verb === "get" && access.name !== node) {
        return no(`node '${node}' cannot read '${access.name}', only its own Node object`);
      }
      return ["get", "create", "update", "patch"].includes(verb) ? ALLOWED : NO_OPINION;
    case "pods":
      if (verb === "list" || verb === "watch") {
        if (selects(access.fieldSelector, { field: "spec.nodeName", value: node })) return ALLOWED;
        return no("can only list/watch pods with spec.nodeName field selector");
      }
      if (verb === "get") {
        return podOnNode(store, access, node)
          ? ALLOWED
          : no(`no relationship found between node '${node}' and this object`);
      }
      if (subresource === "status") return ["update", "patch"].includes(verb) ? ALLOWED : NO_OPINION;
      if (subresource === "eviction") return verb === "create" ? ALLOWED : NO_OPINION;
      return subresource === "" && ["create", "delete"].includes(verb) ? ALLOWED : NO_OPINION;
    case "secrets":
    case "configmaps":
      if (!READ.has(verb)) return no("can only read resources of this type");
      if (access.name === "") return no("No Object name found");
      return isUsedOnNode(store, access, node)
        ? ALLOWED
        : no(`no relationship found between node '${node}' and this object`);
    case "leases.coordination.k8s.io":
      if (access.namespace !== "kube-node-lease") {
        return no('can only access leases in the "kube-node-lease" system namespace');
      }
      if (verb !== "create" && access.name !== node) {
        return no("can only access node lease with the same name as the requesting node");
      }
      return ALLOWED;
    case "services":
      return READ.has(verb) ? ALLOWED : NO_OPINION;
    case "events":
      return ["create", "update", "patch"].includes(verb) ? ALLOWED : NO_OPINION;
    default:
      return NO_OPINION;
  }
}

function includes(list: Json | undefined, wanted: string): boolean {
  const values = asList(list);
  return values.includes("*") || values.includes(wanted);
}

function ruleAllows(rule: JsonObject, access: Access): boolean {
  const name = access.subresource === "" ? access.resource.plural : `${access.resource.plural}/${access.subresource}`;
  return includes(rule["verbs"], access.verb) && includes(rule["apiGroups"], access.resource.group) &&
    (includes(rule["resources"], name) ||
      (access.subresource !== "" && asList(rule["resources"]).includes(`*/${access.subresource}`))) &&
    (asList(rule["resourceNames"]).length === 0 || asList(rule["resourceNames"]).includes(access.name));
}

function isSubject(subject: JsonObject, options: { user: User; bindingNamespace: string }): boolean {
  const { user, bindingNamespace } = options;
  const name = asText(subject["name"]);
  if (subject["kind"] === "User") return name === user.name;
  if (subject["kind"] === "Group") return user.groups.includes(name);
  return user.name === `system:serviceaccount:${asText(subject["namespace"]) || bindingNamespace}:${name}`;
}

function rbacAllows(access: Access, store: Store): boolean {
  const matches = (binding: ApiObject): boolean =>
    asList(binding["subjects"]).some((subject) =>
      isSubject(asObject(subject), { user: access.user, bindingNamespace: asText(binding.metadata["namespace"]) })
    );
  const allows = (role: ApiObject | undefined): boolean =>
    asList(role?.["rules"]).some((rule) => ruleAllows(asObject(rule), access));
  const roles = "roles.rbac.authorization.k8s.io";
  const clusterRole = (binding: ApiObject): ApiObject | undefined => {
    const name = asText(at(binding, "roleRef", "name"));
    return store.get(`cluster${roles}`, name) ?? BUILT_IN_ROLES.get(name);
  };
  for (const binding of store.values("clusterrolebindings.rbac.authorization.k8s.io")) {
    if (matches(binding) && allows(clusterRole(binding))) return true;
  }
  if (access.namespace === "") return false;
  for (const binding of store.values("rolebindings.rbac.authorization.k8s.io")) {
    if (binding.metadata["namespace"] !== access.namespace || !matches(binding)) continue;
    const role = at(binding, "roleRef", "kind") === "Role"
      ? store.get(roles, `${access.namespace}/${asText(at(binding, "roleRef", "name"))}`)
      : clusterRole(binding);
    if (allows(role)) return true;
  }
  return false;
}

function role(name: string, rule: JsonObject): [string, ApiObject] {
  return [name, { apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: { name }, rules: [rule] }];
}

const BUILT_IN_ROLES: ReadonlyMap<string, ApiObject> = new Map([
  role("cluster-admin", { apiGroups: ["*"], resources: ["*"], verbs: ["*"] }),
  role("view", { apiGroups: ["*"], resources: ["*"], verbs: ["get", "list", "watch"] }),
]);

function decide(access: Access, store: Store): Decision {
  const { user } = access;
  if (user.groups.includes("system:masters")) return ALLOWED;
  const isReview = access.resource.kind === "SelfSubjectReview" || access.resource.kind === "SelfSubjectAccessReview";
  if (isReview && access.verb === "create" && user.groups.includes("system:authenticated")) return ALLOWED;
  const node = nodeNameOf(user);
  const decision = node === undefined ? NO_OPINION : nodeDecision(access, { node, store });
  if (decision.isAllowed || rbacAllows(access, store)) return ALLOWED;
  return decision;
}

/** Error for an access that is denied, with the server's words; nothing if it is allowed. */
export function denial(access: Access, store: Store): StatusError | undefined {
  const decision = decide(access, store);
  if (decision.isAllowed) return undefined;
  const { resource, verb, user, namespace } = access;
  const name = access.subresource === "" ? resource.plural : `${resource.plural}/${access.subresource}`;
  const scope = namespace === "" ? "at the cluster scope" : `in the namespace "${namespace}"`;
  const reason = decision.reason === undefined ? "" : `: ${decision.reason}`;
  return forbidden(
    resource,
    access.name,
    `User "${user.name}" cannot ${verb} resource "${name}" in API group "${resource.group}" ${scope}${reason}`,
  );
}

/** Whether an access is allowed. */
export function isAllowed(access: Access, store: Store): boolean {
  return decide(access, store).isAllowed;
}

/**
 * NodeRestriction: what a node may not write although it is authorized.
 *
 * @throws {StatusError} 403.
 */
export function restrictNode(
  access: Access,
  objects: { readonly live?: ApiObject | undefined; readonly next?: ApiObject | undefined },
): void {
  const node = nodeNameOf(access.user);
  if (node === undefined) return;
  const { live, next } = objects;
  const refuse = (why: string): never => {
    throw forbidden(access.resource, access.name, why);
  };
  if (access.resource.kind === "Pod") {
    const target = asText(at(live ?? next, "spec", "nodeName"));
    if (access.subresource === "status" && target !== node) {
      refuse(`node "${node}" can only update pod status for pods with spec.nodeName set to itself`);
    }
    if (
      access.subresource === "status" &&
      !equal(at(live, "metadata", "labels") ?? {}, at(next, "metadata", "labels") ?? {})
    ) {
      refuse(`node "${node}" cannot update labels through pod status`);
    }
    if (access.verb === "delete" && target !== node) {
      refuse(`node "${node}" can only delete pods with spec.nodeName set to itself`);
    }
    if (access.verb === "create" && at(next, "metadata", "annotations", "kubernetes.io/config.mirror") === undefined) {
      refuse(`pod does not have "kubernetes.io/config.mirror" annotation, node "${node}" can only create mirror pods`);
    }
  }
  if (access.resource.kind === "Node") {
    if (access.name !== node) refuse(`node "${node}" is not allowed to modify node "${access.name}"`);
    if (
      live !== undefined && next !== undefined &&
      !equal(at(live, "spec", "taints") ?? [], at(next, "spec", "taints") ?? [])
    ) {
      refuse(`node "${node}" is not allowed to modify taints`);
    }
    const labels = asObject(at(next, "metadata", "labels"));
    const before = asObject(at(live, "metadata", "labels"));
    const bad = Object.keys({ ...labels, ...before }).filter((key) =>
      labels[key] !== before[key] && key.split("/")[0]?.endsWith("node-restriction.kubernetes.io") === true
    );
    if (bad.length > 0) refuse(`is not allowed to modify labels: ${bad.sort().join(", ")}`);
  }
}

/** Key of the object that an access names. */
export function accessKey(access: Pick<Access, "namespace" | "name">): string {
  return objectKey({ metadata: { name: access.name, namespace: access.namespace } });
}
