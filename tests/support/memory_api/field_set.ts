// Sets of fields as `managedFields` has them (FieldsV1: `f:name`, `k:{"key":value}`, `v:value`, `.` for the thing itself),
// and the walks that make them (sigs.k8s.io/structured-merge-diff `fieldpath`, `typed`).
import { asList, canonical, equal, isObject, type Json, type JsonObject } from "./json.ts";
import type { ApplySchema, FieldPath, ListShape } from "./schema.ts";

/** A tree of path elements; `member` says that the path itself is in the set. */
export interface FieldSet {
  member: boolean;
  readonly children: Map<string, FieldSet>;
}

/** A new empty set. */
export function emptySet(): FieldSet {
  return { member: false, children: new Map() };
}

/** Set of a FieldsV1 object. */
export function parseFields(fields: Json | undefined): FieldSet {
  const set = emptySet();
  if (!isObject(fields)) return set;
  for (const [element, below] of Object.entries(fields)) {
    if (element === ".") continue;
    const child = parseFields(below);
    child.member = !isObject(below) || Object.keys(below).length === 0 || Object.hasOwn(below, ".");
    set.children.set(element, child);
  }
  return set;
}

/** FieldsV1 object of a set. */
export function renderFields(set: FieldSet): JsonObject {
  const fields: JsonObject = {};
  for (const element of [...set.children.keys()].sort()) {
    const child = set.children.get(element);
    if (child === undefined) continue;
    const below = renderFields(child);
    fields[element] = child.member && child.children.size > 0 ? { ".": {}, ...below } : below;
  }
  return fields;
}

/** Whether nothing is in the set. */
export function isEmptySet(set: FieldSet): boolean {
  return !set.member && [...set.children.values()].every(isEmptySet);
}

/** Adds one path. */
export function insertPath(set: FieldSet, path: readonly string[]): void {
  let here = set;
  for (const element of path) {
    let next = here.children.get(element);
    if (next === undefined) here.children.set(element, next = emptySet());
    here = next;
  }
  here.member = true;
}

/** Every path in the set, parents first. */
export function pathsOf(set: FieldSet, prefix: readonly string[] = []): string[][] {
  const paths: string[][] = set.member && prefix.length > 0 ? [[...prefix]] : [];
  for (const [element, child] of set.children) paths.push(...pathsOf(child, [...prefix, element]));
  return paths;
}

function combine(
  a: FieldSet | undefined,
  b: FieldSet | undefined,
  keep: (a: boolean, b: boolean) => boolean,
): FieldSet {
  const result: FieldSet = { member: keep(a?.member ?? false, b?.member ?? false), children: new Map() };
  for (const element of new Set([...(a?.children.keys() ?? []), ...(b?.children.keys() ?? [])])) {
    const child = combine(a?.children.get(element), b?.children.get(element), keep);
    if (!isEmptySet(child)) result.children.set(element, child);
  }
  return result;
}

/** What is in either. */
export function union(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (x, y) => x || y);
}

/** What is in both. */
export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (x, y) => x && y);
}

/** What is in `a` only. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  return combine(a, b, (x, y) => x && !y);
}

/** Whether both hold the same paths. */
export function sameSet(a: FieldSet, b: FieldSet): boolean {
  return equal(renderFields(a), renderFields(b));
}

/** The set below a path, if there is one. */
export function subset(set: FieldSet, path: readonly string[]): FieldSet | undefined {
  let here: FieldSet | undefined = set;
  for (const element of path) here = here?.children.get(element);
  return here;
}

/** Path element of a list item, by the list's shape. */
export function itemElement(shape: ListShape, item: Json): string {
  if (shape.type !== "map") return `v:${JSON.stringify(item)}`;
  const keys: JsonObject = {};
  for (const key of [...shape.keys].sort()) {
    const value = isObject(item) ? item[key] ?? shape.defaults?.[key] : undefined;
    if (value !== undefined) keys[key] = value;
  }
  return `k:${canonical(keys)}`;
}

