// Forwarding plans for tests: a fixed one with every kind of port, and generators for laws.
import fc from "fast-check";
import type { ForwardedPort, ForwardEndpoint, ForwardingPlan } from "../../node_agent/dataplane_contract.ts";

/** Endpoints of both families: two here, two elsewhere. */
export const ENDPOINTS: readonly ForwardEndpoint[] = [
  { ip: "10.42.1.10", port: 8080, local: true },
  { ip: "10.42.1.11", port: 8080, local: true },
  { ip: "10.42.2.10", port: 8080, local: false },
  { ip: "10.42.2.11", port: 8080, local: false },
  { ip: "fd42:1::10", port: 8080, local: true },
  { ip: "fd42:2::10", port: 8080, local: false },
];

/** Pod ranges of the node. */
export const POD_CIDRS: readonly string[] = ["10.42.1.0/24", "fd42:1::/64"];

/** TCP port 80 of `default/web` with all endpoints, with what `fields` changes. */
export function portWith(fields: Partial<ForwardedPort> = {}): ForwardedPort {
  return {
    namespace: "default",
    service: "web",
    portName: "http",
    protocol: "TCP",
    port: 80,
    families: ["IPv4", "IPv6"],
    trafficPolicy: "Cluster",
    endpoints: ENDPOINTS,
    ...fields,
  };
}

/** A plan of one port for each kind. */
export const EVERY_KIND: ForwardingPlan = {
  podCidrs: POD_CIDRS,
  ports: [
    portWith(),
    portWith({ service: "local", port: 81, trafficPolicy: "Local" }),
    portWith({ service: "ranges", port: 82, sourceRanges: ["192.168.7.9/16", "10.0.0.1", "fd00::/8"] }),
    portWith({ service: "empty", port: 83, endpoints: [] }),
    portWith({
      service: "elsewhere",
      port: 84,
      trafficPolicy: "Local",
      endpoints: ENDPOINTS.filter((one) => !one.local),
    }),
    portWith({ service: "sticky", port: 85, affinitySeconds: 10_800 }),
    portWith({ service: "dns", portName: "", port: 53, protocol: "UDP" }),
    portWith({ service: "signals", port: 36_412, protocol: "SCTP", families: ["IPv4"] }),
    portWith({ service: "one-address", port: 87, matchAddresses: ["172.30.0.11", "fd30::11"] }),
    portWith({ service: "closed", port: 86, sourceRanges: [] }),
  ],
};

/** Any plan with at most `maxPorts` ports. */
export function arbitraryPlan(maxPorts = 12): fc.Arbitrary<ForwardingPlan> {
  const port = fc.record({
    service: fc.constantFrom("a", "b", "c", "d"),
    protocol: fc.constantFrom("TCP" as const, "UDP" as const, "SCTP" as const),
    port: fc.integer({ min: 1, max: 65_535 }),
    families: fc.constantFrom(["IPv4"] as const, ["IPv6"] as const, ["IPv4", "IPv6"] as const),
    trafficPolicy: fc.constantFrom("Cluster" as const, "Local" as const),
    endpoints: fc.subarray([...ENDPOINTS]),
    sourceRanges: fc.option(fc.subarray(["10.0.0.0/8", "192.168.0.0/16", "0.0.0.0/0", "fd00::/8"]), { nil: undefined }),
    matchAddresses: fc.option(fc.subarray(["172.30.0.11", "172.30.0.0/24", "fd30::11"]), { nil: undefined }),
    affinitySeconds: fc.option(fc.integer({ min: 1, max: 86_400 }), { nil: undefined }),
  }).map(({ sourceRanges, matchAddresses, affinitySeconds, ...rest }) =>
    portWith({
      ...rest,
      ...(sourceRanges ? { sourceRanges } : {}),
      ...(matchAddresses ? { matchAddresses } : {}),
      ...(affinitySeconds ? { affinitySeconds } : {}),
    })
  );
  return fc.uniqueArray(port, {
    maxLength: maxPorts,
    selector: (one) => `${one.protocol} ${one.port}`,
  }).map((ports) => ({ podCidrs: POD_CIDRS, ports }));
}
