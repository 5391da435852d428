// What a node forwards and what its pods are told, rule by rule; and that nothing but the set of facts decides.
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  MATCH_ADDRESSES_ANNOTATION,
  MATCH_INTERFACES_ANNOTATION,
  SOURCE_RANGES_ANNOTATION,
} from "../../../core/service_lb/labels.ts";
import type { ForwardedPort } from "../../../node_agent/dataplane_contract.ts";
import { forwardingDecision, type ForwardingFacts } from "../../../node_agent/forwarding_plan.ts";
import { parseReservedPorts } from "../../../node_agent/reserved_ports.ts";
import { endpoint, NODE, node, pod, port, service, slice } from "./_objects.ts";

const EMPTY: ForwardingFacts = {
  nodeName: NODE,
  pods: [],
  services: [],
  slices: [],
  node: node(),
  interfaces: [
    { name: "eth0", addresses: ["192.0.2.1", "2001:db8::1"] },
    { name: "eth1", addresses: ["198.51.100.1"] },
  ],
  listeners: [],
  reserved: parseReservedPorts(["22", "10250-10259/tcp"]),
  allowPortOverride: false,
  programmed: new Set(),
};

/** One Service `web` with its pod. */
function web(change: Parameters<typeof service>[1] = {}): Partial<ForwardingFacts> {
  return { pods: [pod("web")], services: [service("web", change)], slices: [slice("web", [endpoint("10.42.1.5")])] };
}

interface PlanCase {
  readonly name: string;
  readonly given: Partial<ForwardingFacts>;
  /** Fields of the forwarded ports that the case is about. */
  readonly want: readonly { readonly [K in keyof ForwardedPort]?: ForwardedPort[K] | undefined }[];
}

const READY = { ready: true };
const CLOSED = { ready: false };
const ENDING = { ready: false, serving: true, terminating: true };

