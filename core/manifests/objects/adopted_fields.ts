// Taking fields over from K3s's deployer. It writes as `deploy@NODE` by updates; without this, a field that later leaves the
// file would stay for ever, because server-side apply removes only what its own manager has applied. Pure.
import { FIELD_MANAGER } from "../../kube/contract.ts";
import type { ObjectMeta } from "../../kube/types.ts";

type ManagedFields = NonNullable<ObjectMeta["managedFields"]>;
type ManagedFieldsEntry = ManagedFields[number];

/** `managedFields` with K3s's entries made this program's own; `undefined` if K3s has none. */
export function adoptedFields(managedFields: ManagedFields | undefined): ManagedFields | undefined {
  const theirs = managedFields?.filter(isOfK3s) ?? [];
  const [first] = theirs;
  if (first === undefined || managedFields === undefined) return undefined;
  // The next apply writes what this program has applied so far anyway, so its present entry can go.
  const others = managedFields.filter((entry) => !isOfK3s(entry) && !isOwn(entry));
  const fieldsV1 = theirs.map(({ fieldsV1 }) => fieldsV1 ?? {}).reduce(mergeFields);
  return [...others, { ...first, manager: FIELD_MANAGER, operation: "Apply", fieldsV1 }];
}

function isOfK3s({ manager, operation, subresource }: ManagedFieldsEntry): boolean {
  return operation === "Update" && (manager ?? "").startsWith("deploy@") && (subresource ?? "") === "";
}

function isOwn({ manager, operation, subresource }: ManagedFieldsEntry): boolean {
  return operation === "Apply" && manager === FIELD_MANAGER && (subresource ?? "") === "";
}

/** Field sets are nested mappings; the union has the keys of both. */
function mergeFields(one: object, other: object): object {
  const merged: Record<string, object> = { ...one } as Record<string, object>;
  for (const [key, fields] of Object.entries(other) as [string, object][]) {
    merged[key] = mergeFields(merged[key] ?? {}, fields);
  }
  return merged;
}
