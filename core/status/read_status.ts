// What a status has beside Services and nodes, asked for by three requests. Adapter.
import { HELM_CHARTS, type HelmChart } from "../helm/helm_chart.ts";
import type { KubeClient } from "../kube/contract.ts";
import { orUnreadable } from "../kube/one_object.ts";
import { LEASES } from "../kube/resources.ts";
import type { Lease } from "../kube/types.ts";
import { ADD_ONS, type AddOn } from "../manifests/record/addon.ts";
import { ELECTION_LEASE_NAME } from "../service/labels.ts";

/** The election, charts and AddOns, as far as they are there and may be looked at. */
export interface OtherFacts {
  readonly lease: Lease | undefined;
  readonly charts: readonly HelmChart[];
  readonly addOns: readonly AddOn[];
}

/** Asks for them. @param options.namespace Where the election is. */
export async function readOthers(
  client: KubeClient,
  { namespace, signal }: { readonly namespace: string; readonly signal: AbortSignal },
): Promise<OtherFacts> {
  const [lease, charts, addOns] = await Promise.all([
    orUnreadable(client.get(LEASES, { namespace, name: ELECTION_LEASE_NAME }, { signal })),
    orUnreadable(client.list(HELM_CHARTS, { signal })),
    orUnreadable(client.list(ADD_ONS, { signal })),
  ]);
  return { lease, charts: charts?.items ?? [], addOns: addOns?.items ?? [] };
}
