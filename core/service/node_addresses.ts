// The addresses of a node that clients of a Service can use: those that it publishes, else its own, as far as it serves at them. Pure.
import type { Node, Pod, Service } from "../kube/types.ts";
import type { IpFamily } from "../shared/ip.ts";
import { canonicalIp, ipFamilyOf, ipRangeContains, parseIpRange } from "../shared/ip_ranges.ts";
import { type AddressFacts, addressObstacle, publishObstacle } from "./address_rules.ts";
import { PUBLISHED_ADDRESSES_ANNOTATION, SERVED_ADDRESSES_ANNOTATION } from "./labels.ts";
import type { ServiceReading } from "./reading.ts";
import { splitList } from "./wishes.ts";

/** One address of a node. */
export interface NodeAddress {
  readonly ip: string;
  readonly family: IpFamily;
  readonly external: boolean;
  /** Somebody named it in place of the node's own addresses: it says nothing about those of other nodes. */
  readonly published?: true;
}

/** What decides about the addresses of a node beside the node. */
export interface NodeAddressFacts extends AddressFacts {
  /** What the operator lists, by node; where it is given no node speaks for itself. */
  readonly publishedAddresses?: ReadonlyMap<string, readonly string[]>;
}

/** The addresses of a node, and what it named and may not have. */
export interface NodeAddresses {
  readonly addresses: readonly NodeAddress[];
  /** Sentences without the node's name. */
  readonly refused: readonly string[];
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
  options: NodeAddressFacts & { readonly reading: ServiceReading; readonly served: readonly string[] | undefined },
): NodeAddresses {
  const { reading, served } = options;
  const name = node.metadata?.name ?? "";
  const listed = options.publishedAddresses?.get(name);
  if (listed !== undefined) return checked(listed.flatMap(publishedAddress), () => undefined);
  const published = options.publishedAddresses === undefined ? publishedBy(node) : [];
  const byOthers = (ip: string): string | undefined => publishObstacle(ip, name, options);
  if (published.length > 0) return checked(published.flatMap(publishedAddress), byOthers);
  const named = (node.status?.addresses ?? []).flatMap(({ type, address }) =>
    type === "ExternalIP" || type === "InternalIP" ? nodeAddress(address, type === "ExternalIP") : []
  );
  const own = checked(named, (ip) => addressObstacle(ip, options));
  if (served === undefined) {
    return { ...own, addresses: own.addresses.filter(({ ip }) => isMatched(ip, reading)) };
  }
  const said = served.flatMap((text) => nodeAddress(text, false))
    .map((address) => own.addresses.find(({ ip }) => ip === address.ip) ?? address);
  return checked(said, (ip) => own.addresses.some((one) => one.ip === ip) ? undefined : byOthers(ip));
}

/** What the annotation says; no more than a node can have use for. */
function publishedBy(node: Node): readonly string[] {
  const text = node.metadata?.annotations?.[PUBLISHED_ADDRESSES_ANNOTATION] ?? "";
  return splitList(text.slice(0, MAX_PUBLISHED_LENGTH)).slice(0, MAX_PUBLISHED);
}

function checked(
  addresses: readonly NodeAddress[],
  obstacleOf: (ip: string) => string | undefined,
): NodeAddresses {
  const judged = addresses.map((address) => ({ address, obstacle: obstacleOf(address.ip) }));
  return {
    addresses: judged.flatMap(({ address, obstacle }) => obstacle === undefined ? [address] : []),
    refused: judged.flatMap(({ address, obstacle }) => obstacle === undefined ? [] : [`${address.ip} ${obstacle}`]),
  };
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
  const published = node === undefined ? [] : publishedBy(node);
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

function publishedAddress(text: string): readonly NodeAddress[] {
  return nodeAddress(text, true).map((address) => ({ ...address, published: true }));
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

const MAX_PUBLISHED = 16;
const MAX_PUBLISHED_LENGTH = 1024;
