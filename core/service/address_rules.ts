// Which addresses a node may name as its own. Pure. Whoever has a node's credentials writes its Node and the status of its pods: what is
// named there reaches the status of every Service, and from there the rules of kube-proxy on every node.
import type { Node, Service } from "../kube/types.ts";
import {
  canonicalIp,
  ipFamilyOf,
  type IpRange,
  ipRangeContains,
  isLoopback,
  parseIpRange,
  parseIpRanges,
  renderIpRange,
} from "../shared/ip_ranges.ts";

/** What is known of the cluster's addresses. */
export interface AddressFacts {
  /** All nodes. */
  readonly nodes: ReadonlyMap<string, Node>;
  /** Ranges of the cluster's Services. */
  readonly serviceRanges: readonly IpRange[];
}

/** Ranges that a Service's own addresses must be in, whatever the cluster's are: none is smaller in practice. */
export function rangesAround({ spec }: Service): readonly IpRange[] {
  return (spec?.clusterIPs ?? []).flatMap((ip) => parseIpRange(`${ip}/${ipFamilyOf(ip) === "IPv6" ? 120 : 24}`) ?? []);
}

/** Why an address is never a node's own, whoever names it: the end of a sentence; `undefined` if it may be. */
export function addressObstacle(
  ip: string,
  { serviceRanges }: Pick<AddressFacts, "serviceRanges">,
): string | undefined {
  const address = parseIpRange(ip);
  if (address === undefined || ipFamilyOf(ip) === undefined) return "is not an address";
  if (isLoopback(address)) return "is a loopback address";
  const special = SPECIAL_RANGES.find(({ range }) => ipRangeContains(range, address));
  if (special !== undefined) return special.what;
  const ofServices = serviceRanges.find((range) => ipRangeContains(range, address));
  return ofServices === undefined ? undefined : `is in the range of Services, ${renderIpRange(ofServices)}`;
}

/** Why `name` may not publish an address that its Node does not have: as {@linkcode addressObstacle}, and other nodes' addresses. */
export function publishObstacle(ip: string, name: string, facts: AddressFacts): string | undefined {
  const obstacle = addressObstacle(ip, facts);
  const address = parseIpRange(ip);
  if (obstacle !== undefined || address === undefined) return obstacle;
  if (isLinkLocal(ip)) return "is a link-local address";
  if (METADATA_SERVICES.some((range) => ipRangeContains(range, address))) return "is a cloud's metadata service";
  const text = canonicalIp(ip) ?? ip;
  for (const node of facts.nodes.values()) {
    const { ips, podRanges } = heldBy(node);
    const podRange = podRanges.find((range) => ipRangeContains(range, address));
    if (podRange !== undefined) return `is in a range of pods, ${renderIpRange(podRange)}`;
    if (node.metadata?.name !== name && ips.has(text)) return `is an address of node ${node.metadata?.name}`;
  }
  return undefined;
}

/** Whether an address means something else on every network, such as a cloud's metadata service. */
export function isLinkLocal(ip: string): boolean {
  const address = parseIpRange(ip);
  return address !== undefined && LINK_LOCAL.some((range) => ipRangeContains(range, address));
}

/** Addresses that a node has, and ranges of its pods. */
export interface HeldAddresses {
  /** Of the node itself, in canonical form. */
  readonly ips: ReadonlySet<string>;
  readonly podRanges: readonly IpRange[];
}

/** What `node` has. Read once for each object. */
export function heldBy(node: Node): HeldAddresses {
  const known = HELD.get(node);
  if (known !== undefined) return known;
  const { podCIDR, podCIDRs = podCIDR === undefined ? [] : [podCIDR] } = node.spec ?? {};
  const held = {
    ips: new Set((node.status?.addresses ?? []).flatMap(({ address }) => canonicalIp(address) ?? [])),
    podRanges: parseIpRanges(podCIDRs),
  };
  HELD.set(node, held);
  return held;
}

const HELD = new WeakMap<Node, HeldAddresses>();

const SPECIAL_RANGES: readonly { readonly range: IpRange; readonly what: string }[] = [
  ["0.0.0.0/8", "is an unspecified address"],
  ["::/128", "is an unspecified address"],
  ["224.0.0.0/4", "is a multicast address"],
  ["ff00::/8", "is a multicast address"],
  ["240.0.0.0/4", "is a reserved address"],
  ["::ffff:0:0/96", "is an IPv4 address in IPv6 form"],
].flatMap(([text = "", what = ""]) => {
  const range = parseIpRange(text);
  return range === undefined ? [] : [{ range, what }];
});
/** Where clouds answer with a node's credentials outside of link-local ranges: Azure, Alibaba; AWS, Google, Oracle in IPv6. */
export const METADATA_SERVICES = parseIpRanges(
  ["168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe"],
);
const LINK_LOCAL = parseIpRanges(["169.254.0.0/16", "fe80::/10"]);
