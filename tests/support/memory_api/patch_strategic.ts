// Strategic merge patch (k8s.io/apimachinery `pkg/util/strategicpatch`): lists merge by key where the kind says so, and
// directives replace, delete or keep.
import { asList, asText, canonical, clone, equal, isObject, type Json, type JsonObject } from "./json.ts";
import { type FieldPath, strategicShape } from "./schema.ts";

const DELETE_PRIMITIVES = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER = "$setElementOrder/";

function mergeKeyed(current: Json[], patch: Json[], options: { path: FieldPath; kind: string; key: string }): Json[] {
  const { path, kind, key } = options;
  if (patch.some((item) => isObject(item) && item["$patch"] === "replace" && item[key] === undefined)) {
    return clone(patch.filter((item) => !(isObject(item) && item["$patch"] === "replace")));
  }
  const result = [...current];
  for (const item of patch) {
    if (!isObject(item)) continue;
    const index = result.findIndex((other) => isObject(other) && equal(other[key], item[key]));
    if (item["$patch"] === "delete") {
      if (index >= 0) result.splice(index, 1);
      continue;
    }
    if (index < 0) result.push(mergeMap({}, item, { path, kind }));
    else result[index] = mergeMap(result[index] as JsonObject, item, { path, kind });
  }
  return result;
}

/** How to tell items of one list apart. */
function identity(key: string | undefined): (item: Json) => string {
  return (item) => canonical(key === undefined || !isObject(item) ? item : item[key]);
}

/**
 * The merged list in the server's order: items of the patch as the patch has them, the others where they stood relative
 * to those; new items come before what they can't be compared with.
 */
function order(merged: Json[], lists: { wanted: Json[]; before: Json[]; id: (item: Json) => string }): Json[] {
  const { id } = lists;
  const wanted = lists.wanted.map(id);
  const before = lists.before.map(id);
  const named = merged.filter((item) => wanted.includes(id(item))).sort((a, b) =>
    wanted.indexOf(id(a)) - wanted.indexOf(id(b))
  );
  const others = merged.filter((item) => !wanted.includes(id(item))).sort((a, b) =>
    before.indexOf(id(a)) - before.indexOf(id(b))
  );
  const result: Json[] = [];
  while (named.length > 0 || others.length > 0) {
    const [left, right] = [others[0], named[0]];
    const leftPlace = left === undefined ? -1 : before.indexOf(id(left));
    const rightPlace = right === undefined ? Infinity : before.indexOf(id(right));
    const isLeft = right === undefined ||
      (left !== undefined && leftPlace >= 0 && rightPlace >= 0 && leftPlace < rightPlace);
    const next = isLeft ? others.shift() : named.shift();
    if (next !== undefined) result.push(next);
  }
  return result;
}

function mergeMap(current: JsonObject, patch: JsonObject, options: { path: FieldPath; kind: string }): JsonObject {
  const { path, kind } = options;
  if (patch["$patch"] === "replace") {
    const { $patch: _, ...rest } = patch;
    return clone(rest);
  }
  if (patch["$patch"] === "delete") return {};
  const result: JsonObject = { ...current };
  const orders: [string, Json[]][] = [];
  for (const [field, value] of Object.entries(patch)) {
    if (field === "$patch") continue;
    if (field === "$retainKeys") {
      const kept = new Set(asList(value).map((item) => asText(item)));
      for (const name of Object.keys(result)) if (!kept.has(name)) delete result[name];
    } else if (field.startsWith(DELETE_PRIMITIVES)) {
      const name = field.slice(DELETE_PRIMITIVES.length);
      const gone = asList(value);
      result[name] = asList(result[name]).filter((item) => !gone.some((other) => equal(other, item)));
    } else if (field.startsWith(ELEMENT_ORDER)) {
      orders.push([field.slice(ELEMENT_ORDER.length), asList(value)]);
    } else if (value === null) delete result[field];
    else result[field] = mergeValue(result[field], value, { path: [...path, field], kind });
  }
  for (const [field, wanted] of orders) {
    const shape = strategicShape([...path, field], kind);
    if (Array.isArray(result[field])) {
      const id = identity(shape.merge === "key" ? shape.key : undefined);
      result[field] = order(asList(result[field]), { wanted, before: asList(current[field]), id });
    }
  }
  return result;
}

function mergeValue(current: Json | undefined, patch: Json, options: { path: FieldPath; kind: string }): Json {
  if (isObject(patch)) return mergeMap(isObject(current) ? current : {}, patch, options);
  if (!Array.isArray(patch)) return patch;
  const shape = strategicShape(options.path, options.kind);
  const before = asList(current);
  if (shape.merge === "key") {
    const merged = mergeKeyed(before, patch, { ...options, key: shape.key });
    return order(merged, { wanted: patch, before, id: identity(shape.key) });
  }
  if (shape.merge === "set") {
    const merged = [...before, ...patch.filter((item) => !before.some((other) => equal(other, item)))];
    return order(merged, { wanted: patch, before, id: identity(undefined) });
  }
  return clone(patch);
}

/** `target` after the patch; shares unchanged parts with `target`. */
export function strategicPatch(target: JsonObject, patch: JsonObject, kind: string): JsonObject {
  return mergeMap(target, patch, { path: [], kind });
}