const PLAN_CASES: readonly PlanCase[] = [
  { name: "no pods, no ports", given: { services: [service("web")] }, want: [] },
  {
    name: "a bound pod",
    given: web(),
    want: [{ port: 80, protocol: "TCP", families: ["IPv4"], trafficPolicy: "Cluster" }],
  },
  { name: "a pod of another node", given: { ...web(), pods: [pod("web", { nodeName: "node-2" })] }, want: [] },
  { name: "a pod without a node", given: { ...web(), pods: [{ ...pod("web"), spec: { containers: [] } }] }, want: [] },
  { name: "a failed pod", given: { ...web(), pods: [{ ...pod("web"), status: { phase: "Failed" } }] }, want: [] },
  { name: "an ended pod", given: { ...web(), pods: [{ ...pod("web"), status: { phase: "Succeeded" } }] }, want: [] },
  {
    name: "a terminating pod",
    given: {
      ...web(),
      pods: [{ ...pod("web"), metadata: { ...pod("web").metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } }],
    },
    want: [],
  },
  { name: "a Service of another type", given: web({ spec: { type: "ClusterIP" } }), want: [] },
  {
    name: "two pods of one Service",
    given: { ...web(), pods: [pod("web"), pod("web", { name: "old" })] },
    want: [{ port: 80 }],
  },
  {
    name: "every protocol passes",
    given: web({ spec: { ports: [port(53, { protocol: "UDP" }), port(53), port(132, { protocol: "SCTP" })] } }),
    want: [{ port: 53, protocol: "TCP" }, { port: 53, protocol: "UDP" }, { port: 132, protocol: "SCTP" }],
  },
  { name: "no protocol is TCP", given: web({ spec: { ports: [{ port: 80 }] } }), want: [{ protocol: "TCP" }] },
  {
    name: "affinity has its time",
    given: web({ spec: { sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } } }),
    want: [{ affinitySeconds: 60 }],
  },
  {
    name: "affinity has Kubernetes' default",
    given: web({ spec: { sessionAffinity: "ClientIP" } }),
    want: [{ affinitySeconds: 10800 }],
  },
  {
    name: "both families",
    given: web({ spec: { ipFamilies: ["IPv6", "IPv4"] } }),
    want: [{ families: ["IPv4", "IPv6"] }],
  },
  {
    name: "families of the cluster addresses where none are listed",
    given: web({ spec: { ipFamilies: [], clusterIPs: ["fd00::1"] } }),
    want: [{ families: ["IPv6"] }],
  },
  {
    name: "source ranges are canonical and sorted",
    given: web({ spec: { loadBalancerSourceRanges: ["192.0.2.9/24", " 10.0.0.0/8"] } }),
    want: [{ sourceRanges: ["10.0.0.0/8", "192.0.2.0/24"] }],
  },
  {
    name: "the source range annotation",
    given: web({ annotations: { [SOURCE_RANGES_ANNOTATION]: "10.0.0.0/8, fd00::/8" } }),
    want: [{ sourceRanges: ["10.0.0.0/8", "fd00::/8"] }],
  },
  {
    name: "the field wins over the annotation",
    given: web({
      spec: { loadBalancerSourceRanges: ["10.0.0.0/8"] },
      annotations: { [SOURCE_RANGES_ANNOTATION]: "0.0.0.0/0" },
    }),
    want: [{ sourceRanges: ["10.0.0.0/8"] }],
  },
  {
    name: "matched addresses and interfaces together",
    given: web({
      annotations: { [MATCH_ADDRESSES_ANNOTATION]: "192.0.2.1/32", [MATCH_INTERFACES_ANNOTATION]: "eth1" },
    }),
    want: [{ matchAddresses: ["192.0.2.1", "198.51.100.1"] }],
  },
  {
    name: "only families that have a matched address",
    given: web({ spec: { ipFamilies: ["IPv4", "IPv6"] }, annotations: { [MATCH_INTERFACES_ANNOTATION]: "eth1" } }),
    want: [{ matchAddresses: ["198.51.100.1"], families: ["IPv4"] }],
  },
  {
    name: "loadBalancerIP of this node",
    given: web({ spec: { loadBalancerIP: "198.51.100.1" } }),
    want: [{ matchAddresses: ["198.51.100.1"] }],
  },
  {
    name: "loadBalancerIP of another node matches everything",
    given: web({ spec: { loadBalancerIP: "203.0.113.1" } }),
    want: [{ port: 80, matchAddresses: undefined }],
  },
  {
    name: "a floating address is programmed before it comes",
    given: web({ annotations: { [MATCH_ADDRESSES_ANNOTATION]: "203.0.113.7" } }),
    want: [{ matchAddresses: ["203.0.113.7"] }],
  },
  {
    name: "two Services share a port at different addresses",
    given: {
      pods: [pod("a"), pod("b")],
      services: [
        service("a", { annotations: { [MATCH_ADDRESSES_ANNOTATION]: "192.0.2.1" } }),
        service("b", { annotations: { [MATCH_INTERFACES_ANNOTATION]: "eth1" } }),
      ],
    },
    want: [{ service: "a", port: 80 }, { service: "b", port: 80 }],
  },
  {
    name: "the older of two Services owns the port",
    given: {
      pods: [pod("a"), pod("b")],
      services: [service("a", { created: "2026-02-01T00:00:00Z" }), service("b", { created: "2026-01-01T00:00:00Z" })],
    },
    want: [{ service: "b", port: 80 }],
  },
  {
    name: "the older Service is asked only if it has a pod here",
    given: { pods: [pod("b")], services: [service("a"), service("b", { created: "2026-02-01T00:00:00Z" })] },
    want: [{ service: "b", port: 80 }],
  },
];

for (const { name, given, want } of PLAN_CASES) {
  Deno.test(`forwardingDecision: plan: ${name}`, () => {
    const { plan } = forwardingDecision(frozen({ ...EMPTY, ...given }));
    const seen = plan.ports.map((one, i) =>
      Object.fromEntries(Object.keys(want[i] ?? one).map((key) => [key, one[key as keyof ForwardedPort]]))
    );
    assert.deepEqual(seen, want);
  });
}

interface EndpointCase {
  readonly name: string;
  readonly policy?: "Local";
  readonly slices: ForwardingFacts["slices"];
  /** `IP:port`, with `!` for local ones. */
  readonly want: readonly string[];
}

