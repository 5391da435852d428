// What applying an object would change, asked of the server by a dry run, so that its defaults don't count as changes.
import type { KubeClient } from "../../kube/contract.ts";
import { findObject } from "../../kube/one_object.ts";
import type { KubeObject } from "../../kube/types.ts";
import { namespaceOf, objectToApply } from "./apply_plan.ts";
import { type ChangedField, changedFields } from "./changed_fields.ts";
import type { LocatedObject } from "./parse_manifests.ts";

/** The fields that applying `located` as a part of `addOn` would change; `undefined` if the object is not there. */
export async function dryRun(
  client: KubeClient,
  input: { readonly located: LocatedObject; readonly addOn: string; readonly signal: AbortSignal },
): Promise<readonly ChangedField[] | undefined> {
  const { located, addOn, signal } = input;
  const namespace = namespaceOf(located);
  const key = { name: located.name, ...(namespace === "" ? {} : { namespace }) };
  const live = await findObject<KubeObject>(client, located.type, { key, signal });
  const wanted = await client.apply<KubeObject>(located.type, objectToApply(located, addOn), {
    signal,
    dryRun: true,
    force: true,
    fieldValidation: "Strict",
  });
  return live && changedFields(live, wanted);
}
