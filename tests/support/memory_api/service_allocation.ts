// Cluster addresses and node ports of Services. The lowest free one is given out, so that tests see the same values.
import { asList, asObject, asText, type Json, type JsonObject } from "./json.ts";
import type { ApiObject, Store } from "./store.ts";

/** First four groups of cluster addresses, by family. */
export interface ServiceRanges {
  /** First two octets, such as `10.43`. */
  readonly ipv4Prefix: string;
  /** Everything before the last group, such as `fd43::`. */
  readonly ipv6Prefix: string;
}

/** Ranges like those of K3s. */
export const DEFAULT_SERVICE_RANGES: ServiceRanges = { ipv4Prefix: "10.43", ipv6Prefix: "fd43::" };
const FIRST_NODE_PORT = 30_000;
const LAST_NODE_PORT = 32_767;

function freeAddress(family: string, options: { ranges: ServiceRanges; used: ReadonlySet<string> }): string {
  const { ranges, used } = options;
  for (let index = 2; index < 65_534; index++) {
    const address = family === "IPv6"
      ? `${ranges.ipv6Prefix}${index.toString(16)}`
      : `${ranges.ipv4Prefix}.${index >> 8}.${index & 255}`;
    if (!used.has(address)) return address;
  }
  throw new RangeError("No cluster address is left");
}

function familiesOf(spec: JsonObject): string[] {
  const given = asList(spec["ipFamilies"]).map((family) => asText(family));
  const address = asText(spec["clusterIP"]);
  const first = given[0] ?? (address !== "" && address !== "None" ? (address.includes(":") ? "IPv6" : "IPv4") : "IPv4");
  // A headless Service without a selector may have endpoints of any family.
  if (address === "None" && given.length === 0 && Object.keys(asObject(spec["selector"])).length === 0) {
    spec["ipFamilyPolicy"] ??= "RequireDualStack";
  }
  const isDual = spec["ipFamilyPolicy"] === "PreferDualStack" || spec["ipFamilyPolicy"] === "RequireDualStack";
  if (!isDual) return given.length > 0 ? given : [first];
  return [first, first === "IPv4" ? "IPv6" : "IPv4"];
}

function objects(value: Json | undefined): JsonObject[] {
  return asList(value).map((item) => asObject(item));
}

function allocateAddresses(
  spec: JsonObject,
  options: { live: JsonObject; used: ReadonlySet<string>; ranges: ServiceRanges },
): void {
  const families = familiesOf(spec);
  spec["ipFamilies"] = families;
  spec["ipFamilyPolicy"] ??= families.length > 1 ? "RequireDualStack" : "SingleStack";
  if (spec["clusterIP"] === "None") {
    spec["clusterIPs"] = ["None"];
    return;
  }
  const present = asList(spec["clusterIPs"]).length > 0
    ? asList(spec["clusterIPs"])
    : asText(spec["clusterIP"]) !== ""
    ? [spec["clusterIP"] ?? ""]
    : asList(options.live["clusterIPs"]);
  const addresses = families.map((family) =>
    present.find((address) => asText(address).includes(":") === (family === "IPv6")) ?? freeAddress(family, options)
  );
  spec["clusterIPs"] = addresses;
  spec["clusterIP"] = addresses[0] ?? "";
}

/** Gives a Service its addresses and node ports, and takes away what its type does not have. Changes `service`. */
export function allocateService(
  service: ApiObject,
  live: ApiObject | undefined,
  context: { readonly store: Store; readonly ranges: ServiceRanges },
): void {
  const spec = asObject(service["spec"]);
  const before = asObject(live?.["spec"]);
  const usedAddresses = new Set<string>([
    `${context.ranges.ipv4Prefix}.0.1`,
    `${context.ranges.ipv4Prefix}.0.10`,
    `${context.ranges.ipv6Prefix}a`,
  ]);
  const usedPorts = new Set<Json | undefined>();
  for (const other of context.store.values("services")) {
    if (other.metadata["uid"] === service.metadata["uid"]) continue;
    for (const address of asList(asObject(other["spec"])["clusterIPs"])) usedAddresses.add(asText(address));
    for (const port of objects(asObject(other["spec"])["ports"])) usedPorts.add(port["nodePort"]);
    usedPorts.add(asObject(other["spec"])["healthCheckNodePort"]);
  }
  const type = spec["type"];
  if (type === "ExternalName") {
    for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]) delete spec[field];
    return;
  }
  allocateAddresses(spec, { live: before, used: usedAddresses, ranges: context.ranges });

  const hasNodePorts = type === "NodePort" ||
    (type === "LoadBalancer" && spec["allocateLoadBalancerNodePorts"] !== false);
  const nextPort = (): number => {
    for (let port = FIRST_NODE_PORT; port <= LAST_NODE_PORT; port++) {
      if (usedPorts.has(port)) continue;
      usedPorts.add(port);
      return port;
    }
    throw new RangeError("No node port is left");
  };
  const ports = objects(spec["ports"]);
  for (const port of ports) {
    if (type === "ClusterIP") delete port["nodePort"];
    else if (port["nodePort"] !== undefined && port["nodePort"] !== 0) usedPorts.add(port["nodePort"]);
  }
  for (const port of ports) {
    if (!hasNodePorts || (port["nodePort"] !== undefined && port["nodePort"] !== 0)) continue;
    const old = objects(before["ports"]).find((it) =>
      it["port"] === port["port"] && it["protocol"] === port["protocol"]
    );
    const kept = old?.["nodePort"];
    port["nodePort"] = typeof kept === "number" && !usedPorts.has(kept) ? kept : nextPort();
    usedPorts.add(port["nodePort"]);
  }
  if (type === "ClusterIP") {
    for (const field of ["externalTrafficPolicy", "allocateLoadBalancerNodePorts", "healthCheckNodePort"]) {
      delete spec[field];
    }
  }
  const needsHealthPort = type === "LoadBalancer" && spec["externalTrafficPolicy"] === "Local";
  if (needsHealthPort) spec["healthCheckNodePort"] ??= before["healthCheckNodePort"] ?? nextPort();
  else delete spec["healthCheckNodePort"];
}
