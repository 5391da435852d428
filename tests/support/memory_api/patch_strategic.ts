// Strategic merge patch (k8s.io/apimachinery `pkg/util/strategicpatch`): lists merge by key where the kind says so, and
// directives replace, delete or keep.
import { asList, asText, clone, equal, isObject, type Json, type JsonObject } from "./json.ts";
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

function order(list: Json[], wanted: Json[], key: string | undefined): Json[] {
  const rank = (item: Json): number =>
    wanted.findIndex((want) =>
      key === undefined ? equal(want, item) : isObject(want) && isObject(item) && equal(want[key], item[key])
    );
  const ranked = list.filter((item) => rank(item) >= 0).sort((a, b) => rank(a) - rank(b));
  let next = 0;
  // Items that the patch does not name stay at their places.
  return list.map((item) => rank(item) < 0 ? item : ranked[next++] ?? item);
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
      result[field] = order(asList(result[field]), wanted, shape.merge === "key" ? shape.key : undefined);
    }
  }
  return result;
}

function mergeValue(current: Json | undefined, patch: Json, options: { path: FieldPath; kind: string }): Json {
  if (isObject(patch)) return mergeMap(isObject(current) ? current : {}, patch, options);
  if (!Array.isArray(patch)) return patch;
  const shape = strategicShape(options.path, options.kind);
  if (shape.merge === "key") return mergeKeyed(asList(current), patch, { ...options, key: shape.key });
  if (shape.merge === "set") {
    const present = asList(current);
    return [...present, ...patch.filter((item) => !present.some((other) => equal(other, item)))];
  }
  return clone(patch);
}

/** `target` after the patch; shares unchanged parts with `target`. */
export function strategicPatch(target: JsonObject, patch: JsonObject, kind: string): JsonObject {
  return mergeMap(target, patch, { path: [], kind });
}
