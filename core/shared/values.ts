// Questions about values of unknown type. Pure.

/** Whether `value` is an object with named fields: no list, no `null`. */
export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
