// What a node forwards and what its pods are told, rule by rule; and that nothing but the set of facts decides.
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  MATCH_ADDRESSES_ANNOTATION,
  MATCH_INTERFACES_ANNOTATION,
  SOURCE_RANGES_ANNOTATION,
} from "../../../../../core/service/labels.ts";
import type { ForwardedPort } from "../../../../../node_agent/dataplane_contract.ts";
import type { DepartedService } from "../../../../../node_agent/loop/plan/contenders.ts";
import { forwardingDecision, type ForwardingFacts } from "../../../../../node_agent/loop/plan/forwarding_plan.ts";
import { frozen } from "../../../../support/frozen.ts";
import { CLOSED, EMPTY, ENDING, READY, web } from "../../_facts.ts";
import { endpoint, NODE, pod, port, service, slice } from "../../_objects.ts";

/** The pod of `web` was here a moment ago. */
const LEFT: DepartedService = { service: "default/web", ports: new Set(["80/TCP"]), hadPod: true };

interface PlanCase {
  readonly name: string;
  readonly given: Partial<ForwardingFacts>;
  /** Fields of the forwarded ports that the case is about. */
  readonly want: readonly { readonly [K in keyof ForwardedPort]?: ForwardedPort[K] | undefined }[];
}

const SERVE: ForwardingFacts["share"] = new Map([["default/web", { part: "serve" }]]);
const HOLDER: ForwardingFacts["hostPods"] = new Map([["shop/x", ["TCP port 80"]]]);
const HAS_WEB: ForwardingFacts["programmed"] = new Set(["default/web/TCP/80"]);

/** The agent decides: a Service without a pod here, and a pod of somebody that asks for the port. */
const SHARE_CASES: readonly {
  readonly name: string;
  readonly given: Partial<ForwardingFacts>;
  readonly want: readonly [ports: number, reason: string, note: RegExp, latePods: number];
}[] = [
  { name: "nobody asks for the port", given: {}, want: [1, "", /^$/, 0] },
  { name: "a pod was first", given: { hostPods: HOLDER }, want: [0, "PortInUse", /^$/, 0] },
  {
    name: "the Service was first",
    given: { hostPods: HOLDER, programmed: HAS_WEB },
    want: [1, "", /also asked for by pod shop\/x/, 1],
  },
  {
    name: "a pod was first, and the operator has the Service override it",
    given: { hostPods: HOLDER, allowPortOverride: true },
    want: [1, "", /also asked for by pod shop\/x/, 0],
  },
  {
    name: "the pod listens on the host, and came later",
    given: {
      hostPods: HOLDER,
      programmed: HAS_WEB,
      listeners: [{ protocol: "TCP", ip: "0.0.0.0", port: 80, settled: true }],
    },
    want: [1, "", /also asked for by pod shop\/x/, 1],
  },
  {
    name: "a process listens, and stays",
    given: { programmed: HAS_WEB, listeners: [{ protocol: "TCP", ip: "0.0.0.0", port: 80, settled: true }] },
    want: [0, "PortInUse", /^$/, 0],
  },
  {
    name: "another Service has the port",
    given: { share: new Map([["default/web", { part: "lost", problem: { reason: "PortTaken", message: "taken" } }]]) },
    want: [0, "PortTaken", /^$/, 0],
  },
];

