// Brings the CRDs into the cluster and waits until they serve. CRDs that another program installed stay as they are.
import { isTrue } from "../kube/conditions.ts";
import type { KubeClient } from "../kube/contract.ts";
import { FIELD_MANAGER } from "../kube/contract.ts";
import { findObject } from "../kube/one_object.ts";
import { CUSTOM_RESOURCE_DEFINITIONS } from "../kube/resources.ts";
import type { CustomResourceDefinition } from "../kube/types.ts";
import type { Clock } from "../runtime/clock.ts";
import { HELM_CHART_CONFIG_CRD, HELM_CHART_CRD } from "./crds.ts";

const CHECK_INTERVAL_MS = 200;

/**
 * Applies the CRDs that are missing or our own.
 *
 * @throws {K3slbError} of the request that failed
 */
export async function ensureHelmCrds(
  { client, clock, signal }: { readonly client: KubeClient; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<void> {
  await Promise.all([HELM_CHART_CRD, HELM_CHART_CONFIG_CRD].map(async (crd) => {
    const name = crd.metadata?.name ?? "";
    const key = { name };
    let seen = await findObject(client, CUSTOM_RESOURCE_DEFINITIONS, { key, signal });
    if (seen === undefined || isOurs(seen)) seen = await client.apply(CUSTOM_RESOURCE_DEFINITIONS, crd, { signal });
    while (!isTrue(seen, "Established")) {
      await clock.sleep(CHECK_INTERVAL_MS, signal);
      seen = await findObject(client, CUSTOM_RESOURCE_DEFINITIONS, { key, signal });
    }
  }));
}

function isOurs({ metadata }: CustomResourceDefinition): boolean {
  return metadata?.managedFields?.some(({ manager }) => manager === FIELD_MANAGER) ?? false;
}
