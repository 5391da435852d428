// The oldest Service owns a port, on each node.
import assert from "node:assert/strict";
import fc from "fast-check";
import { type PortConflicts, portConflicts, portIds } from "../../../../core/service/port_owners.ts";
import { service } from "../service_lb/fixtures.ts";

const port = (number: number, protocol = "TCP"): { port: number; protocol: string } => ({ port: number, protocol });

Deno.test("portConflicts() leaves a port to the oldest and names it", () => {
  const old = service({ name: "z", created: "2025-01-01T00:00:00Z" });
  const conflicts = portConflicts([service({ name: "a" }), old], { candidatesOf: () => ["n1", "n2"] });
  assert.deepEqual([...conflicts.keys()], ["default/a"]);
  assert.deepEqual(conflicts.get("default/a")?.get("n2"), { port: "80/TCP", owner: "default/z" });
});

Deno.test("portConflicts() tells protocols and nodes apart", () => {
  const tcp = service({ name: "tcp" });
  const udp = service({ name: "udp", spec: { ports: [port(80, "UDP")] } });
  assert.equal(portConflicts([tcp, udp], { candidatesOf: () => ["n1"] }).size, 0);
  const other = service({ name: "other" });
  assert.equal(portConflicts([tcp, other], { candidatesOf: (each) => each === tcp ? ["n1"] : ["n2"] }).size, 0);
});

Deno.test("portConflicts() gives the other ports of a loser to the next", () => {
  const first = service({ name: "first", created: "2025-01-01T00:00:00Z", spec: { ports: [port(80)] } });
  const loser = service({ name: "loser", created: "2025-01-02T00:00:00Z", spec: { ports: [port(80), port(443)] } });
  const next = service({ name: "next", created: "2025-01-03T00:00:00Z", spec: { ports: [port(443)] } });
  assert.deepEqual([...portConflicts([next, loser, first], { candidatesOf: () => ["n1"] }).keys()], ["default/loser"]);
});

Deno.test("portConflicts() leaves a port to who has it on a node, against an older one that asks later", () => {
  const old = service({ name: "old", created: "2025-01-01T00:00:00Z", spec: { ports: [port(80), port(443)] } });
  const young = service({ name: "young", spec: { ports: [port(443)] } });
  const has = new Set(["old 80/TCP n1", "young 443/TCP n1"]);
  const conflicts = (): unknown =>
    portConflicts([old, young], {
      candidatesOf: () => ["n1", "n2"],
      givenOn: (each, node) => new Set(portIds(each).filter((id) => has.has(`${each.metadata?.name} ${id} ${node}`))),
    });
  const n1 = new Map([["n1", { port: "443/TCP", owner: "default/young" }]]);
  const n2 = new Map([["n2", { port: "443/TCP", owner: "default/old" }]]);
  // Nobody has it on the second node: there age decides.
  assert.deepEqual(conflicts(), new Map([["default/old", n1], ["default/young", n2]]));
  // The old one has left the node: the same. It has come back, and both have it: the older one.
  has.delete("old 80/TCP n1");
  assert.deepEqual(conflicts(), new Map([["default/old", n1], ["default/young", n2]]));
  has.add("old 443/TCP n1");
  has.add("old 80/TCP n1");
  const lost = { port: "443/TCP", owner: "default/old" };
  assert.deepEqual(conflicts(), new Map([["default/young", new Map([["n1", lost], ["n2", lost]])]]));
});

