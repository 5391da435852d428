// Carries a prune plan out: finds the objects with an AddOn's label, removes what its file no longer has.
// What goes and what stays is decided in prune_plan.ts.
import type { KubeClient } from "../../kube/contract.ts";
import { isConflict, isNotFound } from "../../kube/errors.ts";
import { objectKey } from "../../kube/request_path.ts";
import { findObject, keyOf } from "../../kube/one_object.ts";
import type { KubeObject } from "../../kube/types.ts";
import type { Logger } from "../../shared/log.ts";
import { present } from "../../shared/values.ts";
import { SET_HASH_LABEL } from "../../shared/k3s_names.ts";
import { type ObjectKind, ownershipMarks } from "../record/addon.ts";
import { inParallel } from "../../runtime/in_parallel.ts";
import type { KindCatalog } from "../objects/kind_catalog.ts";
import type { ManifestObject } from "../objects/parse_manifests.ts";
import { identityOf, type PrunePlan, prunePlan, removalPhases, type SeenObject } from "./prune_plan.ts";

/** How many requests one file may have under way. */
export const PARALLEL_REQUESTS = 8;

/** What {@linkcode pruneObjects} and {@linkcode findObjects} take. */
export interface FindInput {
  readonly client: KubeClient;
  readonly kinds: KindCatalog;
  readonly addOn: string;
  /** Kinds of which objects may be there. */
  readonly search: readonly ObjectKind[];
  readonly signal: AbortSignal;
}

/** Every object on the server with the AddOn's label. */
export async function findObjects(
  { client, kinds, addOn, search, signal }: FindInput,
): Promise<readonly SeenObject[]> {
  const labelSelector = `${SET_HASH_LABEL}=${ownershipMarks(addOn).labels[SET_HASH_LABEL]}`;
  const seen: SeenObject[] = [];
  // At once: a list waits until the API server's cache has caught up with all that was written, tens of milliseconds each.
  await inParallel(search, PARALLEL_REQUESTS, async (kind) => {
    const type = await kinds.find(kind, { signal });
    // A kind that the server no longer has took its objects along.
    if (type === undefined || type.verbs?.includes("list") === false) return;
    const { items } = await client.list(type, { labelSelector, signal });
    seen.push(...items.map((object) => ({ type, object })));
  });
  return seen;
}

/** Removes the AddOn's objects that are not among `applied`; the result says what went and what stayed. */
export async function pruneObjects(
  input: FindInput & {
    readonly applied: readonly SeenObject[];
    readonly logger: Logger;
    /** Objects of other files; asked only if something is to go. */
    readonly claims: () => Promise<readonly ManifestObject[]>;
  },
): Promise<PrunePlan> {
  const { addOn, applied, logger } = input;
  let claims: readonly ManifestObject[] = [];
  const planFor = (seen: readonly SeenObject[]): PrunePlan =>
    prunePlan({
      addOn,
      seen,
      claims,
      wanted: new Set(applied.map(identityOf)),
      wantedUids: new Set(applied.map(({ object }) => object.metadata?.uid ?? "")),
    });
  const found = await findObjects(input);
  let plan = planFor(found);
  if (plan.remove.length + plan.keep.length > 0) {
    claims = await input.claims();
    plan = planFor(found);
  }
  for (const phase of removalPhases(plan.remove)) {
    await inParallel(phase, PARALLEL_REQUESTS, async (seen) => {
      const isGone = await removeUnchanged(input, { seen, isStillGoing: (now) => planFor([now]).remove.length > 0 });
      const fields = { addOn, kind: seen.type.kind, name: objectKey(seen.object) };
      logger.debug(isGone ? "Pruned object" : "Left object that has another owner now", fields);
    });
  }
  if (plan.remove.length > 0) logger.info("Pruned objects", { addOn, objects: plan.remove.length });
  if (plan.moved.length > 0) {
    logger.info("Left objects that another file has now", { addOn, objects: plan.moved.length });
  }
  return plan;
}

/**
 * Deletes an object in the very state that was decided about: another file may take it over at any moment, and what was
 * just applied for that one must not go. Says whether the object is gone.
 */
async function removeUnchanged(
  { client, signal }: Pick<FindInput, "client" | "signal">,
  target: { readonly seen: SeenObject; readonly isStillGoing: (now: SeenObject) => boolean },
): Promise<boolean> {
  const { type } = target.seen;
  let { object } = target.seen;
  for (let attempt = 1;; attempt++) {
    const { uid, resourceVersion } = object.metadata ?? {};
    const key = keyOf(object);
    try {
      await client.delete(type, key, { signal, ...present({ uid, resourceVersion }) });
      return true;
    } catch (error) {
      if (isNotFound(error)) return true;
      if (!isConflict(error) || attempt === MAX_REMOVE_ATTEMPTS) throw error;
    }
    const now = await findObject<KubeObject>(client, type, { key, signal });
    if (now === undefined) return true;
    object = now;
    // Another object of that name shows as one that is not ours, or as ours: both are decided about anew.
    if (!target.isStillGoing({ type, object })) return false;
  }
}

/** An object whose status never rests is tried again with its file. */
const MAX_REMOVE_ATTEMPTS = 10;
