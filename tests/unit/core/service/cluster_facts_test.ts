// What the server publishes for agents: what is written is what is read, broken text is no facts, and there are bounds.
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type ClusterFacts,
  type ContestedPort,
  hasContestedPort,
  parseFacts,
  renderFacts,
} from "../../../../core/service/cluster_facts.ts";
import type { Service } from "../../../../core/kube/types.ts";
import { foreignPorts, trimForeign } from "../../../../core/service/foreign_ports.ts";
import { serviceId } from "../../../../core/service/service_id.ts";
import { CLUSTER_FACTS } from "../../../support/cluster_facts.ts";
import { service } from "../service_lb/fixtures.ts";

const FACTS: ClusterFacts = {
  ...CLUSTER_FACTS,
  honorExcludeLabel: true,
  nodePortRange: { from: 30000, to: 32767 },
  nodes: new Map([["node-a", { ips: ["10.0.0.1", "fd00::1"], kubeletPort: 10250 }]]),
};

const port = fc.record({
  port: fc.integer({ min: 1, max: 65535 }),
  protocol: fc.constantFrom("TCP", "UDP", "SCTP"),
});
const label = fc.stringMatching(/^[a-z][a-z0-9]{0,10}$/);
const facts = fc.record({
  server: fc.string(),
  dataplane: fc.constantFrom("agent" as const, "pods" as const),
  reservePorts: fc.constantFrom("daemonset" as const, "none" as const),
  lbClass: fc.string(),
  lbDefault: fc.boolean(),
  allowList: fc.boolean(),
  honorExcludeLabel: fc.boolean(),
  foreign: fc.uniqueArray(
    fc.record({ namespace: label, name: label, ports: fc.array(port, { minLength: 1 }), ip: fc.ipV4() }),
    { selector: ({ namespace, name }) => `${namespace}/${name}` },
  ).map((list) =>
    list.map(({ namespace, name, ports, ip }) => ({
      metadata: { namespace, name, creationTimestamp: "2026-01-01T00:00:00Z" },
      spec: { ports: ports.map((each) => ({ ...each, nodePort: 30000 + each.port % 2768 })), externalIPs: [ip] },
    })).toSorted((a, b) =>
      `${a.metadata.namespace}/${a.metadata.name}` < `${b.metadata.namespace}/${b.metadata.name}` ? -1 : 1
    )
  ),
  contested: fc.dictionary(
    port.map((each) => `${each.port}/${each.protocol}`),
    fc.uniqueArray(label, { minLength: 1 }).map((ids) =>
      ids.toSorted().map((id) => ({ service: id, without: new Set([id]) }))
    ),
  ).map((entries) => new Map(Object.entries(entries))),
  nodes: fc.dictionary(
    label,
    fc.record({ ips: fc.array(fc.ipV4()), kubeletPort: fc.integer({ min: 1, max: 65535 }) }, { noNullPrototype: true }),
  )
    .map((entries) => new Map(Object.entries(entries))),
}, { noNullPrototype: true });

Deno.test("parseFacts() reads what renderFacts() wrote, and the order of what is said means nothing", () => {
  assert.deepEqual(parseFacts(renderFacts(FACTS)), FACTS);
  fc.assert(fc.property(facts, (given) => {
    const text = renderFacts(given);
    assert.deepEqual(parseFacts(text), given);
    const turned = {
      ...given,
      foreign: given.foreign.toReversed(),
      contested: new Map([...given.contested].toReversed()),
      nodes: new Map([...given.nodes].toReversed()),
    };
    assert.equal(renderFacts(turned), text);
  }));
});

Deno.test("parseFacts() takes nothing of a text of which any part is not as it should be", () => {
  const known = JSON.parse(renderFacts(FACTS));
  const broken = [
    { ...known, version: 2 },
    { ...known, version: undefined },
    { ...known, dataplane: "magic" },
    { ...known, allowList: "yes" },
    { ...known, lbClass: 1 },
    { ...known, nodePortRange: "30000" },
    { ...known, nodePortRange: "0-99999" },
    { ...known, foreign: [] },
    { ...known, foreign: { "a/b": { created: "", ports: ["80"] } } },
    { ...known, foreign: { "a/b": { created: "", ports: ["99999/TCP"] } } },
    { ...known, foreign: { "a/b": { created: "", ports: Array(1001).fill("80/TCP") } } },
    { ...known, foreign: { "a/b": { created: "", ports: ["80/TCP"], ips: ["here"] } } },
    { ...known, contested: { "80/TCP": ["a"] } },
    { ...known, nodes: { "node-a": { ips: ["host.example"], kubeletPort: 10250 } } },
    { ...known, nodes: { "node-a": { ips: ["10.0.0.1"], kubeletPort: 0 } } },
  ];
  for (const value of broken) assert.equal(parseFacts(JSON.stringify(value)), undefined, JSON.stringify(value));
  assert.equal(parseFacts(`${renderFacts(FACTS)}${" ".repeat(600_000)}`), undefined);
  assert.deepEqual(parseFacts(JSON.stringify({ ...known, later: { field: true } })), FACTS, "a later server says more");
});