interface Walk {
  readonly schema: ApplySchema;
  readonly fields: FieldPath;
  readonly elements: readonly string[];
}

function intoField(walk: Walk, field: string): Walk {
  return { schema: walk.schema, fields: [...walk.fields, field], elements: [...walk.elements, `f:${field}`] };
}

function intoItem(walk: Walk, element: string): Walk {
  return { ...walk, elements: [...walk.elements, element] };
}

function collect(value: Json, walk: Walk, set: FieldSet): void {
  if (Array.isArray(value)) {
    const shape = walk.schema.list(walk.fields);
    if (shape.type === "atomic") return insertPath(set, walk.elements);
    for (const item of value) {
      const inner = intoItem(walk, itemElement(shape, item));
      if (shape.type === "map") collect(item, inner, set);
      insertPath(set, inner.elements);
    }
    return;
  }
  if (!isObject(value)) return insertPath(set, walk.elements);
  if (walk.fields.length > 0 && walk.schema.isAtomicMap(walk.fields)) return insertPath(set, walk.elements);
  for (const [field, item] of Object.entries(value)) {
    const inner = intoField(walk, field);
    collect(item, inner, set);
    const isEmpty = item === null || (isObject(item) && Object.keys(item).length === 0);
    if (isEmpty || !walk.schema.isDeclared(inner.fields)) insertPath(set, inner.elements);
  }
}

/** The fields that an object sets. */
export function fieldsOf(object: JsonObject, schema: ApplySchema): FieldSet {
  const set = emptySet();
  collect(object, { schema, fields: [], elements: [] }, set);
  return set;
}

/** How one object differs from another. */
export interface Comparison {
  readonly added: FieldSet;
  readonly changed: FieldSet;
  readonly removed: FieldSet;
}

function differ(left: Json | undefined, right: Json | undefined, context: { walk: Walk; found: Comparison }): void {
  const { walk, found } = context;
  if (left === undefined && right === undefined) return;
  const note = (isLeaf: boolean): void => {
    if (!isLeaf && walk.schema.isAlwaysThere(walk.fields) && walk.elements.at(-1)?.startsWith("f:") === true) return;
    if (left === undefined) insertPath(found.added, walk.elements);
    else if (right === undefined) insertPath(found.removed, walk.elements);
    else if (isLeaf && !equal(left, right)) insertPath(found.changed, walk.elements);
  };
  const sample = right ?? left;
  const list = Array.isArray(sample) ? walk.schema.list(walk.fields) : undefined;
  const isLeaf = list === undefined
    ? !isObject(sample) || (walk.fields.length > 0 && walk.schema.isAtomicMap(walk.fields))
    : list.type === "atomic";
  if (isLeaf) return note(true);
  if (list !== undefined) {
    const byElement = (items: Json[]): Map<string, Json> =>
      new Map(items.map((item) => [itemElement(list, item), item]));
    const lefts = byElement(asList(left));
    const rights = byElement(asList(right));
    for (const element of new Set([...lefts.keys(), ...rights.keys()])) {
      differ(lefts.get(element), rights.get(element), { walk: intoItem(walk, element), found });
    }
  } else {
    const lefts = isObject(left) ? left : {};
    const rights = isObject(right) ? right : {};
    for (const field of new Set([...Object.keys(lefts), ...Object.keys(rights)])) {
      differ(lefts[field], rights[field], { walk: intoField(walk, field), found });
    }
  }
  if (walk.elements.length > 0) note(false);
}

/** What has to be added, changed and removed to get from `left` to `right`. */
export function compare(left: JsonObject, right: JsonObject, schema: ApplySchema): Comparison {
  const found: Comparison = { added: emptySet(), changed: emptySet(), removed: emptySet() };
  differ(left, right, { walk: { schema, fields: [], elements: [] }, found });
  return found;
}
