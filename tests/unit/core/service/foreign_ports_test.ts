// Ports of nodes that Services have without this program: who keeps them, and who is told.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Service } from "../../../../core/kube/types.ts";
import {
  type ForeignFacts,
  ForeignPorts,
  foreignPorts,
  lateClaims,
  reservedPorts,
  trimForeign,
} from "../../../../core/service/foreign_ports.ts";
import { portConflicts } from "../../../../core/service/port_owners.ts";
import { node, service } from "../service_lb/fixtures.ts";

const NODES = new Map([
  ["a", node("a", { internal: ["10.0.0.1"] })],
  ["b", node("b", { internal: ["10.0.0.2"] })],
]);
const OLD = "2025-01-01T00:00:00Z";
const YOUNG = "2027-01-01T00:00:00Z";

function other(created: string, spec: Partial<NonNullable<Service["spec"]>>): Service {
  return service({ name: "other", created, spec: { type: "NodePort", ...spec } });
}

function facts(others: readonly Service[], nodePortRange?: ForeignFacts["nodePortRange"]): ForeignFacts {
  return { ports: foreignPorts(others), nodes: NODES, ...(nodePortRange === undefined ? {} : { nodePortRange }) };
}

/** By node, why `wanted` can't have its ports there. */
function refused(wanted: Service, given: ForeignFacts): Readonly<Record<string, string | undefined>> {
  const conflicts = portConflicts([wanted], {
    candidatesOf: () => NODES.keys(),
    reservedFor: (each) => reservedPorts(each, given),
  });
  const byNode = conflicts.get("default/web") ?? new Map();
  return Object.fromEntries([...byNode].map(([name, conflict]) => [name, conflict.message]));
}

const RANGE = { from: 30_000, to: 32_767 };
const WEB = service({ spec: { ports: [{ port: 31_000, protocol: "TCP", nodePort: 30_080 }] } });
const NODE_PORT = { ports: [{ port: 80, protocol: "TCP", nodePort: 31_000 }] };
const EXTERNAL = { type: "ClusterIP", externalIPs: ["10.0.0.2"], ports: [{ port: 31_000, protocol: "TCP" }] };

const CASES: readonly {
  readonly name: string;
  readonly wanted?: Service;
  readonly given: ForeignFacts;
  readonly want: Readonly<Record<string, string>>;
}[] = [
  { name: "nobody else has it", given: facts([]), want: {} },
  {
    name: "the node port of an older Service, on all nodes",
    given: facts([other(OLD, NODE_PORT)]),
    want: {
      a: "port 31000/TCP is the node port of Service default/other",
      b: "port 31000/TCP is the node port of Service default/other",
    },
  },
  {
    name: "an older load balancer's node port counts as any other",
    given: facts([other(OLD, { ...NODE_PORT, type: "LoadBalancer" })]),
    want: {
      a: "port 31000/TCP is the node port of Service default/other",
      b: "port 31000/TCP is the node port of Service default/other",
    },
  },
  { name: "a younger one takes nothing", given: facts([other(YOUNG, NODE_PORT)]), want: {} },
  {
    name: "another protocol is another port",
    given: facts([other(OLD, { ports: [{ port: 80, protocol: "UDP", nodePort: 31_000 }] })]),
    want: {},
  },
  {
    name: "an external IP takes its port on the node that has the address",
    given: facts([other(OLD, EXTERNAL)]),
    want: { b: "port 31000/TCP is at 10.0.0.2 an external IP's of Service default/other" },
  },
  {
    name: "the range of node ports is kept",
    given: facts([], RANGE),
    want: {
      a: "port 31000/TCP is kept for node ports, which are 30000 to 32767",
      b: "port 31000/TCP is kept for node ports, which are 30000 to 32767",
    },
  },
  {
    name: "its own node port is its own",
    wanted: service({ spec: { ports: [{ port: 31_000, protocol: "TCP", nodePort: 31_000 }] } }),
    given: facts([service({ spec: { ports: [{ port: 31_000, protocol: "TCP", nodePort: 31_000 }] } })], RANGE),
    want: {},
  },
];

