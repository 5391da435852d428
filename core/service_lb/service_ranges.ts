// Finds out which addresses are Services', so that no node passes one off as its own. Adapter.
// Facts: ServiceCIDR is `networking.k8s.io/v1` since Kubernetes 1.33; `default/kubernetes` has the first address of the first range.
import type { KubeClient } from "../kube/contract.ts";
import { orUnreadable } from "../kube/one_object.ts";
import { SERVICE_CIDRS, SERVICES } from "../kube/resources.ts";
import { rangesAround } from "../service/address_rules.ts";
import { type IpRange, parseIpRanges } from "../shared/ip_ranges.ts";

/** The ranges of all ServiceCIDRs; where the cluster has none, the smallest ranges around the addresses of `default/kubernetes`. */
export async function findServiceRanges(
  { client, signal }: { readonly client: KubeClient; readonly signal: AbortSignal },
): Promise<readonly IpRange[]> {
  const cidrs = await orUnreadable(client.list(SERVICE_CIDRS, { signal }));
  const ranges = parseIpRanges((cidrs?.items ?? []).flatMap(({ spec }) => spec?.cidrs ?? []));
  if (ranges.length > 0) return ranges;
  const key = { namespace: "default", name: "kubernetes" };
  const service = await orUnreadable(client.get(SERVICES, key, { signal }));
  return service === undefined ? [] : rangesAround(service);
}
