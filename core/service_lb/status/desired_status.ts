// The addresses in a Service's status, from the nodes that serve it. Pure.
// Facts: k3s `pkg/cloudprovider/servicelb.go` (external before internal, families in the Service's order, sorted as text inside a
// family); decided otherwise: external before internal is settled per family.
import type { Node, Service } from "../../kube/types.ts";
import {
  type NodeAddress,
  type NodeAddresses,
  nodeAddresses,
  type NodeAddressFacts,
} from "../../service/node_addresses.ts";
import type { ServiceReading, SettingsProblem } from "../../service/reading.ts";
import type { IpMode } from "../../service/wishes.ts";
import type { IpFamily } from "../../shared/ip.ts";
import { present } from "../../shared/values.ts";
import type { NodeVerdict } from "../nodes/node_verdicts.ts";

/** One address of the status. */
export interface IngressAddress {
  /** The address, in canonical form. */
  readonly ip: string;
  /** How clients see the addresses. */
  readonly ipMode?: IpMode;
}

/** What is the same for all Services. */
export interface StatusOptions {
  /**
   * `cluster`: one external address hides the internal ones of its family on every node; `per-node`: on its own node; `k3s`: those of both
   * families on every node.
   */
  readonly statusAddresses: "cluster" | "per-node" | "k3s";
  /** For Services that do not say; absent leaves it to the API server, which means `VIP`. */
  readonly ipMode?: IpMode;
  /** Ranges of the cluster's Services, in which no node has addresses. */
  readonly serviceRanges: NodeAddressFacts["serviceRanges"];
  /** What the operator lists, by node. */
  readonly publishedAddresses?: NodeAddressFacts["publishedAddresses"];
}

/** The addresses, and the verdicts with nodes taken out that serve but have no address for the Service. */
export interface DesiredStatus {
  /** Addresses that nodes name and may not have. */
  readonly warnings: readonly SettingsProblem[];
  /** Addresses of the status, in order. */
  readonly ingress: readonly IngressAddress[];
  /** One for each node, sorted by name. */
  readonly verdicts: readonly NodeVerdict[];
}

/** The status that follows from `verdicts`. */
export function desiredStatus(
  verdicts: readonly NodeVerdict[],
  options: StatusOptions & { readonly reading: ServiceReading; readonly nodes: ReadonlyMap<string, Node> },
): DesiredStatus {
  const { reading } = options;
  const serving = servingNodes(verdicts, options);
  const ips = [...new Set(reading.families.flatMap((family) => familyIps(serving, family, options.statusAddresses)))];
  const withAddress = new Set(
    serving.filter(({ addresses }) => addresses.some(({ family }) => reading.families.includes(family)))
      .map(({ name }) => name),
  );
  const isHidden = withAddress.size > 0 && ips.length === 0;
  const ipMode = reading.ipMode ?? options.ipMode;
  return {
    warnings: serving.flatMap(({ name, refused }) =>
      refused.length === 0 ? [] : [{ reason: "AddressRefused", message: `Node ${name}: ${refused.join(", ")}` }]
    ),
    ingress: ips.map((ip) => ipMode === undefined ? { ip } : { ip, ipMode }),
    verdicts: verdicts.map((verdict) => {
      if (!verdict.serves || (withAddress.has(verdict.node) && !isHidden)) return verdict;
      return {
        node: verdict.node,
        serves: false,
        reason: "NoAddress",
        message: isHidden ? HIDDEN : noAddress(reading),
        waiting: false,
      };
    }),
  };
}

interface ServingNode extends NodeAddresses {
  readonly name: string;
}

function servingNodes(
  verdicts: readonly NodeVerdict[],
  { nodes, reading, serviceRanges, publishedAddresses }: Parameters<typeof desiredStatus>[1],
): readonly ServingNode[] {
  const facts = { nodes, serviceRanges, ...present({ publishedAddresses }) };
  return verdicts.flatMap((verdict) => {
    if (!verdict.serves) return [];
    const node = nodes.get(verdict.node);
    const found: NodeAddresses = node === undefined
      ? { addresses: [], refused: [] }
      : nodeAddresses(node, { ...facts, reading, served: verdict.servedAddresses });
    return [{ name: verdict.node, ...found }];
  });
}

/** The addresses of one family, sorted: a node's external ones where it, or any node, has such, else the internal ones. */
function familyIps(
  nodes: readonly ServingNode[],
  family: IpFamily,
  rule: StatusOptions["statusAddresses"],
): readonly string[] {
  const hasExternal = (addresses: readonly NodeAddress[]): boolean =>
    addresses.some((address) => address.external && (rule === "k3s" || address.family === family));
  const isExternalForAll = rule !== "per-node" &&
    nodes.some(({ addresses }) => hasExternal(addresses.filter(({ published }) => published !== true)));
  return nodes.flatMap(({ addresses }) => {
    const external = isExternalForAll || hasExternal(addresses);
    return addresses.flatMap((address) =>
      address.family === family && address.external === external ? [address.ip] : []
    );
  }).toSorted();
}

/** Whether two lists of addresses are the same to a client: an absent `ipMode` means `VIP`. */
export function sameIngress(a: readonly ObservedIngress[], b: readonly ObservedIngress[]): boolean {
  return a.length === b.length && a.every((address, index) => {
    const other = b[index];
    return address.ip === other?.ip && (address.hostname ?? "") === (other?.hostname ?? "") &&
      (address.ipMode ?? "VIP") === (other?.ipMode ?? "VIP");
  });
}

/** The part of an address in a status that is compared. */
export type ObservedIngress = Pick<
  NonNullable<NonNullable<NonNullable<Service["status"]>["loadBalancer"]>["ingress"]>[number],
  "ip" | "hostname" | "ipMode"
>;

function noAddress({ matchAddresses, families }: ServiceReading): string {
  const wanted = matchAddresses === undefined ? "" : " that the match-addresses annotation names";
  return `it has no ${families.join(" or ") || "usable"} address${wanted}`;
}

const HIDDEN = "an external address of another family hides its own (--status-addresses k3s)";
