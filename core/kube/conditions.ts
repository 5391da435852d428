// Conditions in the status of objects, whatever their kind. Pure.

interface HasConditions<C> {
  readonly status?: { readonly conditions?: readonly C[] | undefined } | undefined;
}

/** The condition `type` of `object`. */
export function conditionOf<C extends { readonly type: string }>(
  object: HasConditions<C> | undefined,
  type: string,
): C | undefined {
  return object?.status?.conditions?.find((condition) => condition.type === type);
}

/** Whether the condition `type` of `object` is there and True. */
export function isTrue(
  object: HasConditions<{ readonly type: string; readonly status: string }> | undefined,
  type: string,
): boolean {
  return conditionOf(object, type)?.status === "True";
}
