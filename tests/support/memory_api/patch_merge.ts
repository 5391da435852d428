// JSON merge patch (RFC 7386).
import { clone, isObject, type Json, type JsonObject } from "./json.ts";

/** `target` with the patch laid over it: null removes, mappings merge, the rest replaces. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return clone(patch);
  const result: JsonObject = isObject(target) ? { ...target } : {};
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete result[field];
    else result[field] = mergePatch(result[field], value);
  }
  return result;
}