const ENDPOINT_CASES: readonly EndpointCase[] = [
  { name: "no slice", slices: [], want: [] },
  {
    name: "an absent ready is ready",
    slices: [slice("web", [endpoint("10.42.1.5", NODE, {})])],
    want: ["!10.42.1.5:8080"],
  },
  { name: "not ready", slices: [slice("web", [endpoint("10.42.1.5", NODE, CLOSED)])], want: [] },
  {
    name: "ready ones before terminating ones",
    slices: [slice("web", [endpoint("10.42.1.5", NODE, ENDING), endpoint("10.42.2.5", "node-2", READY)])],
    want: ["10.42.2.5:8080"],
  },
  {
    name: "terminating ones that serve, when no other is left",
    slices: [slice("web", [endpoint("10.42.1.5", NODE, ENDING), endpoint("10.42.2.5", "node-2", CLOSED)])],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "terminating ones that don't serve never",
    slices: [slice("web", [endpoint("10.42.1.5", NODE, { ready: false, serving: false, terminating: true })])],
    want: [],
  },
  {
    name: "Local takes local ones only",
    policy: "Local",
    slices: [slice("web", [endpoint("10.42.1.5"), endpoint("10.42.2.5", "node-2")])],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "Local falls back to a local terminating one although another node has a ready one",
    policy: "Local",
    slices: [slice("web", [endpoint("10.42.1.5", NODE, ENDING), endpoint("10.42.2.5", "node-2")])],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "an endpoint in two slices counts once",
    slices: [slice("web", [endpoint("10.42.1.5")]), slice("web", [endpoint("10.42.1.5")], { name: "web-2" })],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "a target port differs by slice",
    slices: [
      slice("web", [endpoint("10.42.1.5")]),
      slice("web", [endpoint("10.42.2.5", "node-2")], { name: "web-2", ports: [{ port: 9090 }] }),
    ],
    want: ["!10.42.1.5:8080", "10.42.2.5:9090"],
  },
  {
    name: "ports of other names and protocols are others",
    slices: [
      slice("web", [endpoint("10.42.1.5")], {
        ports: [{ name: "x", port: 1 }, { name: "", port: 2, protocol: "UDP" }, { name: "", port: 3 }],
      }),
    ],
    want: ["!10.42.1.5:3"],
  },
  {
    name: "slices of another family or of names",
    slices: [
      slice("web", [endpoint("fd00::5")], { addressType: "IPv6" }),
      slice("web", [endpoint("host.example.org")], { name: "web-2", addressType: "FQDN" }),
    ],
    want: [],
  },
  { name: "slices of another Service", slices: [slice("other", [endpoint("10.42.1.5")])], want: [] },
  {
    name: "only an endpoint's first address counts",
    slices: [slice("web", [{ ...endpoint("10.42.1.5"), addresses: ["10.42.1.5", "10.42.1.6"] }])],
    want: ["!10.42.1.5:8080"],
  },
  {
    name: "a slice without a port number",
    slices: [slice("web", [endpoint("10.42.1.5")], { ports: [{ name: "" }] })],
    want: [],
  },
];

for (const { name, policy, slices, want } of ENDPOINT_CASES) {
  Deno.test(`forwardingDecision: endpoints: ${name}`, () => {
    const facts = { ...EMPTY, ...web(policy ? { spec: { externalTrafficPolicy: policy } } : {}), slices };
    const [first] = forwardingDecision(frozen(facts)).plan.ports;
    assert.deepEqual(first?.endpoints.map((one) => `${one.local ? "!" : ""}${one.ip}:${one.port}`), want);
  });
}

interface VerdictCase {
  readonly name: string;
  readonly given: Partial<ForwardingFacts>;
  readonly pod?: string;
  readonly reasons: readonly string[];
  readonly message?: RegExp;
  /** Ports of the verdict. */
  readonly ports?: readonly number[];
  readonly notes?: number;
}

const NGINX = { protocol: "TCP", ip: "0.0.0.0", port: 80, process: { name: "nginx", pid: 812 } } as const;

