// Who owns which field: `metadata.managedFields` after an update, and server-side apply with its conflicts
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/, sigs.k8s.io/structured-merge-diff `merge`).
import { asList, asObject, asText, clone, equal, isObject, type Json, type JsonObject } from "./json.ts";
import { type ApplySchema, applySchema, type FieldPath } from "./schema.ts";
import { apiVersion, type Resource } from "./resources.ts";
import type { ApiObject } from "./store.ts";
import {
  compare,
  difference,
  emptySet,
  type FieldSet,
  fieldsOf,
  insertPath,
  intersection,
  isEmptySet,
  itemElement,
  parseFields,
  pathsOf,
  renderFields,
  sameSet,
  subset,
  union,
} from "./field_set.ts";
import { StatusError } from "./status_error.ts";

/** Who writes, and which part. */
export interface Writer {
  readonly manager: string;
  readonly subresource: string;
  /** RFC 3339, whole seconds. */
  readonly now: string;
}

interface Owner {
  readonly entry: JsonObject;
  readonly set: FieldSet;
}

/** Fields that belong to the server. */
const UNOWNED: readonly (readonly string[])[] = [
  ["f:apiVersion"],
  ["f:kind"],
  ["f:metadata", "f:name"],
  ["f:metadata", "f:generateName"],
  ["f:metadata", "f:namespace"],
  ["f:metadata", "f:uid"],
  ["f:metadata", "f:creationTimestamp"],
  ["f:metadata", "f:deletionTimestamp"],
  ["f:metadata", "f:deletionGracePeriodSeconds"],
  ["f:metadata", "f:generation"],
  ["f:metadata", "f:managedFields"],
  ["f:metadata", "f:resourceVersion"],
  ["f:metadata", "f:selfLink"],
];
const GENERATED_NAME: readonly string[] = ["f:metadata", "f:generateName"];

function ownable(set: FieldSet, options: { isApply: boolean }): FieldSet {
  const gone = emptySet();
  for (const path of UNOWNED) {
    if (path === GENERATED_NAME && !options.isApply) continue;
    insertPath(gone, path);
  }
  return difference(set, gone);
}

function ownersOf(object: ApiObject | undefined): Owner[] {
  return asList(object?.metadata["managedFields"]).map((entry) => ({
    entry: asObject(entry),
    set: parseFields(asObject(entry)["fieldsV1"]),
  }));
}

function isOwner(entry: JsonObject, wanted: { writer: Writer; operation: string; version: string }): boolean {
  return entry["manager"] === wanted.writer.manager && entry["operation"] === wanted.operation &&
    asText(entry["subresource"]) === wanted.writer.subresource &&
    (wanted.operation === "Apply" || entry["apiVersion"] === wanted.version);
}

function entryOf(set: FieldSet, options: { writer: Writer; operation: string; version: string }): JsonObject {
  const { writer, operation, version } = options;
  const entry: JsonObject = {
    manager: writer.manager,
    operation,
    apiVersion: version,
    time: writer.now,
    fieldsType: "FieldsV1",
    fieldsV1: renderFields(set),
  };
  if (writer.subresource !== "") entry["subresource"] = writer.subresource;
  return entry;
}

function withOwners(object: ApiObject, owners: readonly Owner[]): ApiObject {
  const entries = owners.filter((owner) => !isEmptySet(owner.set)).map((owner): Json => owner.entry);
  entries.sort((a, b) => rank(asObject(a)) < rank(asObject(b)) ? -1 : 1);
  const metadata = { ...object.metadata };
  if (entries.length > 0) metadata["managedFields"] = entries;
  else delete metadata["managedFields"];
  return { ...object, metadata };
}

function rank(entry: JsonObject): string {
  return [entry["operation"], entry["time"], entry["manager"], entry["apiVersion"], entry["subresource"] ?? ""].join(
    " ",
  );
}

function shrink(owner: Owner, gone: FieldSet): Owner {
  const set = difference(owner.set, gone);
  return sameSet(set, owner.set) ? owner : { set, entry: { ...owner.entry, fieldsV1: renderFields(set) } };
}