for (const { name, wanted = WEB, given, want } of CASES) {
  Deno.test(`reservedPorts: ${name}`, () => assert.deepEqual(refused(wanted, given), want));
}

Deno.test("portConflicts: who is refused for a node port leaves his other ports to the next", () => {
  const first = service({ spec: { ports: [{ port: 80 }, { port: 31_000 }] } });
  const next = service({ name: "next", created: YOUNG, spec: { ports: [{ port: 80 }] } });
  const given = facts([other(OLD, NODE_PORT)]);
  const conflicts = portConflicts([first, next], {
    candidatesOf: () => ["a"],
    reservedFor: (each) => reservedPorts(each, given),
  });
  assert.deepEqual([...conflicts.keys()], ["default/web"]);
});

Deno.test("lateClaims: a node port that is given out later is named, an external IP of no node is not", () => {
  const elsewhere = service({ name: "third", created: YOUNG, spec: { ...EXTERNAL, externalIPs: ["192.0.2.1"] } });
  assert.deepEqual(
    lateClaims(WEB, facts([other(YOUNG, NODE_PORT), elsewhere])).map(({ port, what }) => `${port}: ${what}`),
    ["31000/TCP: the node port of Service default/other"],
  );
});

Deno.test("trimForeign keeps no Service without a port on nodes", () => {
  assert.equal(trimForeign(other(OLD, { type: "ClusterIP", ports: [{ port: 80 }] })), undefined);
  assert.equal([...foreignPorts([trimForeign(other(OLD, NODE_PORT)) ?? {}]).keys()].length, 1);
});

Deno.test("foreign ports that are brought up to date are those of a new look, whatever came, changed and went", () => {
  const sketch = fc.record({
    name: fc.constantFrom("a", "b", "c"),
    nodePort: fc.constantFrom(31000, 31001),
    externalIPs: fc.subarray(["10.0.0.1", "10.0.0.2"]),
    port: fc.constantFrom(80, 31000),
  });
  const told = (ports: ForeignPorts): unknown =>
    [...ports.keys()].sort().map((id) => [
      id,
      [...ports.of(id)].map((one) => JSON.stringify([one.service.metadata?.name, one.isNodePort, one.ips])).sort(),
    ]);
  fc.assert(
    fc.property(fc.array(fc.array(sketch, { maxLength: 4 }), { maxLength: 5 }), (lists) => {
      const kept = new ForeignPorts();
      for (const list of lists) {
        const services = list.map(({ name, nodePort, externalIPs, port }) =>
          service({ name, spec: { externalIPs, ports: [{ port, protocol: "TCP", nodePort }] } })
        );
        kept.become(services);
        assert.deepEqual(told(kept), told(foreignPorts(services)));
      }
    }),
  );
});

/** Counted port by IP these are six million claims, with every change of any Service. */
function manyOthers(created: string): readonly Service[] {
  const ports = Array.from({ length: 1_000 }, (_, index) => ({ port: 30_500 + index, protocol: "TCP" }));
  const externalIPs = ["10.0.0.1", "10.0.0.2", ...Array.from({ length: 30 }, (_, index) => `192.0.2.${index}`)];
  return Array.from(
    { length: 200 },
    (_, index) =>
      service({ name: `s${String(index).padStart(3, "0")}`, created, spec: { type: "ClusterIP", externalIPs, ports } }),
  );
}

Deno.test("of two hundred Services with a thousand ports at 32 external IPs each the oldest are named, at addresses of nodes", () => {
  const older = manyOthers(OLD);
  const reserved = reservedPorts(WEB, facts(older));
  assert.deepEqual(reserved.map(({ owner, message }) => `${owner}: ${message}`), [
    "default/s000: port 31000/TCP is at 10.0.0.1 an external IP's of Service default/s000",
    "default/s000: port 31000/TCP is at 10.0.0.2 an external IP's of Service default/s000",
  ]);
  assert.equal(lateClaims(WEB, facts(manyOthers(YOUNG))).length, 32);
  const ports = foreignPorts(older);
  for (const one of older) ports.note(one, undefined);
  assert.deepEqual([...ports.keys()], []);
});