Deno.test("parseFacts() never throws, whatever the text", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseFacts(text)));
  const fields = Object.keys(JSON.parse(renderFacts(FACTS)));
  fc.assert(fc.property(fc.constantFrom(...fields), fc.jsonValue(), (field, value) => {
    parseFacts(JSON.stringify({ ...JSON.parse(renderFacts(FACTS)), [field]: value }));
  }));
});

Deno.test("renderFacts() stays within bounds: the youngest foreign Services and the last nodes are left out, and counted", () => {
  const count = 8_000;
  const names = Array.from({ length: count }, (_, i) => `n${String(i).padStart(5, "0")}`);
  const many: ClusterFacts = {
    ...FACTS,
    foreign: names.map((name, i) => ({
      metadata: { name, namespace: "x".repeat(63), creationTimestamp: new Date(i * 1000).toISOString() },
      spec: { ports: [{ port: 80, protocol: "TCP", nodePort: 30000 }] },
    })),
    nodes: new Map(names.map((name) => [name, { ips: ["10.0.0.1"], kubeletPort: 10250 }])),
    contested: new Map(
      Array.from({ length: 200 }, (_, i) => [`${i + 1}/TCP`, [{ service: "a", without: new Set(names) }]]),
    ),
  };
  const text = renderFacts(many);
  assert.ok(text.length < 524_288, String(text.length));
  const read = parseFacts(text);
  assert.ok(read !== undefined);
  const { cut } = JSON.parse(text);
  assert.deepEqual(cut, {
    foreign: count - read.foreign.length,
    contested: 200 - read.contested.size,
    nodes: count - read.nodes.size,
  });
  assert.ok(read.foreign.length > 1000 && read.nodes.size > 2000);
  assert.equal(read.foreign[0]?.metadata?.name, "n00000");
  assert.ok(read.nodes.has("n00000"));
});

Deno.test("renderFacts() lets no namespace, and no Service, push out the ports of others, however many and old they are", () => {
  const ports = Array.from({ length: 1_000 }, (_, index) => ({ port: 1_000 + index, protocol: "TCP" }));
  const flood = Array.from({ length: 200 }, (_, index): Service => ({
    metadata: { name: `flood${index}`, namespace: "evil", creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { externalIPs: ["203.0.113.1"], ports },
  }));
  const later = Array.from({ length: 50 }, (_, index): Service => ({
    metadata: { name: `web${index}`, namespace: "shop", creationTimestamp: "2026-01-02T00:00:00Z" },
    spec: { externalIPs: ["192.0.2.1"], ports: [{ port: 8_000 + index, protocol: "TCP" }] },
  }));
  const read = parseFacts(renderFacts({ ...FACTS, foreign: [...flood, ...later] }));
  const names = (namespace: string): number =>
    (read?.foreign ?? []).filter(({ metadata }) => metadata?.namespace === namespace).length;
  assert.deepEqual([names("shop"), names("evil") > 10, names("evil") < 30], [50, true, true]);
  const held = (port: number, holder: string): readonly [string, readonly ContestedPort[]] => [
    `${port}/TCP`,
    [{ service: holder, without: new Set() }],
  ];
  const contested = new Map([
    ...Array.from({ length: 4_000 }, (_, index) => held(1_000 + index, `evil-${index >> 10}-${"x".repeat(30)}`)),
    held(80, "shop-web"),
    held(8443, "shop-web"),
  ]);
  const { contested: kept } = parseFacts(renderFacts({ ...FACTS, contested })) ?? {};
  assert.deepEqual([kept?.has("80/TCP"), kept?.has("8443/TCP"), (kept?.size ?? 0) < 2_000], [true, true, true]);
});

Deno.test("a foreign Service has the same ports for an agent as for the server", () => {
  const given = service({ name: "np", spec: { type: "NodePort", externalIPs: ["192.0.2.9"] } });
  const trimmed = trimForeign(given);
  assert.ok(trimmed !== undefined);
  const read = parseFacts(renderFacts({ ...FACTS, foreign: [trimmed] }));
  assert.deepEqual([...foreignPorts(read?.foreign ?? []).keys()], [...foreignPorts([given]).keys()]);
});

Deno.test("hasContestedPort() speaks of the ports that the server speaks of, and of the very Service", () => {
  const owner = service({ name: "owner" });
  const read = parseFacts(renderFacts({
    ...FACTS,
    contested: new Map([["80/TCP", [{ service: serviceId(owner), without: new Set(["node-b"]) }]]]),
  }));
  assert.ok(read !== undefined);
  const ask = (given: typeof owner, id: string, node: string): boolean | undefined =>
    hasContestedPort(read, { service: given, port: id, node });
  assert.equal(ask(owner, "80/TCP", "node-a"), true);
  assert.equal(ask(owner, "80/TCP", "node-b"), false);
  assert.equal(ask(service({ name: "other" }), "80/TCP", "node-a"), false);
  assert.equal(ask(owner, "443/TCP", "node-a"), undefined);
});
