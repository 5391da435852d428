// In which order the objects of a file are applied, and what exactly is sent. Pure.
// Order: Namespaces, CRDs (then wait until they serve), access rights and settings, everything else, and last what can
// turn requests away (webhooks, aggregated APIs).
import type { ObjectMeta, UnknownObject } from "../../kube/types.ts";
import { K3S_APPLIED_ANNOTATION, ownershipMarks } from "../record/addon.ts";
import type { LocatedObject, ManifestObject } from "./parse_manifests.ts";

/** Where objects without a namespace go, as in K3s. */
export const DEFAULT_NAMESPACE = "default";
/** The kind after which the server knows new kinds. */
export const CRD_KIND = "CustomResourceDefinition";

const KIND_ORDER: readonly (readonly string[])[] = [
  ["Namespace"],
  [CRD_KIND],
  [
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "PriorityClass",
    "RuntimeClass",
    "StorageClass",
    "IngressClass",
    "LimitRange",
    "ResourceQuota",
    "Secret",
    "ConfigMap",
  ],
];
const LAST_KINDS: readonly string[] = [
  "APIService",
  "MutatingWebhookConfiguration",
  "ValidatingWebhookConfiguration",
  "ValidatingAdmissionPolicyBinding",
];

/** Fields of metadata that only the server writes; an exported object carries them along. */
const SERVER_FIELDS: ReadonlySet<string> = new Set([
  "creationTimestamp",
  "deletionGracePeriodSeconds",
  "deletionTimestamp",
  "generation",
  "managedFields",
  "resourceVersion",
  "selfLink",
  "uid",
]);

/** `objects` in groups that are applied one after the other; inside a group the order does not matter. */
export function applyPhases<T extends ManifestObject>(objects: readonly T[]): readonly (readonly T[])[] {
  const phases = Map.groupBy(objects, ({ kind }) => rankOf(kind));
  return [...phases].sort(([a], [b]) => a - b).map(([, phase]) => phase);
}

/** What is sent to the server for `located` as a part of the AddOn `addOn`. */
export function objectToApply(located: LocatedObject, addOn: string): UnknownObject {
  const marks = ownershipMarks(addOn);
  const { namespace: _, labels, annotations, ...metadata } = located.object.metadata ?? {};
  const kept = Object.fromEntries(Object.entries(metadata).filter(([field]) => !SERVER_FIELDS.has(field)));
  const { [K3S_APPLIED_ANNOTATION]: __, ...own } = annotations ?? {};
  const merged: ObjectMeta = {
    ...kept,
    ...(located.type.namespaced ? { namespace: namespaceOf(located) } : {}),
    labels: { ...labels, ...marks.labels },
    annotations: { ...own, ...marks.annotations },
  };
  return { ...located.object, metadata: merged };
}

/** The namespace that `located` ends up in; empty for cluster-wide kinds. */
export function namespaceOf(located: LocatedObject): string {
  if (!located.type.namespaced) return "";
  return located.namespace === "" ? DEFAULT_NAMESPACE : located.namespace;
}

function rankOf(kind: string): number {
  if (LAST_KINDS.includes(kind)) return KIND_ORDER.length + 1;
  const rank = KIND_ORDER.findIndex((kinds) => kinds.includes(kind));
  return rank < 0 ? KIND_ORDER.length : rank;
}
