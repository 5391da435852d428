// Which of several Services owns a node's port: the oldest one whose families and matched addresses meet. Pure.
// A Service that is refused for another reason keeps its claim: a typing error must not hand a port to somebody else.
import type { Service } from "../../core/kube/types.ts";
import type { HostInterface } from "../../core/node_identity/host_facts.ts";
import type { IpFamily, Protocol } from "../../core/shared/ip.ts";
import { ipRangesOverlap, parseIpRange } from "../../core/shared/ip_ranges.ts";
import { addressMatch, serviceFamilies } from "./service_filters.ts";

interface Claim {
  readonly owner: string;
  readonly families: readonly IpFamily[];
  readonly addresses?: readonly string[];
}

/**
 * For each Service (`NAMESPACE/NAME`) the ports ({@linkcode portLabel}) that an older one owns, and that one's name.
 *
 * @param services Sorted, oldest first
 */
export function claimPorts(
  services: readonly Service[],
  interfaces: readonly HostInterface[],
): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const claims = new Map<string, Claim[]>();
  return new Map(services.map((service) => {
    const claim = claimOf(service, interfaces);
    const lost = new Map<string, string>();
    for (const port of service.spec?.ports ?? []) {
      const label = portLabel({ protocol: (port.protocol ?? "TCP") as Protocol, port: port.port });
      const before = claims.get(label) ?? [];
      const owner = before.find((one) => claimsMeet(one, claim));
      if (owner && owner.owner !== claim.owner) lost.set(label, owner.owner);
      else claims.set(label, [...before, claim]);
    }
    return [claim.owner, lost];
  }));
}

/** How a port is called in messages, such as `TCP port 80`. */
export function portLabel(port: { readonly protocol: Protocol; readonly port: number }): string {
  return `${port.protocol} port ${port.port}`;
}

function claimOf(service: Service, interfaces: readonly HostInterface[]): Claim {
  const owner = `${service.metadata?.namespace ?? ""}/${service.metadata?.name ?? ""}`;
  const match = addressMatch(service, interfaces);
  if ("refusal" in match) return { owner, families: serviceFamilies(service) };
  const { families, addresses } = match.value;
  return addresses ? { owner, families, addresses } : { owner, families };
}

function claimsMeet(a: Claim, b: Claim): boolean {
  if (!a.families.some((family) => b.families.includes(family))) return false;
  if (!a.addresses || !b.addresses) return true;
  const others = b.addresses.flatMap((text) => parseIpRange(text) ?? []);
  return a.addresses.flatMap((text) => parseIpRange(text) ?? []).some((range) =>
    others.some((other) => ipRangesOverlap(range, other))
  );
}