function bare(object: ApiObject | undefined): JsonObject {
  if (object === undefined) return {};
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** Notes who changed what by an update, a create or a patch. `next.metadata.managedFields` on arrival does not count, an empty list resets. */
export function trackUpdate(
  live: ApiObject | undefined,
  next: ApiObject,
  context: { readonly resource: Resource; readonly writer: Writer },
): ApiObject {
  const { resource, writer } = context;
  const version = apiVersion(resource);
  const wanted = { writer, operation: "Update", version };
  const seen = compare(bare(live), bare(next), applySchema(resource));
  const touched = union(seen.added, seen.changed);
  const gone = union(touched, seen.removed);
  const given = next.metadata["managedFields"];
  const isReset = live !== undefined && Array.isArray(given) && (given.length === 0 || equal(given, [{}]));
  const owners = isReset ? [] : ownersOf(live);
  const own = owners.find((owner) => isOwner(owner.entry, wanted));
  const set = difference(ownable(union(own?.set ?? emptySet(), touched), { isApply: false }), seen.removed);
  const others = owners.filter((owner) => owner !== own).map((owner) => shrink(owner, gone));
  if (isReset && isEmptySet(gone)) return withOwners(next, []);
  const mine = isEmptySet(gone) ? own : { set, entry: entryOf(set, wanted) };
  return withOwners(next, mine === undefined ? others : [...others, mine]);
}

function mergeApplied(live: Json | undefined, applied: Json, place: { schema: ApplySchema; fields: FieldPath }): Json {
  const { schema, fields } = place;
  if (Array.isArray(applied)) {
    const shape = schema.list(fields);
    if (shape.type === "atomic" || !Array.isArray(live)) return clone(applied);
    const result = [...live];
    for (const item of applied) {
      const element = itemElement(shape, item);
      const index = result.findIndex((other) => itemElement(shape, other) === element);
      if (index < 0) result.push(clone(item));
      else result[index] = mergeApplied(result[index], item, place);
    }
    return orderAsApplied(result, applied, (item) => itemElement(shape, item));
  }
  if (!isObject(applied)) return applied;
  if (!isObject(live) || (fields.length > 0 && schema.isAtomicMap(fields))) return clone(applied);
  const result: JsonObject = { ...live };
  for (const [field, value] of Object.entries(applied)) {
    result[field] = mergeApplied(result[field], value, { schema, fields: [...fields, field] });
  }
  return result;
}

/** Items that were applied stand in the order in which they were applied; others stay before what followed them. */
function orderAsApplied(merged: Json[], applied: Json[], element: (item: Json) => string): Json[] {
  const wanted = new Map(applied.map((item, index) => [element(item), index]));
  const sorted = merged.filter((item) => wanted.has(element(item)))
    .sort((a, b) => (wanted.get(element(a)) ?? 0) - (wanted.get(element(b)) ?? 0));
  let next = 0;
  return merged.map((item) => wanted.has(element(item)) ? sorted[next++] ?? item : item);
}

/** Removes what stands at a path of elements, if it is there. Returns the changed copy. */
function removeAt(value: Json, path: readonly string[], place: { schema: ApplySchema; fields: FieldPath }): Json {
  const [element = "", ...rest] = path;
  const { schema, fields } = place;
  if (element.startsWith("f:")) {
    const field = element.slice(2);
    if (!isObject(value) || !Object.hasOwn(value, field)) return value;
    const copy = { ...value };
    if (rest.length === 0) delete copy[field];
    else copy[field] = removeAt(copy[field] ?? null, rest, { schema, fields: [...fields, field] });
    return copy;
  }
  if (!Array.isArray(value)) return value;
  const shape = schema.list(fields);
  return value.flatMap((item) => {
    if (itemElement(shape, item) !== element) return [item];
    return rest.length === 0 ? [] : [removeAt(item, rest, place)];
  });
}

/**
 * Every path of a set together with the fields above them. Parents come first: an item whose keys were removed before
 * it could no longer be found.
 */
function withParents(set: FieldSet, prefix: readonly string[] = []): string[][] {
  const paths: string[][] = [];
  const last = prefix.at(-1);
  if (last !== undefined && (set.member || last.startsWith("f:"))) paths.push([...prefix]);
  for (const [element, child] of set.children) paths.push(...withParents(child, [...prefix, element]));
  return paths;
}

function displayPath(path: readonly string[]): string {
  return path.map((element) => {
    if (element.startsWith("f:")) return `.${element.slice(2)}`;
    if (element.startsWith("v:")) return `[=${element.slice(2)}]`;
    const keys = asObject(JSON.parse(element.slice(2)) as Json);
    return `[${Object.entries(keys).map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(",")}]`;
  }).join("");
}

function ownerName(entry: JsonObject): string {
  let name = JSON.stringify(asText(entry["manager"]));
  if (entry["subresource"] !== undefined) name += ` with subresource ${JSON.stringify(entry["subresource"])}`;
  if (entry["operation"] !== "Update") return name;
  return `${name} using ${asText(entry["apiVersion"])}`;
}

function conflictError(conflicts: readonly { readonly entry: JsonObject; readonly path: string[] }[]): StatusError {
  const byOwner = new Map<string, string[]>();
  for (const { entry, path } of conflicts) {
    const name = ownerName(entry);
    byOwner.set(name, [...(byOwner.get(name) ?? []), displayPath(path)]);
  }
  const lines = [...byOwner].sort(([a], [b]) => a < b ? -1 : 1).map(([name, fields]) =>
    fields.length === 1
      ? `conflict with ${name}: ${fields[0] ?? ""}`
      : [`conflicts with ${name}:`, ...fields.map((field) => `- ${field}`)].join("\n")
  );
  const count = conflicts.length;
  return new StatusError(409, "Conflict", {
    message: `Apply failed with ${count} conflict${count === 1 ? "" : "s"}: ${lines.join("\n")}`,
    details: {
      causes: conflicts.map(({ entry, path }): Json => ({
        reason: "FieldManagerConflict",
        message: `conflict with ${ownerName(entry)}`,
        field: displayPath(path),
      })),
    },
  });
}

/** What to leave out of the applied fields: the parts that this endpoint does not write. */
function resetFields(set: FieldSet, context: { resource: Resource; writer: Writer }): FieldSet {
  const { resource, writer } = context;
  if (!resource.subresources.includes("status")) return set;
  const kept = emptySet();
  for (const path of pathsOf(set)) {
    const isStatus = path[0] === "f:status";
    if (writer.subresource === "status" ? isStatus || (path[0] === "f:metadata" && !resource.custom) : !isStatus) {
      insertPath(kept, path);
    }
  }
  return kept;
}

/**
 * Server-side apply: the live object (if any) with the applied one laid over it, fields removed that only this manager
 * had applied before, and the owners noted.
 *
 * @throws {StatusError} 409 if others own fields that would change and `force` is false.
 */
export function applyObject(
  live: ApiObject | undefined,
  applied: ApiObject,
  context: { readonly resource: Resource; readonly writer: Writer; readonly force: boolean },
): ApiObject {
  const { resource, writer, force } = context;
  const schema = applySchema(resource);
  const wanted = { writer, operation: "Apply", version: apiVersion(resource) };
  const owners = ownersOf(live);
  const own = owners.find((owner) => isOwner(owner.entry, wanted));
  const others = owners.filter((owner) => owner !== own);
  const named = fieldsOf(bare(applied), schema);
  const set = resetFields(ownable(named, { isApply: true }), context);

  const base = bare(live);
  let merged = mergeApplied(base, bare(applied), { schema, fields: [] });
  for (const path of withParents(own?.set ?? emptySet())) {
    const isKept = [named, ...others.map((owner) => owner.set)].some((other) => {
      const below = subset(other, path);
      return below !== undefined && !isEmptySet(below);
    });
    if (!isKept) merged = removeAt(merged, path, { schema, fields: [] });
  }

  const next = merged as ApiObject;
  const seen = compare(base, next, schema);
  const touched = resetFields(union(seen.added, seen.changed), context);
  const conflicts = others.flatMap((owner) =>
    pathsOf(intersection(owner.set, touched)).map((path) => ({ entry: owner.entry, path }))
  );
  if (conflicts.length > 0 && !force) throw conflictError(conflicts);
  const left = others.map((owner) => shrink(owner, union(touched, resetFields(seen.removed, context))));
  const isSame = own !== undefined && sameSet(own.set, set) && equal(base, next);
  return withOwners(next, [...left, isSame ? own : { set, entry: entryOf(set, wanted) }]);
}
