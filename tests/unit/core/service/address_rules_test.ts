// What a node may name as its own address: laws over any address, and hostile texts.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Node } from "../../../../core/kube/types.ts";
import { publishObstacle } from "../../../../core/service/address_rules.ts";
import { nodeAddresses } from "../../../../core/service/node_addresses.ts";
import { readService } from "../../../../core/service/reading.ts";
import { ipRangeContains, parseIpRange } from "../../../../core/shared/ip_ranges.ts";
import { node, service } from "../service_lb/fixtures.ts";
import { anyText } from "../../../support/any_text.ts";

const RANGES = ["10.43.0.0/16", "fd43::/112"].flatMap((text) => parseIpRange(text) ?? []);
const NODES: ReadonlyMap<string, Node> = new Map([
  ["a", node("a", { internal: ["10.0.0.1"], podCidrs: ["10.42.0.0/24"] })],
  ["b", node("b", { internal: ["10.0.0.2", "fd00::2"], podCidrs: ["10.42.1.0/24", "fd42::/64"] })],
]);
const FACTS = { nodes: NODES, serviceRanges: RANGES };

const NEVER = [
  "127.0.0.0/8",
  "0.0.0.0/8",
  "224.0.0.0/3",
  "169.254.0.0/16",
  "10.43.0.0/16",
  "10.42.0.0/23",
  "10.0.0.2/32",
  "::/127",
  "ff00::/8",
  "fe80::/10",
  "::ffff:0:0/96",
  "fd43::/112",
  "fd42::/64",
  "fd00::2/128",
  "168.63.129.16/32",
  "100.100.100.200/32",
  "fd00:ec2::254/128",
].flatMap((text) => parseIpRange(text) ?? []);

/** Addresses near what is refused, and any others. */
const IPS = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.constantFrom("168.63.129.16", "100.100.100.200", "fd00:ec2:0::254", "fd20:ce::255"),
  fc.tuple(fc.constantFrom("127.0.0", "10.43.7", "10.42.1", "10.0.0", "224.0.0", "169.254.1"), fc.nat(255))
    .map(([start, last]) => `${start}.${last}`),
  fc.tuple(fc.constantFrom("fd43::", "fd42::", "fe80::", "ff02::", "::ffff:10.0.0.", "fd00::"), fc.nat(99))
    .map(([start, last]) => `${start}${last}`),
);

Deno.test("publishObstacle: exactly what is loopback, special, a metadata service's, a Service's, a pod's or another node's is refused", () => {
  fc.assert(fc.property(IPS, (ip) => {
    const address = parseIpRange(ip);
    assert.ok(address);
    const wanted = NEVER.some((range) => ipRangeContains(range, address));
    assert.equal(publishObstacle(ip, "a", FACTS) !== undefined, wanted, ip);
  }));
});

Deno.test("nodeAddresses: whatever an annotation says, few addresses come of it, quickly, each in its plain form", () => {
  const text = fc.array(fc.oneof(IPS, anyText(), fc.constant(","), fc.constant("10.0.0.9/0")), {
    maxLength: 3000,
  }).map((parts) => parts.join(","));
  fc.assert(fc.property(text, (published) => {
    const hostile = node("a", {
      internal: ["10.0.0.1"],
      annotations: { "k3slb.io/published-addresses": published },
    });
    const options = { ...FACTS, reading: readService(service()), served: undefined };
    const { addresses } = nodeAddresses(hostile, options);
    assert.ok(addresses.length <= 16);
    for (const { ip } of addresses) assert.match(ip, /^[0-9a-f.:]+$/);
  }));
});
