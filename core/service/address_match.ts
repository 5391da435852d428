// At which of a node's addresses a Service is served there: matched addresses and interfaces, or `spec.loadBalancerIP`. Pure.
// Loopback addresses are never among them, whoever names them and however.
import type { HostInterface } from "../node_identity/host_facts.ts";
import { IP_FAMILIES, type IpFamily } from "../shared/ip.ts";
import {
  canonicalIp,
  type IpRange,
  ipRangeContains,
  isLoopback,
  parseIpRange,
  parseIpRanges,
  renderIpRange,
} from "../shared/ip_ranges.ts";
import { MATCH_INTERFACES_ANNOTATION } from "./labels.ts";
import type { ServiceReading, SettingsProblem } from "./reading.ts";

/** Where a Service is served on one node. */
export interface AddressMatch {
  /** Addresses and ranges that rules match; absent: at every local address. */
  readonly addresses?: readonly string[];
  /** Families of the Service that have an address to match, IPv4 first. */
  readonly families: readonly IpFamily[];
  /** Set if this node has none of the addresses at present. Rules are made all the same: a floating address may come at any time. */
  readonly absent?: SettingsProblem;
}

/** Where the Service is served on a node with `interfaces`. Annotations win over `spec.loadBalancerIP`. */
export function addressMatch(reading: ServiceReading, interfaces: readonly HostInterface[]): AddressMatch {
  const families = IP_FAMILIES.filter((family) => reading.families.includes(family));
  const { matchAddresses, matchInterfaces, addressWish } = reading;
  if (matchAddresses !== undefined || matchInterfaces !== undefined) {
    const named = interfaces.filter((one) => matchInterfaces?.includes(one.name));
    const looped = named.find((one) => one.addresses.length > 0 && one.addresses.every(isLoopbackText));
    if (looped !== undefined) return { addresses: [], families: [], absent: loopbackInterface(looped) };
    const ranges = [...matchAddresses ?? [], ...localRanges(named)].filter((range) => families.includes(range.family));
    const addresses = [...new Set(ranges.map(renderMatch))].sort();
    const served = families.filter((family) => ranges.some((range) => range.family === family));
    const own = localRanges(interfaces);
    const isHere = ranges.some((range) => own.some((address) => ipRangeContains(range, address)));
    return { addresses, families: served, ...(isHere ? {} : { absent: noMatch(reading) }) };
  }
  if (addressWish && localRanges(interfaces).some((own) => ipRangeContains(addressWish, own))) {
    return {
      addresses: [renderMatch(addressWish)],
      families: families.filter((family) => family === addressWish.family),
    };
  }
  return { families };
}

/** The addresses of `interfaces` that `match` names, sorted; `undefined` if it names all. */
export function servedAddresses(
  match: AddressMatch,
  interfaces: readonly HostInterface[],
): readonly string[] | undefined {
  if (match.addresses === undefined) return undefined;
  const ranges = parseIpRanges(match.addresses);
  const served = localRanges(interfaces).filter((own) => ranges.some((range) => ipRangeContains(range, own)));
  return [...new Set(served.map(renderMatch))].sort().slice(0, MAX_SERVED_ADDRESSES);
}

/** As many as a report or a pod's annotation names; the Service is served at the others all the same. */
const MAX_SERVED_ADDRESSES = 64;

function noMatch({ matchAddresses = [], matchInterfaces = [] }: ServiceReading): SettingsProblem {
  const wanted = [...matchAddresses.map(renderMatch), ...matchInterfaces].join(", ");
  return {
    reason: "NoMatchingAddress",
    message: `This node has no address of the Service's families at ${wanted}`,
  };
}

/** The node's own programs talk to each other there: its resolver, the API server's local balancer, databases. */
function loopbackInterface({ name }: HostInterface): SettingsProblem {
  const message = `Interface "${name}" in ${MATCH_INTERFACES_ANNOTATION} is loopback, which is never served`;
  return { reason: "InvalidMatchAddress", message };
}

function isLoopbackText(text: string): boolean {
  const range = parseIpRange(text);
  return range !== undefined && isLoopback(range);
}

/** Link-local addresses with a zone can't be matched without their interface and are left out. */
function localRanges(interfaces: readonly HostInterface[]): readonly IpRange[] {
  return parseIpRanges(interfaces.flatMap(({ addresses }) => addresses)).filter((range) => !isLoopback(range));
}

/** Single addresses without a prefix. */
function renderMatch(range: IpRange): string {
  return canonicalIp(renderIpRange(range).replace(range.family === "IPv4" ? /\/32$/ : /\/128$/, "")) ??
    renderIpRange(range);
}
