// Whose an object is: marks that the deployer, and K3s's before it, puts on everything of a manifest. Pure.
// Facts: wrangler `pkg/apply` (annotations objectset.rio.cattle.io/*).
import { FIELD_MANAGER } from "../kube/contract.ts";
import type { ObjectMeta } from "../kube/types.ts";
import { ADD_ON_TYPE, OWNER_KIND_ANNOTATION, OWNER_NAME_ANNOTATION, ownerKindOf } from "../shared/k3s_names.ts";
import type { ClusterVersion } from "./cluster_version.ts";

/** Names of the packaged manifests' AddOns. */
export type PackagedName = "coredns" | "traefik";

/** Who takes care of an object. */
export type Owner = "ours" | "k3s" | "others";

/**
 * Who takes care of the object with `metadata`, a part of the AddOn `name`. What K3s made is ours to take over, unless the
 * cluster's API server is a K3s: then K3s itself goes on with it.
 */
export function ownerOf(metadata: ObjectMeta | undefined, name: PackagedName, version: ClusterVersion): Owner {
  if (!hasMarks(metadata, name)) return "others";
  const isTakenOver = metadata?.managedFields?.some(({ manager }) => manager === FIELD_MANAGER) ?? false;
  return version.isK3s && !isTakenOver ? "k3s" : "ours";
}

/** Whether the object belongs to the AddOn `name`, whoever deployed it. */
function hasMarks(metadata: ObjectMeta | undefined, name: PackagedName): boolean {
  const annotations = metadata?.annotations ?? {};
  return annotations[OWNER_KIND_ANNOTATION] === ownerKindOf(ADD_ON_TYPE) &&
    annotations[OWNER_NAME_ANNOTATION] === name;
}
