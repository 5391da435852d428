// Does an object still have what its file says? Asked by a dry run, so that the server's defaults don't count as drift.
import type { KubeClient } from "../../kube/contract.ts";
import { findObject } from "../../kube/one_object.ts";
import type { KubeObject } from "../../kube/types.ts";
import { namespaceOf, objectToApply } from "./apply_plan.ts";
import { changedFields } from "./changed_fields.ts";
import type { LocatedObject } from "./parse_manifests.ts";

/** Paths of the fields that applying would change; `["(missing)"]` if the object is not there. */
export async function findDrift(
  client: KubeClient,
  input: { readonly located: LocatedObject; readonly addOn: string; readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const { located, addOn, signal } = input;
  const namespace = namespaceOf(located);
  const key = { name: located.name, ...(namespace === "" ? {} : { namespace }) };
  const live = await findObject<KubeObject>(client, located.type, { key, signal });
  if (live === undefined) return ["(missing)"];
  const wanted = await client.apply<KubeObject>(located.type, objectToApply(located, addOn), {
    signal,
    dryRun: true,
    force: true,
    fieldValidation: "Strict",
  });
  return changedFields(live, wanted).map(({ path }) => path);
}
