// What an agent says on its Node: what is written is what is read, nothing hostile is taken, and there are bounds.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Node } from "../../../../core/kube/types.ts";
import {
  MAX_REPORT_BYTES,
  type NodeReport,
  nodeReport,
  parseReport,
  renderReport,
  type ServiceReport,
  serviceReport,
} from "../../../../core/service/node_report.ts";
import { portsText, serviceId } from "../../../../core/service/service_id.ts";
import { service } from "../service_lb/fixtures.ts";
import { anyText } from "../../../support/any_text.ts";

const words = fc.stringMatching(/^[a-z]([a-z ]{0,40}[a-z])?$/).map((text) => text.replaceAll(/ +/g, " "));
const served = fc.record({
  ports: fc.constantFrom("80", "80 443", "53/UDP"),
  serves: fc.constant(true as const),
  servedAddresses: fc.array(fc.ipV4(), { maxLength: 3 }),
  note: words,
}, { requiredKeys: ["ports", "serves"], noNullPrototype: true });
const refused = fc.record({
  ports: fc.constantFrom("80", "80 443"),
  serves: fc.constant(false as const),
  reason: fc.constantFrom("PortInUse", "ReservedPort"),
  message: words,
}, { noNullPrototype: true });
const report = fc.record({
  instance: fc.stringMatching(/^[a-z0-9-]{1,20}$/),
  namespace: fc.stringMatching(/^[a-z0-9-]{1,20}$/),
  services: fc.dictionary(fc.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}$/), fc.oneof(served, refused))
    .map((entries) => new Map<string, ServiceReport>(Object.entries(entries))),
  cut: fc.constant(0),
}, { requiredKeys: ["instance", "services", "cut"], noNullPrototype: true });

function byId(given: NodeReport | undefined): unknown {
  return given && { ...given, services: [...given.services].toSorted(([a], [b]) => a < b ? -1 : 1) };
}

Deno.test("parseReport() reads what renderReport() wrote, and the order of Services means nothing", () => {
  fc.assert(fc.property(report, (given) => {
    const text = renderReport(given);
    assert.deepEqual(byId(parseReport(text)), byId(given));
    assert.equal(renderReport({ ...given, services: new Map([...given.services].toReversed()) }), text);
  }));
});

Deno.test("parseReport() takes nothing of a text of which any part is not as it should be", () => {
  const known = { version: 1, instance: "i", served: { a: "80" } };
  assert.equal(parseReport(JSON.stringify(known))?.services.size, 1);
  const broken = [
    { ...known, version: 2 },
    { ...known, instance: 1 },
    { ...known, served: ["a"] },
    { ...known, served: { a: 80 } },
    { ...known, served: { a: "8".repeat(300) } },
    { ...known, at: { a: ["nowhere"] } },
    { ...known, at: { a: Array(65).fill("10.0.0.1") } },
    { ...known, notes: { note: "a" } },
    { ...known, refused: {} },
    { ...known, refused: [{ reason: "port in use", message: "", services: {} }] },
    { ...known, refused: [{ reason: "PortInUse", message: "x".repeat(201), services: {} }] },
    { ...known, cut: -1 },
  ];
  for (const value of broken) assert.equal(parseReport(JSON.stringify(value)), undefined, JSON.stringify(value));
  assert.equal(parseReport(`${JSON.stringify(known)}${" ".repeat(MAX_REPORT_BYTES)}`), undefined);
});

Deno.test("parseReport() never throws, and what it takes is one visible line", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseReport(text)));
  fc.assert(
    fc.property(anyText(200), (message) => {
      const text = JSON.stringify({
        version: 1,
        instance: "i",
        served: { b: "80" },
        notes: { [message]: ["b"] },
        refused: [{ reason: "PortInUse", message, services: { a: "80" } }],
      });
      for (const one of parseReport(text)?.services.values() ?? []) {
        const said = one.serves ? one.note ?? "" : one.message;
        assert.doesNotMatch(said, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        assert.ok(said.length <= 200);
      }
    }),
    { numRuns: 30 },
  );
});

const manyServed = (count: number): [string, ServiceReport][] =>
  Array.from({ length: count }, (_, i) => [
    `${i.toString(16).padStart(8, "0")}-0000`,
    { ports: "80 443", serves: true, note: "no endpoints: connections to TCP port 80 are refused" },
  ]);

Deno.test("renderReport() needs some 40 bytes for a Service", () => {
  const text = renderReport({ instance: "i", services: new Map(manyServed(1000)), cut: 0 });
  assert.ok(text.length < 50_000, String(text.length));
  assert.equal(parseReport(text)?.services.size, 1000);
});

Deno.test("renderReport() leaves notes out first, then Services that are not served, and counts those", () => {
  const sizes = fc.record({ served: fc.integer({ min: 0, max: 6000 }), refused: fc.integer({ min: 0, max: 2000 }) });
  fc.assert(
    fc.property(sizes, (counts) => {
      const services = new Map<string, ServiceReport>(manyServed(counts.served));
      for (let i = 0; i < counts.refused; i++) {
        const message = `port ${i} is in use by process "ü${"ü".repeat(100)}"`;
        services.set(`r${i}`, { ports: "80", serves: false, reason: "PortInUse", message });
      }
      const text = renderReport({ instance: "i", services, cut: 0 });
      assert.ok(new TextEncoder().encode(text).length <= MAX_REPORT_BYTES);
      const read = parseReport(text);
      assert.ok(read !== undefined);
      assert.equal(read.services.size + read.cut, services.size);
      const kept = [...read.services.values()];
      if (read.cut > 0 && kept.some(({ serves }) => !serves)) {
        assert.equal(kept.filter(({ serves }) => serves).length, counts.served);
      }
    }),
    { numRuns: 5 },
  );
});

function reporting(instance: string, writer: string): Node {
  const text = renderReport({ instance, services: new Map([["a", { ports: "80", serves: true }]]), cut: 0 });
  return {
    metadata: { name: "n1", annotations: { "k3slb.io/served": text } },
    status: {
      conditions: [{
        type: "k3slb.io/Forwarding",
        status: "True",
        message: `1 port; agent 1, nft, instance ${writer}`,
      }],
    },
  };
}

Deno.test("nodeReport() counts only what the agent that is there has written", () => {
  assert.equal(nodeReport(reporting("one", "one"))?.services.size, 1);
  assert.equal(nodeReport(reporting("one", "two")), undefined);
  assert.equal(nodeReport({ metadata: { name: "n1" } }), undefined);
});

Deno.test("serviceReport() is about the very Service with the very ports", () => {
  const given = service();
  const entry: ServiceReport = { ports: portsText(given), serves: true };
  const said: NodeReport = { instance: "i", services: new Map([[serviceId(given), entry]]), cut: 0 };
  assert.equal(serviceReport(said, given), entry);
  assert.equal(serviceReport(said, service({ spec: { ports: [{ port: 81, protocol: "TCP" }] } })), undefined);
  assert.equal(serviceReport(said, service({ name: "other" })), undefined);
});

Deno.test("portsText() is short, and another one for other ports", () => {
  const of = (ports: readonly { port: number; protocol: string }[]): string =>
    portsText(service({ spec: { ports: [...ports] } }));
  assert.equal(of([{ port: 80, protocol: "TCP" }, { port: 53, protocol: "UDP" }]), "53/UDP 80");
  const many = Array.from({ length: 1000 }, (_, i) => ({ port: i + 1, protocol: "TCP" }));
  assert.match(of(many), /^#[0-9a-f]{8}$/);
  assert.notEqual(of(many), of(many.slice(1)));
});
