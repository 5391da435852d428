// Where a node is asked whether it is there. Pure. Whoever has a node's credentials writes these: addresses that no node can have are passed over.
import type { Node } from "../../kube/types.ts";
import type { AskedNode } from "../../runtime/node_life.ts";
import { type AddressFacts, addressObstacle, isLinkLocal } from "../../service/address_rules.ts";
import { canonicalIp } from "../../shared/ip_ranges.ts";

/** A node as it can be asked: by its own addresses, and the port of its kubelet if it says one. Read once for each object. */
export function askedNode(node: Node, facts: Pick<AddressFacts, "serviceRanges">): AskedNode {
  const known = ASKED.get(node) ?? readNode(node, facts);
  ASKED.set(node, known);
  return known;
}

/** All nodes are looked at with every change of one, and whoever has stolen one may change it without end. */
const ASKED = new WeakMap<Node, AskedNode>();

function readNode({ metadata, status }: Node, facts: Pick<AddressFacts, "serviceRanges">): AskedNode {
  const internal = (status?.addresses ?? []).filter(({ type }) => type === "InternalIP").slice(0, MAX_ADDRESSES);
  // A Node that no kubelet has written has port 0.
  const port = status?.daemonEndpoints?.kubeletEndpoint?.Port ?? 0;
  return {
    name: metadata?.name ?? "",
    ips: internal.flatMap(({ address }) => canonicalIp(address) ?? [])
      .filter((ip) => addressObstacle(ip, facts) === undefined && !isLinkLocal(ip)),
    ...(port > 0 && port <= MAX_PORT ? { kubeletPort: port } : {}),
  };
}

/** One of each family, and one to spare. */
const MAX_ADDRESSES = 3;
const MAX_PORT = 65_535;
