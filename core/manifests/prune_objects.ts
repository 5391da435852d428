// Carries a prune plan out: finds the objects with an AddOn's label, removes what its file no longer has.
// What goes and what stays is decided in prune_plan.ts.
import type { KubeClient, ResourceType } from "../kube/contract.ts";
import { isConflict, isNotFound } from "../kube/errors.ts";
import type { KubeObject } from "../kube/types.ts";
import type { Logger } from "../shared/log.ts";
import { type ObjectKind, ownershipMarks, SET_HASH_LABEL } from "./addon.ts";
import { inParallel, PARALLEL_REQUESTS } from "./in_parallel.ts";
import type { KindCatalog } from "./kind_catalog.ts";
import { objectIdentity, type PrunePlan, prunePlan, removalPhases, type SeenObject } from "./prune_plan.ts";

/** What {@linkcode pruneObjects} and {@linkcode findObjects} take. */
export interface FindInput {
  readonly client: KubeClient;
  readonly kinds: KindCatalog;
  readonly addOn: string;
  /** Kinds of which objects may be there. */
  readonly search: readonly ObjectKind[];
  readonly signal?: AbortSignal;
}

/** Every object on the server with the AddOn's label. */
export async function findObjects(input: FindInput): Promise<readonly SeenObject[]> {
  const labelSelector = `${SET_HASH_LABEL}=${ownershipMarks(input.addOn).labels[SET_HASH_LABEL]}`;
  const call = input.signal === undefined ? {} : { signal: input.signal };
  const seen: SeenObject[] = [];
  // At once: a list waits until the API server's cache has caught up with all that was written, tens of milliseconds each.
  await inParallel(input.search, PARALLEL_REQUESTS, async (kind) => {
    const type = await input.kinds.find(kind, call);
    // A kind that the server no longer has took its objects along.
    if (type === undefined || type.verbs?.includes("list") === false) return;
    const { items } = await input.client.list(type, { labelSelector, ...call });
    seen.push(...items.map((object) => ({ type, object })));
  });
  return seen;
}

/** Removes the AddOn's objects that are not among `applied`; the result says what went and what stayed. */
export async function pruneObjects(
  input: FindInput & { readonly applied: readonly SeenObject[]; readonly logger: Logger },
): Promise<PrunePlan> {
  const { client, addOn, applied, logger } = input;
  const plan = prunePlan({
    addOn,
    seen: await findObjects(input),
    wanted: new Set(applied.map(identityOf)),
    wantedUids: new Set(applied.map(({ object }) => object.metadata?.uid ?? "")),
  });
  for (const phase of removalPhases(plan.remove)) {
    await inParallel(phase, PARALLEL_REQUESTS, async ({ type, object }) => {
      await removeObject(client, { type, object, ...(input.signal === undefined ? {} : { signal: input.signal }) });
      logger.debug("pruned object", { addOn, kind: type.kind, name: nameOf(object) });
    });
  }
  if (plan.remove.length > 0) logger.info("pruned objects", { addOn, objects: plan.remove.length });
  return plan;
}

/** Deletes exactly this object; one that is gone already, or was replaced by another of its name, is left alone. */
export async function removeObject(
  client: KubeClient,
  target: { readonly type: ResourceType<KubeObject>; readonly object: KubeObject; readonly signal?: AbortSignal },
): Promise<void> {
  const { name = "", namespace, uid } = target.object.metadata ?? {};
  try {
    await client.delete(target.type, { name, ...(namespace === undefined ? {} : { namespace }) }, {
      ...(target.signal === undefined ? {} : { signal: target.signal }),
      ...(uid === undefined ? {} : { uid }),
    });
  } catch (error) {
    if (!isNotFound(error) && !isConflict(error)) throw error;
  }
}

/** `namespace/name`, or the name of a cluster-wide object. */
export function nameOf(object: KubeObject): string {
  const { namespace, name = "" } = object.metadata ?? {};
  return namespace === undefined ? name : `${namespace}/${name}`;
}

function identityOf({ type, object }: SeenObject): string {
  return objectIdentity(type, { namespace: object.metadata?.namespace ?? "", name: object.metadata?.name ?? "" });
}