for (const { name, given, want: [ports, reason, note, latePods] } of SHARE_CASES) {
  Deno.test(`forwardingDecision() by the agent's own share: ${name}`, () => {
    const facts = frozen({ ...EMPTY, ...web(), pods: [], share: SERVE, ...given });
    const { services = [] } = forwardingDecision(facts);
    const [verdict] = services;
    assert.deepEqual([services.length, verdict?.ports.length, verdict?.refusals[0]?.reason ?? ""], [1, ports, reason]);
    assert.match(verdict?.notes.join() ?? "", note);
    assert.equal(verdict?.latePods?.length ?? 0, latePods);
  });
}

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
    name: "a leaving pod still holds its ports",
    given: {
      ...web(),
      pods: [{ ...pod("web"), metadata: { ...pod("web").metadata, deletionTimestamp: "2026-01-01T00:00:00Z" } }],
    },
    want: [{ port: 80 }],
  },
  {
    name: "a Service whose pod went gives way to a pod with the same host port",
    given: { ...web(), pods: [], departed: [LEFT], hostPods: new Map([["shop/x", ["TCP port 80"]]]) },
    want: [],
  },
  {
    name: "a Service whose pod went stays beside a pod with another host port",
    given: { ...web(), pods: [], departed: [LEFT], hostPods: new Map([["shop/x", ["UDP port 80"]]]) },
    want: [{ port: 80 }],
  },
  {
    name: "endpoints here with addresses outside of the node's pod ranges, but for the node's own",
    given: {
      ...web(),
      slices: [slice("web", ["10.42.1.5", "192.0.2.1", "192.168.9.5"].map((ip) => endpoint(ip)))],
    },
    want: [{
      endpoints: [
        { ip: "10.42.1.5", port: 8080, local: true },
        { ip: "192.0.2.1", port: 8080, local: true },
        { ip: "192.168.9.5", port: 8080, local: true, outsidePodCidrs: true },
      ],
    }],
  },
  {
    name: "a pod that was here a moment ago",
    given: { ...web(), pods: [], departed: [LEFT] },
    want: [{ port: 80 }],
  },
  {
    name: "a pod that was here a moment ago, of a Service that is being deleted",
    given: {
      pods: [],
      departed: [LEFT],
      services: [{
        ...service("web"),
        metadata: { ...service("web").metadata, deletionTimestamp: "2026-01-01T00:00:00Z" },
      }],
    },
    want: [],
  },
  {
    name: "a younger Service with a pod before an older one whose pod went",
    given: {
      pods: [pod("young")],
      departed: [LEFT],
      services: [service("web"), service("young", { created: "2026-02-01T00:00:00Z" })],
    },
    want: [{ port: 80, service: "young" }],
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
    want: [{ sourceRanges: ["10.0.0.0/8"] }],
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
    name: "an address on the loopback interface that others can reach",
    given: {
      ...web({ annotations: { [MATCH_INTERFACES_ANNOTATION]: "lo" } }),
      interfaces: [{ name: "lo", addresses: ["127.0.0.1", "203.0.113.8", "::1"] }],
    },
    want: [{ matchAddresses: ["203.0.113.8"] }],
  },
  {
    name: "a floating address is programmed before it comes",
    given: web({ annotations: { [MATCH_ADDRESSES_ANNOTATION]: "203.0.113.7" } }),
    want: [{ matchAddresses: ["203.0.113.7"] }],
  },
  {
    name: "a port has one owner, whatever the addresses: the scheduler knows no others",
    given: {
      pods: [pod("a"), pod("b")],
      services: [
        service("a", { annotations: { [MATCH_ADDRESSES_ANNOTATION]: "192.0.2.1" } }),
        service("b", { annotations: { [MATCH_INTERFACES_ANNOTATION]: "eth1" } }),
      ],
    },
    want: [{ service: "a", port: 80 }],
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

Deno.test("forwardingDecision: with kube-proxy's or the DNS cache's addresses about, only the node's own are taken", () => {
  const decide = (name: string, asked: Record<string, string> = {}): ReturnType<typeof forwardingDecision> =>
    forwardingDecision({
      ...EMPTY,
      ...web({ annotations: asked }),
      interfaces: [...EMPTY.interfaces, { name, addresses: ["10.43.0.1", "10.43.0.10"] }],
    });
  assert.equal(decide("eth2").plan.ownAddresses, undefined);
  for (const name of ["kube-ipvs0", "nodelocaldns"]) {
    assert.deepEqual(decide(name).plan.ownAddresses, ["192.0.2.1", "198.51.100.1", "2001:db8::1"]);
    const named = decide(name, { [MATCH_INTERFACES_ANNOTATION]: name }).verdicts[0];
    assert.deepEqual([named?.refusals[0]?.reason, named?.ports], ["NoMatchingAddress", []]);
    const listed = decide(name, { [MATCH_ADDRESSES_ANNOTATION]: "10.43.0.1" }).verdicts[0];
    assert.equal(listed?.refusals[0]?.reason, "NoMatchingAddress");
  }
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
    const taken = decision.plan.ports.map((one) => `${one.protocol} ${one.port}`);
    assert.equal(
      new Set(taken).size,
      taken.length,
      "a port has one Service, also where Services match other addresses",
    );
  }));
});

function reorder<T>(list: readonly T[], weights: readonly number[]): readonly T[] {
  return list.map((item, i) => ({ item, weight: weights[i % weights.length] ?? 0 }))
    .sort((a, b) => a.weight - b.weight).map((one) => one.item);
}
