// Which fields of an object differ between what the server has and what it would have. Pure.
import { isMapping } from "../../shared/values.ts";

/** Parts of metadata that change with every write, or that only the server writes. */
const IGNORED_METADATA: ReadonlySet<string> = new Set([
  "creationTimestamp",
  "generation",
  "managedFields",
  "resourceVersion",
  "selfLink",
  "uid",
]);

/** One field that differs; `undefined` where it is absent. */
export interface ChangedField {
  /** Such as `spec.ports[0].port` or `metadata.labels["app.kubernetes.io/name"]`. */
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** The fields that differ between `before` and `after`, without status and bookkeeping, in the order of their paths. */
export function changedFields(before: unknown, after: unknown): readonly ChangedField[] {
  return [...differences(strip(before), strip(after), "")];
}

function* differences(before: unknown, after: unknown, path: string): Generator<ChangedField> {
  if (Object.is(before, after)) return;
  if (Array.isArray(before) && Array.isArray(after)) {
    for (let index = 0; index < Math.max(before.length, after.length); index++) {
      yield* differences(before[index], after[index], `${path}[${index}]`);
    }
  } else if (isMapping(before) && isMapping(after)) {
    for (const key of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()) {
      yield* differences(before[key], after[key], joinPath(path, key));
    }
  } else {
    yield { path, before, after };
  }
}

function strip(object: unknown): unknown {
  if (!isMapping(object)) return object;
  const { status: _, metadata, ...rest } = object;
  if (!isMapping(metadata)) return rest;
  const kept = Object.entries(metadata).filter(([field]) => !IGNORED_METADATA.has(field));
  return { ...rest, metadata: Object.fromEntries(kept) };
}

function joinPath(path: string, key: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === "" ? key : `${path}.${key}`;
}
