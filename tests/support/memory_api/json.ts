// JSON values as the server keeps them. Stored objects are never changed in place: whoever edits takes a clone first.

/** Any JSON value. */
export type Json = null | boolean | number | string | Json[] | JsonObject;
/** A JSON mapping. */
export interface JsonObject {
  [field: string]: Json;
}

/** Whether `value` is a mapping. */
export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `value` if it is a mapping, else an empty one that belongs to nobody. */
export function asObject(value: Json | undefined): JsonObject {
  return isObject(value) ? value : {};
}

/** `value` if it is a list, else an empty one. */
export function asList(value: Json | undefined): Json[] {
  return Array.isArray(value) ? value : [];
}

/** `value` if it is a text, else an empty one. */
export function asText(value: Json | undefined): string {
  return typeof value === "string" ? value : "";
}

/** What stands at `path`, or nothing. */
export function at(value: Json | undefined, ...path: readonly string[]): Json | undefined {
  let here: Json | undefined = value;
  for (const field of path) {
    if (!isObject(here) || !Object.hasOwn(here, field)) return undefined;
    here = here[field];
  }
  return here;
}

/** The mapping at `path`, made if missing. Changes `value`. */
export function ensureObject(value: JsonObject, ...path: readonly string[]): JsonObject {
  let here = value;
  for (const field of path) {
    const next = here[field];
    if (isObject(next)) here = next;
    else here = here[field] = {};
  }
  return here;
}

/** A copy that shares nothing. */
export function clone<T extends Json>(value: T): T {
  if (Array.isArray(value)) return value.map((item) => clone(item)) as T;
  if (!isObject(value)) return value;
  const copy: JsonObject = {};
  for (const [field, item] of Object.entries(value)) copy[field] = clone(item);
  return copy as T;
}

/** Deep equality; the order of fields does not count. */
export function equal(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a)) {
    return Array.isArray(b) && a.length === b.length && a.every((item, index) => equal(item, b[index]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const fields = Object.keys(a);
  return fields.length === Object.keys(b).length &&
    fields.every((field) => Object.hasOwn(b, field) && equal(a[field], b[field]));
}

/** A copy without fields that are null, as decoding into the server's own types has it. */
export function withoutNulls<T extends Json>(value: T): T {
  if (Array.isArray(value)) return value.map((item) => withoutNulls(item)) as T;
  if (!isObject(value)) return value;
  const copy: JsonObject = {};
  for (const [field, item] of Object.entries(value)) if (item !== null) copy[field] = withoutNulls(item);
  return copy as T;
}

/** Text with sorted fields, for keys and hashes. */
export function canonical(value: Json | undefined): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonical(item)).join(",")}]`;
  if (!isObject(value)) return JSON.stringify(value ?? null);
  const fields = Object.keys(value).sort();
  return `{${fields.map((field) => `${JSON.stringify(field)}:${canonical(value[field])}`).join(",")}}`;
}
