// IP addresses and ranges as text: families, parsing, canonical form, containment. Pure.
// Only `node:net`'s predicates are used from the platform.

/** Address family, spelled as in `spec.ipFamilies`. */
export type IpFamily = "IPv4" | "IPv6";

/** Both families, in the order in which rules are written. */
export const IP_FAMILIES: readonly IpFamily[] = ["IPv4", "IPv6"];

/** Transport protocol, spelled as in `spec.ports[].protocol`. */
export type Protocol = "TCP" | "UDP" | "SCTP";

/** Every protocol that a Service port can have. */
export const PROTOCOLS: readonly Protocol[] = ["TCP", "UDP", "SCTP"];

/** kube-proxy's interface in IPVS mode: it is down, and has the cluster address of every Service. */
export const IPVS_INTERFACE = "kube-ipvs0";