const VERDICT_CASES: readonly VerdictCase[] = [
  { name: "a served pod", given: web(), reasons: [], ports: [80] },
  { name: "no such Service", given: { pods: [pod("web")] }, reasons: ["NoSuchService"], message: /default\/web/ },
  {
    name: "labels that don't say which Service",
    given: { pods: [{ ...pod("web"), metadata: { name: "x", namespace: "y" } }] },
    reasons: ["NoSuchService"],
    message: /don't name a Service/,
  },
  {
    name: "a bad source range closes the Service",
    given: web({ spec: { loadBalancerSourceRanges: ["10.0.0.0/8", "10.0.0.0/99"] } }),
    reasons: ["InvalidSourceRange"],
    message: /"10.0.0.0\/99"/,
    ports: [],
  },
  {
    name: "an address is no range, as Kubernetes has it",
    given: web({ annotations: { [SOURCE_RANGES_ANNOTATION]: "10.0.0.1" } }),
    reasons: ["InvalidSourceRange"],
    ports: [],
  },
  {
    name: "a bad matched address",
    given: web({ annotations: { [MATCH_ADDRESSES_ANNOTATION]: "eth0" } }),
    reasons: ["InvalidMatchAddress"],
    ports: [],
  },
  {
    name: "an interface that isn't here",
    given: web({ annotations: { [MATCH_INTERFACES_ANNOTATION]: "wg0" } }),
    reasons: ["NoMatchingAddress"],
    message: /wg0/,
    ports: [],
  },
  {
    name: "an address that isn't here: rules ready, gate closed",
    given: web({ annotations: { [MATCH_ADDRESSES_ANNOTATION]: "203.0.113.7" } }),
    reasons: ["NoMatchingAddress"],
    ports: [80],
  },
  {
    name: "a reserved port",
    given: web({ spec: { ports: [port(22)] } }),
    reasons: ["ReservedPort"],
    message: /TCP port 22 is reserved/,
    ports: [],
  },
  {
    name: "a reserved protocol leaves the other one",
    given: web({ spec: { ports: [port(10255), port(10255, { protocol: "UDP" })] } }),
    reasons: ["ReservedPort"],
    ports: [10255],
  },
  {
    name: "a port of an older Service; the other ports are served",
    given: {
      pods: [pod("a"), pod("b")],
      services: [
        service("a"),
        service("b", { created: "2026-02-01T00:00:00Z", spec: { ports: [port(80), port(81)] } }),
      ],
    },
    pod: "svclb-b-x",
    reasons: ["PortTaken"],
    message: /TCP port 80 is taken by the older Service default\/a/,
    ports: [81],
  },
  {
    name: "of the same age, the first name wins",
    given: { pods: [pod("a"), pod("b")], services: [service("b"), service("a")] },
    pod: "svclb-b-x",
    reasons: ["PortTaken"],
  },
  {
    name: "a Service that is refused keeps its port",
    given: {
      pods: [pod("a"), pod("b")],
      services: [
        service("a", { spec: { loadBalancerSourceRanges: ["nonsense"] } }),
        service("b", { created: "2026-02-01T00:00:00Z" }),
      ],
    },
    pod: "svclb-b-x",
    reasons: ["PortTaken"],
  },
  {
    name: "one protocol doesn't take the other's port",
    given: {
      pods: [pod("a"), pod("b")],
      services: [service("a"), service("b", { spec: { ports: [port(80, { protocol: "UDP" })] } })],
    },
    pod: "svclb-b-x",
    reasons: [],
    ports: [80],
  },
  {
    name: "a process listens",
    given: { ...web(), listeners: [NGINX] },
    reasons: ["PortInUse"],
    message: /TCP port 80 is in use by process "nginx" \(pid 812\)/,
    ports: [],
  },
  {
    name: "a process that nobody knows listens",
    given: { ...web(), listeners: [{ protocol: "TCP", ip: "::", port: 80 }] },
    reasons: ["PortInUse"],
    message: /in use by a process on this node/,
  },
  {
    name: "a process on loopback",
    given: { ...web(), listeners: [{ ...NGINX, ip: "127.0.0.1" }] },
    reasons: [],
    ports: [80],
  },
  {
    name: "a process on another port",
    given: { ...web(), listeners: [{ ...NGINX, port: 81 }] },
    reasons: [],
    ports: [80],
  },
  {
    name: "a process of the other protocol",
    given: { ...web(), listeners: [{ ...NGINX, protocol: "UDP" }] },
    reasons: [],
  },
  {
    name: "a process of the other family",
    given: { ...web(), listeners: [{ ...NGINX, ip: "2001:db8::1" }] },
    reasons: [],
  },
  {
    name: "a process on one address",
    given: { ...web(), listeners: [{ ...NGINX, ip: "192.0.2.1" }] },
    reasons: ["PortInUse"],
  },
  {
    name: "a process on an address that isn't matched",
    given: {
      ...web({ annotations: { [MATCH_INTERFACES_ANNOTATION]: "eth1" } }),
      listeners: [{ ...NGINX, ip: "192.0.2.1" }],
    },
    reasons: [],
    ports: [80],
  },
  {
    name: "a process may be overridden",
    given: { ...web(), listeners: [NGINX], allowPortOverride: true },
    reasons: [],
    ports: [80],
    notes: 1,
  },
  {
    name: "a process that came later doesn't take the port away",
    given: { ...web(), listeners: [NGINX], programmed: new Set(["default/web/TCP/80"]) },
    reasons: [],
    ports: [80],
    notes: 1,
  },
  {
    name: "an endpoint in the host's network is no foreign process",
    given: {
      ...web(),
      slices: [slice("web", [endpoint("192.0.2.1", NODE, CLOSED)], { ports: [{ port: 80 }] })],
      listeners: [NGINX],
    },
    reasons: [],
    ports: [80],
  },
  {
    name: "an endpoint in another host's network is no excuse",
    given: {
      ...web(),
      slices: [slice("web", [endpoint("192.0.2.2", "node-2")], { ports: [{ port: 80 }] })],
      listeners: [NGINX],
    },
    reasons: ["PortInUse"],
  },
];

