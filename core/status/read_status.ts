// What a status has beside Services and nodes, asked for by three requests. Adapter.
import { HELM_CHARTS, type HelmChart } from "../helm/helm_chart.ts";
import type { KubeClient } from "../kube/contract.ts";
import { isForbidden, isNotFound } from "../kube/errors.ts";
import { orAbsent } from "../kube/one_object.ts";
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
  const readable = <T>(answer: Promise<T>): Promise<T | undefined> => orAbsent(answer, [isNotFound, isForbidden]);
  const [lease, charts, addOns] = await Promise.all([
    readable(client.get(LEASES, { namespace, name: ELECTION_LEASE_NAME }, { signal })),
    readable(client.list(HELM_CHARTS, { signal })),
    readable(client.list(ADD_ONS, { signal })),
  ]);
  return { lease, charts: charts?.items ?? [], addOns: addOns?.items ?? [] };
}
