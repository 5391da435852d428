// The addresses of a node that clients of a Service can use: those that it publishes, else its own, as far as it serves at them. Pure.
import type { Node, Pod, Service } from "../kube/types.ts";
import type { IpFamily } from "../shared/ip.ts";
import { canonicalIp, ipFamilyOf, ipRangeContains, isLoopback, parseIpRange } from "../shared/ip_ranges.ts";
import { PUBLISHED_ADDRESSES_ANNOTATION, SERVED_ADDRESSES_ANNOTATION } from "./labels.ts";
import type { ServiceReading } from "./reading.ts";
import { splitList } from "./wishes.ts";

/** One address of a node. */
export interface NodeAddress {
  readonly ip: string;
  readonly family: IpFamily;
  readonly external: boolean;
}

/**
 * The node's addresses for the Service, of any family.
 *
 * Published addresses take the place of all that the node has; those are not looked at for what rules match. Else, where the agent says
 * that it serves at some addresses only, it is these, whether or not the Node object lists them.
 *
 * @param served What the agent says; `undefined` if it says nothing
 */
export function nodeAddresses(
  node: Node,
  options: { readonly reading: ServiceReading; readonly served: readonly string[] | undefined },
): readonly NodeAddress[] {
  const published = splitList(node.metadata?.annotations?.[PUBLISHED_ADDRESSES_ANNOTATION] ?? "");
  if (published.length > 0) return published.flatMap((text) => nodeAddress(text, true));
  const own = (node.status?.addresses ?? []).flatMap(({ type, address }) =>
    type === "ExternalIP" || type === "InternalIP" ? nodeAddress(address, type === "ExternalIP") : []
  );
  if (options.served === undefined) return own.filter(({ ip }) => isMatched(ip, options.reading));
  return options.served.flatMap((text) => nodeAddress(text, false))
    .filter(({ ip }) => isPublishable(ip))
    .map((address) => own.find(({ ip }) => ip === address.ip) ?? address);
}

/**
 * Whether a Service's status has an address of `node`: the server counts on this node, with or without a pod.
 *
 * @param served Addresses at which the node serves the Service, beside those that its Node lists
 */
export function statusLists(
  service: Service | undefined,
  node: Node | undefined,
  served: readonly string[] = [],
): boolean {
  const published = splitList(node?.metadata?.annotations?.[PUBLISHED_ADDRESSES_ANNOTATION] ?? "");
  const listed = (node?.status?.addresses ?? []).map(({ address }) => address);
  const own = [...published, ...listed, ...served].map(canonicalIp);
  return (service?.status?.loadBalancer?.ingress ?? []).some(({ ip }) =>
    ip !== undefined && own.includes(canonicalIp(ip))
  );
}

/** The addresses at which the agent says, on its pod, that it serves; `undefined` if it says nothing. */
export function servedAddressesOf(pod: Pod): readonly string[] | undefined {
  const text = pod.metadata?.annotations?.[SERVED_ADDRESSES_ANNOTATION];
  return text === undefined ? undefined : splitList(text);
}

function nodeAddress(text: string, external: boolean): readonly NodeAddress[] {
  const ip = canonicalIp(text);
  const family = ipFamilyOf(text);
  return ip === undefined || family === undefined ? [] : [{ ip, family, external }];
}

/** Interfaces are known to the node alone. */
function isMatched(ip: string, { matchAddresses }: ServiceReading): boolean {
  const address = parseIpRange(ip);
  if (matchAddresses === undefined || address === undefined) return matchAddresses === undefined;
  return matchAddresses.some((range) => ipRangeContains(range, address));
}

/** Link-local addresses mean another host on every link. */
function isPublishable(ip: string): boolean {
  const address = parseIpRange(ip);
  return address !== undefined && !isLoopback(address) &&
    !LINK_LOCAL.some((range) => ipRangeContains(range, address));
}

const LINK_LOCAL = ["169.254.0.0/16", "fe80::/10"].flatMap((text) => parseIpRange(text) ?? []);
