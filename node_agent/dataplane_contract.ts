// What the agent's loop and the kernel's rules say to each other: the plan (facts in), the report (what the kernel has).
// No Kubernetes objects here, and no iptables text.
import type { IpFamily, Protocol } from "../core/shared/ip.ts";

/** One pod or host that answers for a Service port. */
export interface ForwardEndpoint {
  /** The address, in canonical form. */
  readonly ip: string;
  /** Port number. */
  readonly port: number;
  /** Whether it runs on this node. */
  readonly local: boolean;
  /** It runs on this node with an address outside of {@linkcode ForwardingPlan.podCidrs}. */
  readonly outsidePodCidrs?: true;
}

/** One port of one Service on this node. */
export interface ForwardedPort {
  /** Of the Service. */
  readonly namespace: string;
  /** Name of the Service. */
  readonly service: string;
  /** Name of the Service's port; empty if it has none. */
  readonly portName: string;
  /** Transport protocol. */
  readonly protocol: Protocol;
  /** Port on the node's addresses. */
  readonly port: number;
  /** Families in which the Service is served. */
  readonly families: readonly IpFamily[];
  /** External traffic policy: `Local` never uses remote endpoints, and drops packets while there are only such. */
  readonly trafficPolicy: "Cluster" | "Local";
  /** Clients that may connect; absent means everyone. A family without a range of its own admits no one. */
  readonly sourceRanges?: readonly string[];
  /** Only packets to these addresses or ranges; absent means every local address. Loopback is never one. */
  readonly matchAddresses?: readonly string[];
  /** Session affinity ClientIP: seconds for which a client keeps its endpoint. */
  readonly affinitySeconds?: number;
  /** Endpoints that take new connections, of all families. */
  readonly endpoints: readonly ForwardEndpoint[];
}

/** Everything that this node must forward. Ports are unique by protocol and port, whatever addresses they match. */
export interface ForwardingPlan {
  /** Every port of every Service here. */
  readonly ports: readonly ForwardedPort[];
  /** Set where local addresses are not all this node's own, as with kube-proxy in IPVS mode: only these are ever taken. */
  readonly ownAddresses?: readonly string[];
  /** The node's pod ranges, for hairpin connections. */
  readonly podCidrs: readonly string[];
}

/** What the kernel has after an apply. */
export interface ApplyReport {
  /** Families whose rules are in the kernel. A family that the kernel lacks is absent and no error. */
  readonly families: readonly IpFamily[];
  /** Ports that could not be programmed, with the reason in the operator's terms (SCTP without kernel support, for example). */
  readonly failures: readonly { readonly port: ForwardedPort; readonly family: IpFamily; readonly reason: string }[];
  /** Families that could not be written as the plan says, with the reason; what an earlier plan had there stays in force. */
  readonly unwritten?: readonly { readonly family: IpFamily; readonly reason: string }[];
  /** Rules in the kernel per family. */
  readonly ruleCounts: Readonly<Partial<Record<IpFamily, number>>>;
  /** Chains written by this apply; 0 when nothing had to change. */
  readonly chainsWritten: number;
}

/** What a check of the kernel's state found and repaired. */
export interface RepairReport {
  /** One sentence for each thing that was repaired; empty if all was in place. */
  readonly repairs: readonly string[];
  /** Things that this program cannot repair, such as a foreign chain that drops forwarded packets. */
  readonly warnings: readonly string[];
  /** Things that an operator should know of, although Services are served. */
  readonly remarks?: readonly string[];
}

/** Connections and flows to one port of a Service that this node took up, in one family. */
export interface ConnectionCount extends Pick<ForwardedPort, "namespace" | "service" | "protocol" | "port"> {
  /** Of the clients. */
  readonly family: IpFamily;
  /** By the kernel's counters, which start anew when it is given other ports. */
  readonly count: number;
}

/** The kernel's forwarding rules. Calls are made one at a time. */
export interface Dataplane {
  /** `nft` or `legacy`. */
  readonly backend: string;
  /**
   * Makes the kernel's rules equal to `plan`, writing only what differs, then cleans up connection tracking.
   * @throws {K3slbError} code "iptables-failed" (with the tool's words), "iptables-timeout", "iptables-locked"; nothing of a failed table was changed
   */
  apply(plan: ForwardingPlan, signal?: AbortSignal): Promise<ApplyReport>;
  /** Checks jumps, their order and the own chains against what was last applied, and repairs them. */
  repair(signal?: AbortSignal): Promise<RepairReport>;
  /**
   * Reads how many connections each port has taken up: one short program for each family, more above 256 ports. May be called beside the others.
   * @throws {K3slbError} codes as {@linkcode apply}
   */
  connections(signal?: AbortSignal): Promise<readonly ConnectionCount[]>;
  /** Entries of connection tracking that were deleted since the start. */
  readonly deletedFlows: number;
  /** Removes everything that this program ever made. Safe to call twice and without an apply before. */
  remove(signal?: AbortSignal): Promise<readonly string[]>;
}
