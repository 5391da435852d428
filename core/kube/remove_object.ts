// Deletes one object, gone or not. Adapter.
import type { DeleteOptions, KubeClient, ObjectKey, ResourceType } from "./contract.ts";
import { isConflict, isNotFound } from "./errors.ts";
import type { KubeObject } from "./types.ts";

/** Deletes this object; `false` if it was gone already, or another of its name (`uid`) has taken its place. */
export async function removeObject(
  client: KubeClient,
  type: ResourceType<KubeObject>,
  { key, ...options }: DeleteOptions & { readonly key: ObjectKey },
): Promise<boolean> {
  try {
    await client.delete(type, key, options);
    return true;
  } catch (error) {
    if (isNotFound(error) || (isConflict(error) && options.uid !== undefined)) return false;
    throw error;
  }
}

/** What names exactly this object, for {@linkcode removeObject}. */
export function identityOf(object: KubeObject): { readonly key: ObjectKey; readonly uid?: string } {
  const { name = "", namespace, uid } = object.metadata ?? {};
  return { key: { name, ...(namespace === undefined ? {} : { namespace }) }, ...(uid === undefined ? {} : { uid }) };
}
