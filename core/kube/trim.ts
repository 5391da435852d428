// Helpers that keep of an object only the fields that a decision reads, so that memory follows our own objects. Pure.
// `metadata.resourceVersion` always stays: the store compares it.
import type { ObjectMeta } from "./types.ts";

/** Labels or annotations that are kept. */
export type ChosenNames = ReadonlySet<string> | ((name: string) => boolean);

/** Names, versions and times, and the chosen labels and annotations. */
export function trimMetadata(
  metadata: ObjectMeta | undefined,
  kept: { readonly labels?: ChosenNames; readonly annotations?: ChosenNames } = {},
): ObjectMeta {
  const labels = choose(metadata?.labels, kept.labels);
  const annotations = choose(metadata?.annotations, kept.annotations);
  return {
    ...pick(metadata, ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp"]),
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** The named fields that are there. */
export function pick<T extends object, K extends keyof T>(value: T | undefined, fields: readonly K[]): Pick<T, K> {
  const result: Partial<T> = {};
  for (const field of fields) if (value?.[field] !== undefined) result[field] = value[field];
  return result as Pick<T, K>;
}

/** Whether two trimmed objects of one name say the same. */
export function sameContent(a: object | undefined, b: object | undefined): boolean {
  return withoutVersion(a) === withoutVersion(b);
}

/** Content of an object, or of its metadata alone, apart from the resource version. */
function withoutVersion(object: { readonly metadata?: object; readonly resourceVersion?: string } | undefined): string {
  if (object === undefined) return "";
  const { metadata, resourceVersion: _, ...rest } = object;
  const { resourceVersion: __, ...kept }: { readonly resourceVersion?: string } = metadata ?? {};
  return JSON.stringify([rest, kept]);
}

function choose(
  values: Readonly<Record<string, string>> | undefined,
  chosen: ChosenNames | undefined,
): Record<string, string> | undefined {
  if (chosen === undefined) return undefined;
  const isChosen = typeof chosen === "function" ? chosen : (name: string): boolean => chosen.has(name);
  const entries = Object.entries(values ?? {}).filter(([name]) => isChosen(name));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
