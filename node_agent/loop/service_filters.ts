// Who may connect to a Service and at which of the node's addresses: source ranges, matched addresses and interfaces. Pure.
// What cannot be understood closes the Service on this node; it never opens it.
import type { Service } from "../../core/kube/types.ts";
import type { HostInterface } from "../../core/node_identity/host_facts.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import { type IpRange, ipRangeContains, isLoopback, parseIpRange, renderIpRange } from "../../core/shared/ip_ranges.ts";
import {
  MATCH_ADDRESSES_ANNOTATION,
  MATCH_INTERFACES_ANNOTATION,
  SOURCE_RANGES_ANNOTATION,
} from "../../core/service_lb/labels.ts";

/** Why a pod, a port or a Service is not served on this node. */
export interface Refusal {
  /** CamelCase and stable: the reason of the gate. */
  readonly reason: RefusalReason;
  readonly message: string;
}

/** Reasons that the forwarding plan gives. */
export type RefusalReason =
  | "NoSuchService"
  | "InvalidSourceRange"
  | "InvalidMatchAddress"
  | "NoMatchingAddress"
  | "ReservedPort"
  | "PortTaken"
  | "PortInUse";

/** A decision, or why there is none. */
export type Decision<T> = { readonly value: T } | { readonly refusal: Refusal };

/** Where a Service is served on this node. */
export interface AddressMatch {
  /** Absent: at every local address. */
  readonly addresses?: readonly string[];
  /** Families of the Service that have an address to match. */
  readonly families: readonly IpFamily[];
  /** Set if the rules match addresses that this node doesn't have at present. */
  readonly absent?: Refusal;
}

/** The Service's source ranges in canonical form and sorted; `undefined` as value: everyone. The field wins over the annotation. */
export function sourceRanges(service: Service): Decision<readonly string[] | undefined> {
  const field = service.spec?.loadBalancerSourceRanges ?? [];
  const texts = field.length > 0 ? field : splitList(service.metadata?.annotations?.[SOURCE_RANGES_ANNOTATION]);
  if (texts.length === 0) return { value: undefined };
  const bad = texts.find((text) => !text.includes("/") || !parseIpRange(text));
  if (bad !== undefined) {
    return refuse("InvalidSourceRange", `Source range "${bad}" is no address range such as 192.0.2.0/24`);
  }
  return { value: canonicalRanges(texts) };
}

/** Where the Service is served on a node with `interfaces`. Annotations win over `spec.loadBalancerIP`. */
export function addressMatch(service: Service, interfaces: readonly HostInterface[]): Decision<AddressMatch> {
  const families = serviceFamilies(service);
  const annotations = service.metadata?.annotations ?? {};
  const texts = splitList(annotations[MATCH_ADDRESSES_ANNOTATION]);
  const names = splitList(annotations[MATCH_INTERFACES_ANNOTATION]);
  const bad = texts.find((text) => !parseIpRange(text));
  if (bad !== undefined) {
    return refuse("InvalidMatchAddress", `"${bad}" in ${MATCH_ADDRESSES_ANNOTATION} is no address and no range`);
  }
  const looped = texts.find(isLoopbackText);
  if (looped !== undefined) return refuseLoopback(`"${looped}" in ${MATCH_ADDRESSES_ANNOTATION}`);
  if (texts.length > 0 || names.length > 0) return matchListed(families, { texts, names, interfaces });
  const wishText = service.spec?.loadBalancerIP ?? "";
  if (isLoopbackText(wishText)) return refuseLoopback(`"${wishText}" in spec.loadBalancerIP`);
  const wish = parseIpRange(wishText);
  if (wish && localRanges(interfaces).some((own) => ipRangeContains(wish, own))) {
    return { value: { addresses: [renderMatch(wish)], families: families.filter((one) => one === wish.family) } };
  }
  return { value: { families } };
}

/** Families of the Service: `spec.ipFamilies`, else those of its cluster addresses. */
export function serviceFamilies(service: Service): readonly IpFamily[] {
  const listed = service.spec?.ipFamilies ?? [];
  const families = listed.length > 0
    ? listed
    : (service.spec?.clusterIPs ?? []).map((address) => parseIpRange(address)?.family);
  return (["IPv4", "IPv6"] as const).filter((family) => families.includes(family));
}

/** Entries of a comma separated list, blanks cut, empty ones left out. */
export function splitList(text: string | undefined): readonly string[] {
  return (text ?? "").split(",").map((entry) => entry.trim()).filter((entry) => entry !== "");
}

interface Listed {
  readonly texts: readonly string[];
  readonly names: readonly string[];
  readonly interfaces: readonly HostInterface[];
}

function matchListed(families: readonly IpFamily[], listed: Listed): Decision<AddressMatch> {
  const named = listed.interfaces.filter((one) => listed.names.includes(one.name));
  const looped = named.find((one) => one.addresses.length > 0 && one.addresses.every(isLoopbackText));
  if (looped) return refuseLoopback(`Interface "${looped.name}" in ${MATCH_INTERFACES_ANNOTATION}`);
  const ranges = [...listed.texts.flatMap((text) => parseIpRange(text) ?? []), ...localRanges(named)]
    .filter((range) => families.includes(range.family));
  const wanted = [...listed.texts, ...listed.names].join(", ");
  const message = `This node has no address of the Service's families at ${wanted}`;
  if (ranges.length === 0) return refuse("NoMatchingAddress", message);
  const own = localRanges(listed.interfaces);
  const here = ranges.some((range) => own.some((address) => ipRangeContains(range, address)));
  const value = {
    addresses: [...new Set(ranges.map(renderMatch))].sort(),
    families: families.filter((family) => ranges.some((range) => range.family === family)),
  };
  // A floating address may come to this node at any time: its rules are ready, the gate waits for the address.
  return { value: here ? value : { ...value, absent: { reason: "NoMatchingAddress", message } } };
}

/** Link-local addresses with a zone can't be matched without their interface, and loopback is never matched: both are left out. */
function localRanges(interfaces: readonly HostInterface[]): readonly IpRange[] {
  return interfaces.flatMap((one) => one.addresses.flatMap((address) => parseIpRange(address) ?? []))
    .filter((range) => !isLoopback(range));
}

function isLoopbackText(text: string): boolean {
  const range = parseIpRange(text);
  return range !== undefined && isLoopback(range);
}

/** The node's own programs talk to each other there: its resolver, the API server's local balancer, databases. */
function refuseLoopback(what: string): { readonly refusal: Refusal } {
  return refuse("InvalidMatchAddress", `${what} is loopback, which is never served`);
}

function canonicalRanges(texts: readonly string[]): readonly string[] {
  const ranges = texts.flatMap((text) => parseIpRange(text) ?? []);
  return [...new Set(ranges.map(renderIpRange))].sort();
}

/** Single addresses without a prefix. */
function renderMatch(range: IpRange): string {
  return renderIpRange(range).replace(range.family === "IPv4" ? /\/32$/ : /\/128$/, "");
}

function refuse(reason: RefusalReason, message: string): { readonly refusal: Refusal } {
  return { refusal: { reason, message } };
}
