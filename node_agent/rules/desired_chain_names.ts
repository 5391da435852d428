// Names of our chains and address lists. iptables takes at most 28 characters (XT_EXTENSION_MAXNAMELEN less the end mark).
// A name depends only on what the chain is for, so that a restart finds and replaces what an earlier run made. Pure.
import { createHash } from "node:crypto";
import type { ForwardedPort } from "../dataplane_contract.ts";

/** Every chain of ours begins with this, and no other program's does. */
export const CHAIN_PREFIX = "K3SLB-";

/** Longest chain name that iptables takes. */
export const MAX_CHAIN_NAME_LENGTH = 28;

export const SERVICES_CHAIN = "K3SLB-SERVICES";
/** Begins the names of the second level, where ports are many. */
export const BUCKET_PREFIX = `${CHAIN_PREFIX}B-`;
/** Before {@linkcode SERVICES_CHAIN} where not every local address is this node's own. */
export const LOCAL_CHAIN = "K3SLB-LOCAL";
export const MARK_CHAIN = "K3SLB-MARK";
/** Marks packets for Services whose endpoints must see the client's own address, also that of a pod of this node. */
export const KEEP_SOURCE_CHAIN = "K3SLB-KEEP-SOURCE";
/** Marks packets of pods that reach themselves. */
export const HAIRPIN_CHAIN = "K3SLB-HAIRPIN";
/** Refuses this node and its pods, drops the packets of everybody else: policy Local without an endpoint here. */
export const NO_LOCAL_CHAIN = "K3SLB-NO-LOCAL";
export const DROP_CHAIN = "K3SLB-DROP";
export const REJECT_CHAIN = "K3SLB-REJECT";
export const POSTROUTING_CHAIN = "K3SLB-POSTROUTING";
export const FORWARD_CHAIN = "K3SLB-FORWARD";
export const INPUT_CHAIN = "K3SLB-INPUT";

/** Chain into which kube-router puts NetworkPolicy; accepting above it would bypass the policy. */
export const KUBE_ROUTER_FORWARD_CHAIN = "KUBE-ROUTER-FORWARD";

/**
 * Calico's chain for a built-in one. In FORWARD it holds NetworkPolicy. Calico puts its jumps back to the first place of every chain it
 * uses, as does this program: each would move the other's for ever.
 */
export function calicoChainName(builtin: string): string {
  return `cali-${builtin}`;
}

/** The three chains that one port of one Service may have. */
export interface PortChainNames {
  /** Admits the source ranges. */
  readonly ranges: string;
  /** Chooses an endpoint. */
  readonly service: string;
  /** Chooses among the endpoints of other nodes. */
  readonly remote: string;
}

/** Names of the chains of `port`. */
export function portChainNames(port: ForwardedPort): PortChainNames {
  return chainNamesOfId(portId(port));
}

/** Names of all chains that share a port's `id`, whether or not they exist. */
export function chainNamesOfId(id: string): PortChainNames {
  return { ranges: `${CHAIN_PREFIX}F-${id}`, service: `${CHAIN_PREFIX}S-${id}`, remote: `${CHAIN_PREFIX}R-${id}` };
}

/** Sixteen characters, 80 bits, that stand for a port of a Service: so many that nobody can find two Services that share them. */
export function portId(port: ForwardedPort): string {
  const addresses = [...(port.matchAddresses ?? [])].sort().join(",");
  return shortHash(`${port.namespace}/${port.service}/${port.portName}/${port.protocol}/${port.port}/${addresses}`);
}

/** Name of the list of clients that stay with an endpoint of `port`. */
export function affinityListName(port: ForwardedPort, ip: string, endpointPort: number): string {
  return `${CHAIN_PREFIX}${portId(port)}-${shortHash(`${ip} ${endpointPort}`)}`;
}

function shortHash(text: string): string {
  const bits = createHash("sha256").update(text).digest("hex").slice(0, 20);
  return BigInt(`0x${bits}`).toString(32).padStart(16, "0").toUpperCase();
}
