// What a tenant writes is bounded before it is parsed: hostile texts cost a few milliseconds, once, and open nothing.
import assert from "node:assert/strict";
import type { Service } from "../../../../core/kube/types.ts";
import { foreignPorts, trimForeign } from "../../../../core/service/foreign_ports.ts";
import { MAX_EXTERNAL_IPS, MAX_PORTS, readService } from "../../../../core/service/reading.ts";
import { trimService } from "../../../../core/service/trim.ts";
import { isLoopback, parseIpRange } from "../../../../core/shared/ip_ranges.ts";
import { serviceExternalIps, servicePorts } from "../../../support/largest_objects.ts";
import { service } from "../service_lb/fixtures.ts";

const TOLERATIONS = "svccontroller.k3s.cattle.io/tolerations";
const RESOURCES = "k3slb.io/resources";
const ANNOTATIONS = [
  TOLERATIONS,
  RESOURCES,
  "svccontroller.k3s.cattle.io/priorityclassname",
  "service.beta.kubernetes.io/load-balancer-source-ranges",
  "k3slb.io/match-addresses",
  "k3slb.io/match-interfaces",
  "k3slb.io/ip-mode",
  "k3slb.io/last-good",
];
const HOSTILE: Readonly<Record<string, string>> = {
  commas: ",".repeat(250_000),
  "a few commas": `[${",".repeat(4_000)}]`,
  brackets: "[".repeat(4_000),
  braces: "{".repeat(4_000),
  colons: "a: ".repeat(1_300),
  quotes: `"\\`.repeat(2_000),
  aliases: `[&a [x,x,x,x], ${"*a,".repeat(1_200)}]`,
  lines: "- a\n".repeat(1_000),
  entries: "10.0.0.0/8,".repeat(20_000),
  dashes: "-".repeat(4_000),
};

/** Generous: the loop must not be blocked for long even on a small machine. Without bounds the first text takes most of a minute. */
const MOST_MS = 250;

for (const [name, text] of Object.entries(HOSTILE)) {
  Deno.test(`readService() bounds ${name} in every annotation`, () => {
    for (const annotation of ANNOTATIONS) {
      const given = service({ annotations: { [annotation]: text } });
      const startMs = performance.now();
      readService(trimService(given));
      const tookMs = performance.now() - startMs;
      assert.ok(tookMs < MOST_MS, `${annotation}: ${tookMs} ms`);
    }
  });
}

Deno.test("readService() takes no anchors and aliases, and no more than some dozens of tolerations", () => {
  const faultOf = (text: string): string =>
    readService(service({ annotations: { [TOLERATIONS]: text } })).faults[0]?.message ?? "";
  assert.match(faultOf("[&a {operator: Exists}, *a]"), /anchors and aliases/);
  assert.match(faultOf(`[${"{operator: Exists},".repeat(33)}]`), /more than 32/);
  assert.equal(faultOf(`[${"{operator: Exists},".repeat(32)}]`), "");
});

Deno.test("trimService() keeps no long text", () => {
  const annotations = Object.fromEntries(ANNOTATIONS.map((name) => [name, "x".repeat(250_000)]));
  const loadBalancerSourceRanges = Array.from({ length: 5_000 }, () => "10.0.0.0/8".padEnd(1_000));
  const kept = JSON.stringify(trimService(service({ annotations, spec: { loadBalancerSourceRanges } })));
  assert.ok(kept.length < 200_000, String(kept.length));
});

Deno.test("a Service of thousands of ports is refused whole, and no more of them is kept than shows it", () => {
  const at = readService(trimService(servicePorts(MAX_PORTS)));
  assert.deepEqual([at.ports.length, at.unknown], [MAX_PORTS, undefined]);
  const kept = trimService(servicePorts(7_000));
  assert.equal(kept.spec?.ports?.length, MAX_PORTS + 1);
  for (const reading of [readService(kept), readService(servicePorts(7_000))]) {
    assert.equal(reading.ports.length, MAX_PORTS);
    const reasons = [reading.unknown, reading.unknownAccess, reading.faults[0]].map((one) => one?.reason);
    assert.deepEqual(reasons, ["TooManyPorts", "TooManyPorts", "TooManyPorts"]);
  }
});

Deno.test("of external IPs, which multiply with ports, 32 are looked at, whatever the Service's type", () => {
  for (const trim of [trimService, trimForeign]) {
    const kept = trim(serviceExternalIps());
    assert.equal(kept?.spec?.externalIPs?.length, MAX_EXTERNAL_IPS);
    const ports = foreignPorts(kept === undefined ? [] : [kept]);
    const claims = [...ports.keys()].flatMap((id) => [...ports.of(id)].flatMap(({ ips }) => ips)).length;
    assert.ok(claims <= MAX_EXTERNAL_IPS * MAX_PORTS, String(claims));
  }
});

const RESOURCE_CASES: readonly (readonly [text: string, fault: RegExp | undefined])[] = [
  ["{requests: {cpu: 10m, memory: 16Mi}, limits: {ephemeral-storage: 64Mi}}", undefined],
  ["{requests: {cpu: 1, memory: 512Mi}}", undefined],
  ["{requests: {memory: 60Gi}}", /"memory" is more than 512Mi/],
  ["{requests: {memory: 6e10}}", /"memory" is more than 512Mi/],
  ["{limits: {cpu: '2'}}", /"cpu" is more than 1/],
  ["{limits: {nvidia.com/gpu: 1}}", /only cpu, memory, ephemeral-storage/],
  ["{limits: {hugepages-2Mi: 2Mi}}", /only cpu, memory, ephemeral-storage/],
  ["{limits: {toString: 1}}", /only cpu, memory, ephemeral-storage/],
];

for (const [text, fault] of RESOURCE_CASES) {
  Deno.test(`readService() and resources ${text}`, () => {
    const { faults } = readService(service({ annotations: { [RESOURCES]: text } }));
    if (fault === undefined) assert.deepEqual(faults, []);
    else assert.match(faults[0]?.message ?? "", fault);
  });
}

const LOOPBACK = ["127.0.0.1", "127.0.0.53", "127.0.0.0/8", "0.0.0.0", "::1", "::"];
const MAPPED = [
  "::ffff:127.0.0.1",
  "::ffff:7f00:1",
  "::127.0.0.1",
  "0:0:0:0:0:ffff:7f00:35",
  "::ffff:0.0.0.0",
];

for (const address of [...LOOPBACK, ...MAPPED]) {
  Deno.test(`loopback is never matched: ${address}`, () => {
    const range = parseIpRange(address);
    assert.ok(range !== undefined && isLoopback(range));
    const reading = readService(service({ annotations: { "k3slb.io/match-addresses": `192.0.2.1,${address}` } }));
    assert.equal(reading.matchAddresses, undefined);
    assert.match(reading.unknownAccess?.message ?? "", /loopback/);
    const wish = readService(service({ spec: { loadBalancerIP: address } as NonNullable<Service["spec"]> }));
    assert.equal(wish.addressWish, undefined);
  });
}

Deno.test("addresses beside loopback are matched", () => {
  for (const address of ["126.255.255.255", "128.0.0.1", "::2", "::ffff:192.0.2.1", "10.0.0.0/8", "fd00::/8"]) {
    const range = parseIpRange(address);
    assert.ok(range !== undefined && !isLoopback(range), address);
  }
});