Deno.test("portConflicts() decides the same again when what it decided stands", () => {
  const sketch = fc.record({
    created: fc.constantFrom("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"),
    ports: fc.uniqueArray(fc.constantFrom(80, 81, 82), { minLength: 1 }),
    had: fc.uniqueArray(fc.constantFrom(80, 81, 82)),
  });
  fc.assert(fc.property(fc.array(sketch, { maxLength: 5 }), (sketches) => {
    const services = sketches.map(({ created, ports }, index) =>
      service({ name: `s${index}`, created, spec: { ports: ports.map((each) => port(each)) } })
    );
    let has = new Set(sketches.flatMap(({ had }, index) => had.map((each) => `s${index} ${each}/TCP`)));
    const winners = (): Set<string> => {
      const conflicts = portConflicts(services, {
        candidatesOf: () => ["n"],
        givenOn: (each) => new Set(portIds(each).filter((id) => has.has(`${each.metadata?.name} ${id}`))),
      });
      return new Set(
        services.flatMap((each) =>
          conflicts.has(`default/${each.metadata?.name}`)
            ? []
            : (each.spec?.ports ?? []).map((one) => `${each.metadata?.name} ${one.port}/TCP`)
        ),
      );
    };
    // Who holds a part each of what both want loses it, and then age decides: at rest after a few rounds, and for good.
    for (let round = 0; round < sketches.length + 1; round++) has = winners();
    assert.deepEqual(winners(), has);
  }));
});

Deno.test("portConflicts() leaves each port of a node to one Service at most", () => {
  const sketch = fc.record({
    created: fc.constantFrom("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"),
    ports: fc.uniqueArray(fc.constantFrom(80, 81, 82), { minLength: 1 }),
    nodes: fc.uniqueArray(fc.constantFrom("n1", "n2", "n3")),
  });
  fc.assert(fc.property(fc.array(sketch, { maxLength: 6 }), (sketches) => {
    const services = sketches.map(({ created, ports }, index) =>
      service({ name: `s${index}`, created, spec: { ports: ports.map((each) => port(each)) } })
    );
    const nodesOf = new Map(services.map((each, index) => [each, sketches[index]?.nodes ?? []]));
    const conflicts = portConflicts(services, { candidatesOf: (each) => nodesOf.get(each) ?? [] });
    const held = new Set<string>();
    for (const each of services) {
      for (const node of nodesOf.get(each) ?? []) {
        if (conflicts.get(`default/${each.metadata?.name}`)?.has(node)) continue;
        for (const { port } of each.spec?.ports ?? []) {
          assert.ok(!held.has(`${node} ${port}`), `${node} ${port} twice`);
          held.add(`${node} ${port}`);
        }
      }
    }
  }));
});

Deno.test("portConflicts() of many nodes are those of each node alone, and ask once for each Service and node", () => {
  const sketch = fc.record({
    created: fc.constantFrom("2025-01-01T00:00:00Z", "2025-01-02T00:00:00Z"),
    ports: fc.uniqueArray(fc.constantFrom(80, 81, 82), { minLength: 1 }),
    // By node: nothing, everything, or one port.
    given: fc.array(fc.constantFrom(undefined, "all" as const, "80/TCP", "81/TCP"), { minLength: 4, maxLength: 4 }),
    taken: fc.subarray(["n0", "n1", "n2", "n3"]),
  });
  const nodes = ["n0", "n1", "n2", "n3"];
  fc.assert(fc.property(fc.array(sketch, { maxLength: 6 }), (sketches) => {
    const services = sketches.map(({ created, ports }, index) =>
      service({ name: `s${index}`, created, spec: { ports: ports.map((each) => port(each)) } })
    );
    const sketchOf = new Map(services.map((each, index) => [each, sketches[index]]));
    const reservationsOf = new Map(services.map((each, index) => {
      const onNode = (name: string): boolean => sketches[index]?.taken.includes(name) ?? false;
      return [each, [{ port: "80/TCP", owner: "", onNode }]] as const;
    }));
    let asked = 0;
    const among = (names: readonly string[]): PortConflicts =>
      portConflicts(services, {
        candidatesOf: () => names,
        reservedFor: (each) => reservationsOf.get(each) ?? [],
        givenOn: (each, name) => {
          asked++;
          const given = sketchOf.get(each)?.given[nodes.indexOf(name)];
          return given === undefined || given === "all" ? given : new Set([given]);
        },
      });
    const all = among(nodes);
    assert.ok(asked <= services.length * nodes.length);
    for (const name of nodes) {
      const alone = among([name]);
      for (const { metadata } of services) {
        const key = `default/${metadata?.name}`;
        assert.deepEqual(all.get(key)?.get(name), alone.get(key)?.get(name));
      }
    }
  }));
});
