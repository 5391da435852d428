// Which objects of an AddOn go because its file no longer has them, and which stay all the same. Pure.
import type { ResourceType } from "../../kube/contract.ts";
import type { KubeObject } from "../../kube/types.ts";
import { type AddOn, isOwnedBy, KINDS_ANNOTATION, type ObjectKind, parseKinds, renderKinds } from "../record/addon.ts";
import { DEFAULT_NAMESPACE } from "../objects/apply_plan.ts";
import type { ManifestObject } from "../objects/parse_manifests.ts";

/** On objects: `"true"` lets a guarded kind go, `"false"` keeps any object. */
const PRUNE_ANNOTATION = "k3slb.io/prune";
/** Kinds whose removal takes other people's objects or data along; they need {@linkcode PRUNE_ANNOTATION}. */
const GUARDED_KINDS: readonly string[] = ["Namespace", "CustomResourceDefinition", "PersistentVolumeClaim"];

/** One object on the server. */
export interface SeenObject {
  readonly type: ResourceType;
  readonly object: KubeObject;
}

/** Why an object stays although its file does not have it. */
export type KeptReason = "GuardedKind" | "KeptByAnnotation";

/** What to do with the objects that a file no longer has. */
export interface PrunePlan {
  readonly remove: readonly SeenObject[];
  readonly keep: readonly (SeenObject & { readonly reason: KeptReason })[];
  /** What another file has now, and takes over when it is applied. */
  readonly moved: readonly SeenObject[];
}

/** What decides about pruning. */
export interface PruneInput {
  readonly addOn: string;
  /** Objects with the AddOn's label. */
  readonly seen: readonly SeenObject[];
  /** Keys, by {@linkcode objectIdentity}, of what the file has. */
  readonly wanted: ReadonlySet<string>;
  /** UIDs of what was applied: one object can be reached by two groups. */
  readonly wantedUids: ReadonlySet<string>;
  /** Objects of other files. */
  readonly claims: readonly ManifestObject[];
}

/** Group, kind, namespace and name as one text; the version does not count. */
export function objectIdentity(type: ResourceType, key: { readonly namespace: string; readonly name: string }): string {
  return [type.group, type.kind, key.namespace, key.name].join("\n");
}

/** {@linkcode objectIdentity} of an object on the server. */
export function identityOf({ type, object: { metadata } }: SeenObject): string {
  return objectIdentity(type, { namespace: metadata?.namespace ?? "", name: metadata?.name ?? "" });
}

/** Every kind of which objects may be left: what the AddOn says, and what the file has now. */
export function kindsToSearch(addOn: AddOn | undefined, present: readonly ObjectKind[] = []): readonly ObjectKind[] {
  const recorded = addOn?.metadata?.annotations?.[KINDS_ANNOTATION];
  return parseKinds(renderKinds([...parseKinds(recorded), ...present]));
}

/** What to remove and what to keep of `input.seen`. */
export function prunePlan(input: PruneInput): PrunePlan {
  const remove: SeenObject[] = [];
  const keep: (SeenObject & { readonly reason: KeptReason })[] = [];
  const moved: SeenObject[] = [];
  const met = new Set<string>();
  for (const seen of input.seen) {
    const { metadata } = seen.object;
    const uid = metadata?.uid ?? "";
    const identity = identityOf(seen);
    const once = uid === "" ? identity : uid;
    if (met.has(once) || input.wanted.has(identity) || input.wantedUids.has(uid)) continue;
    met.add(once);
    // Labels alone prove nothing: controllers copy them to what they make.
    if (!isOwnedBy(metadata, input.addOn) || metadata?.deletionTimestamp !== undefined) continue;
    if (metadata?.ownerReferences?.some(({ controller }) => controller === true)) continue;
    const reason = keptReason(seen);
    if (isClaimed(seen, input.claims)) moved.push(seen);
    else if (reason === undefined) remove.push(seen);
    else keep.push({ ...seen, reason });
  }
  return { remove, keep, moved };
}

function isClaimed({ type, object }: SeenObject, claims: readonly ManifestObject[]): boolean {
  const { namespace, name } = object.metadata ?? {};
  return claims.some((claim) =>
    claim.kind === type.kind && claim.name === name && groupOf(claim.apiVersion) === type.group &&
    (!type.namespaced || (claim.namespace === "" ? DEFAULT_NAMESPACE : claim.namespace) === namespace)
  );
}

function groupOf(apiVersion: string): string {
  return apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "";
}

function keptReason({ type, object }: SeenObject): KeptReason | undefined {
  const wish = object.metadata?.annotations?.[PRUNE_ANNOTATION];
  if (wish === "false") return "KeptByAnnotation";
  return GUARDED_KINDS.includes(type.kind) && wish !== "true" ? "GuardedKind" : undefined;
}

/** `objects` in groups that are removed one after the other: what others stand on goes last. */
export function removalPhases(objects: readonly SeenObject[]): readonly (readonly SeenObject[])[] {
  return [0, 1, 2].map((rank) => objects.filter((seen) => removalRank(seen) === rank));
}

function removalRank({ type }: SeenObject): number {
  if (type.kind === "Namespace") return 2;
  return type.kind === "CustomResourceDefinition" ? 1 : 0;
}
