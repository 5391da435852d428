// Requests about one object that may be there or not. Adapter.
import { present } from "../shared/values.ts";
import type { CallOptions, DeleteOptions, KubeClient, ObjectKey, ResourceType } from "./contract.ts";
import { isConflict, isForbidden, isNotFound } from "./errors.ts";
import type { KubeObject } from "./types.ts";

/** The object; `undefined` if it, or its kind, is not there. */
export function findObject<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  { key, ...options }: CallOptions & { readonly key: ObjectKey },
): Promise<T | undefined> {
  return orAbsent(client.get(type, key, options));
}

/** What `answer` resolves with; `undefined` if it fails with an error that one of `questions` says yes to. */
export async function orAbsent<T>(
  answer: Promise<T>,
  questions: readonly ((error: unknown) => boolean)[] = [isNotFound],
): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (questions.some((question) => question(error))) return undefined;
    throw error;
  }
}

/** What `answer` resolves with; `undefined` if what it asks for, or the right to see it, is not there. */
export function orUnreadable<T>(answer: Promise<T>): Promise<T | undefined> {
  return orAbsent(answer, [isNotFound, isForbidden]);
}

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

/** Where the object is. */
export function keyOf({ metadata }: KubeObject): ObjectKey {
  const { name = "", namespace } = metadata ?? {};
  return present({ name, namespace });
}

/** What names exactly this object, for {@linkcode removeObject}. */
export function identityOf(object: KubeObject): { readonly key: ObjectKey; readonly uid?: string } {
  return present({ key: keyOf(object), uid: object.metadata?.uid });
}