for (const { name, given, pod: podName = "svclb-web-x", reasons, message, ports, notes } of VERDICT_CASES) {
  Deno.test(`forwardingDecision: verdict: ${name}`, () => {
    const { verdicts } = forwardingDecision(frozen({ ...EMPTY, ...given }));
    const verdict = verdicts.find((one) => one.pod.metadata?.name === podName) ?? verdicts[0];
    assert.deepEqual(verdict?.refusals.map((one) => one.reason), reasons);
    if (message) assert.match(verdict?.refusals[0]?.message ?? "", message);
    if (ports) assert.deepEqual(verdict?.ports.map((one) => one.port), ports);
    assert.equal(verdict?.notes.length, notes ?? 0);
  });
}

Deno.test("forwardingDecision: the node's pod ranges, of either field", () => {
  const ranges = (spec: Record<string, unknown>): readonly string[] =>
    forwardingDecision({ ...EMPTY, node: { spec } }).plan.podCidrs;
  assert.deepEqual(ranges({ podCIDRs: ["10.42.1.0/24", "fd00:1::/64"], podCIDR: "10.42.1.0/24" }), [
    "10.42.1.0/24",
    "fd00:1::/64",
  ]);
  assert.deepEqual(ranges({ podCIDR: "10.42.1.0/24" }), ["10.42.1.0/24"]);
  assert.deepEqual(ranges({}), []);
});

Deno.test("forwardingDecision: depends on the set of facts, never on their order, and changes none of them", () => {
  const names = ["a", "b", "c", "d"];
  const world = fc.record({
    services: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom(...names),
        ports: fc.uniqueArray(fc.constantFrom(22, 80, 81), { minLength: 1 }),
        month: fc.integer({ min: 1, max: 3 }),
        match: fc.constantFrom(undefined, "192.0.2.1", "198.51.100.0/24"),
      }),
      { selector: (one) => one.name },
    ),
    pods: fc.uniqueArray(fc.constantFrom(...names)),
    endpoints: fc.array(
      fc.record({
        name: fc.constantFrom(...names),
        last: fc.integer({ min: 1, max: 5 }),
        host: fc.constantFrom(NODE, "node-2"),
        state: fc.constantFrom(READY, CLOSED, ENDING),
      }),
    ),
    shuffle: fc.array(fc.nat(), { minLength: 30, maxLength: 30 }),
  });
  fc.assert(fc.property(world, ({ services, pods, endpoints, shuffle }) => {
    const facts = {
      ...EMPTY,
      pods: pods.map((name) => pod(name)),
      services: services.map((one) =>
        service(one.name, {
          created: `2026-0${one.month}-01T00:00:00Z`,
          spec: { ports: one.ports.map((number) => port(number, { name: "" })) },
          ...(one.match ? { annotations: { [MATCH_ADDRESSES_ANNOTATION]: one.match } } : {}),
        })
      ),
      slices: endpoints.map((one, i) =>
        slice(one.name, [endpoint(`10.42.1.${one.last}`, one.host, one.state)], { name: `slice-${i}` })
      ),
    };
    const shuffled = {
      ...facts,
      pods: reorder(facts.pods, shuffle),
      services: reorder(facts.services, shuffle),
      slices: reorder(facts.slices, shuffle),
    };
    const decision = forwardingDecision(frozen(facts));
    assert.deepEqual(forwardingDecision(frozen(shuffled)), decision);
    for (const verdict of decision.verdicts) {
      for (const one of verdict.ports) assert.ok(decision.plan.ports.includes(one), "a verdict's port is in the plan");
    }
    assert.ok(decision.plan.ports.every((one) => one.port !== 22), "a reserved port is never taken");
  }));
});

Deno.test("parseReservedPorts: refuses what is no port", () => {
  for (const text of ["x", "0", "65536", "9-1", "80/icmp", "1-2-3"]) {
    assert.throws(() => parseReservedPorts([text]), { code: "usage" }, text);
  }
});

function reorder<T>(list: readonly T[], weights: readonly number[]): readonly T[] {
  return list.map((item, i) => ({ item, weight: weights[i % weights.length] ?? 0 }))
    .sort((a, b) => a.weight - b.weight).map((one) => one.item);
}

/** The same facts, every object of them read-only. */
function frozen<T>(value: T): T {
  if (typeof value === "object" && value !== null && !(value instanceof Set)) {
    Object.values(value).forEach(frozen);
    Object.freeze(value);
  }
  return value;
}
