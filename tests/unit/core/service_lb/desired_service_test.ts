// What a Service should have, for the data plane `agent`: addresses, verdicts and the words on the Service.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { EndpointSlice, Node, Pod, Service } from "../../../../core/kube/types.ts";
import {
  candidateNodes,
  type DesiredService,
  desiredService,
  type DesiredServiceOptions,
} from "../../../../core/service_lb/desired_service.ts";
import { isAllowListMode } from "../../../../core/service/node_selection.ts";
import { objectKey } from "../../../../core/service/keys.ts";
import { portConflicts } from "../../../../core/service/port_owners.ts";
import { node, pod, service, SERVICE_OPTIONS, slice } from "./fixtures.ts";

interface World {
  readonly service?: Service;
  readonly others?: readonly Service[];
  readonly nodes: readonly Node[];
  readonly pods?: readonly Pod[];
  readonly slices?: readonly EndpointSlice[];
  readonly silent?: readonly string[];
  readonly options?: Partial<DesiredServiceOptions>;
}

function desiredIn(world: World): DesiredService {
  const wanted = world.service ?? service();
  const allowList = isAllowListMode(world.nodes);
  const options = { ...SERVICE_OPTIONS, ...world.options };
  const conflicts = portConflicts(
    [wanted, ...world.others ?? []],
    { candidatesOf: (each) => candidateNodes(each, { ...options, nodes: world.nodes, allowList }) },
  );
  return desiredService(wanted, {
    ...options,
    facts: {
      nodes: new Map(world.nodes.map((each) => [each.metadata?.name ?? "", each])),
      allowList,
      pods: world.pods ?? [],
      slices: world.slices ?? [],
      conflicts: conflicts.get(objectKey(wanted)) ?? new Map(),
      silentNodes: new Set(world.silent ?? []),
    },
  });
}

function refusals(desired: DesiredService): Readonly<Record<string, string>> {
  return Object.fromEntries(desired.verdicts.map((each) => [each.node, each.serves ? "serves" : each.reason]));
}

const WEB = service();
const RANGE_OF_SERVICES = { family: "IPv4", value: 0x0a2b0000n, prefix: 16 } as const;
const LOCAL = service({ spec: { externalTrafficPolicy: "Local" } });
const A = node("a", { internal: ["10.0.0.1"] });
const B = node("b", { internal: ["10.0.0.2"] });
const DUAL = service({ spec: { ipFamilies: ["IPv6", "IPv4"] } });

const ADDRESS_CASES: readonly { readonly name: string; readonly given: World; readonly want: readonly string[] }[] = [
  {
    name: "lists nodes whose rules are programmed",
    given: { nodes: [A, B], pods: [pod(WEB, "a"), pod(WEB, "b", { programmed: "False" })] },
    want: ["10.0.0.1"],
  },
  {
    name: "does not wait for the placeholder's container",
    given: { nodes: [A], pods: [pod(WEB, "a", { ready: false })] },
    want: ["10.0.0.1"],
  },
  {
    name: "leaves out pods that end",
    given: { nodes: [A, B], pods: [pod(WEB, "a", { ending: true }), pod(WEB, "b")] },
    want: ["10.0.0.2"],
  },
  {
    name: "leaves out pods that failed",
    given: { nodes: [A, B], pods: [pod(WEB, "a", { phase: "Failed" }), pod(WEB, "b")] },
    want: ["10.0.0.2"],
  },
  {
    name: "leaves out pods of another DaemonSet of the name",
    given: { nodes: [A], pods: [pod(WEB, "a", { app: "svclb-web-00000000" })] },
    want: [],
  },
  {
    name: "leaves out a node that is no longer chosen although its pod is there",
    given: {
      nodes: [A, node("b", { internal: ["10.0.0.2"], labels: { "svccontroller.k3s.cattle.io/enablelb": "true" } })],
      pods: [pod(WEB, "a"), pod(WEB, "b")],
    },
    want: ["10.0.0.2"],
  },
  {
    name: "keeps a node that was tainted after its pod came",
    given: {
      nodes: [node("a", { internal: ["10.0.0.1"], taints: [{ key: "x", effect: "NoSchedule" }] })],
      pods: [pod(WEB, "a")],
    },
    want: ["10.0.0.1"],
  },
  {
    name: "lets one external address hide internal ones of its family only",
    given: {
      service: DUAL,
      nodes: [
        node("a", { internal: ["10.0.0.1", "fd00::1"], external: ["203.0.113.1"] }),
        node("b", { internal: ["10.0.0.2", "fd00::2"] }),
      ],
      pods: [pod(DUAL, "a"), pod(DUAL, "b")],
    },
    want: ["fd00::1", "fd00::2", "203.0.113.1"],
  },
  {
    name: "lets each node choose for itself if told to",
    given: {
      options: { statusAddresses: "per-node" },
      nodes: [node("a", { internal: ["10.0.0.1"], external: ["203.0.113.1"] }), B],
      pods: [pod(WEB, "a"), pod(WEB, "b")],
    },
    want: ["10.0.0.2", "203.0.113.1"],
  },
  {
    name: "lists published addresses in place of a node's own",
    given: {
      nodes: [
        node("a", { internal: ["10.0.0.1"], annotations: { "k3slb.io/published-addresses": "198.51.100.7, fd00::7" } }),
      ],
      pods: [pod(WEB, "a")],
    },
    want: ["198.51.100.7"],
  },
  {
    name: "refuses what a node can't have, whoever publishes it, and lists the rest",
    given: {
      options: { serviceRanges: [RANGE_OF_SERVICES] },
      nodes: [
        node("a", {
          internal: ["10.0.0.1"],
          annotations: {
            "k3slb.io/published-addresses":
              "127.0.0.1,0.0.0.0,224.0.0.1,255.255.255.255,169.254.169.254,::1,::ffff:127.0.0.1,10.43.0.1,10.42.1.7,10.0.0.2,x,198.51.100.7",
          },
        }),
        node("b", { internal: ["10.0.0.2"], podCidrs: ["10.42.1.0/24"] }),
      ],
      pods: [pod(WEB, "a")],
    },
    want: ["198.51.100.7"],
  },
  {
    name: "refuses a node's own address where Services have theirs",
    given: {
      options: { serviceRanges: [RANGE_OF_SERVICES] },
      nodes: [node("a", { internal: ["10.43.0.1", "127.0.0.1", "10.0.0.1"] })],
      pods: [pod(WEB, "a")],
    },
    want: ["10.0.0.1"],
  },
  {
    name: "knows Services' addresses by its own where no one says the cluster's",
    given: {
      nodes: [
        node("a", { internal: ["10.0.0.1"], annotations: { "k3slb.io/published-addresses": "10.43.0.9,10.43.0.1" } }),
        B,
      ],
      pods: [pod(WEB, "a"), pod(WEB, "b")],
    },
    want: ["10.0.0.2"],
  },
  {
    name: "lets a published address hide no other node's own",
    given: {
      nodes: [
        node("a", { internal: ["10.0.0.1"], annotations: { "k3slb.io/published-addresses": "198.51.100.7" } }),
        B,
      ],
      pods: [pod(WEB, "a"), pod(WEB, "b")],
    },
    want: ["10.0.0.2", "198.51.100.7"],
  },
  {
    name: "looks at no annotation where the operator lists addresses",
    given: {
      options: { publishedAddresses: new Map([["a", ["203.0.113.5", "203.0.113.6"]]]) },
      nodes: [
        node("a", { internal: ["10.0.0.1"], annotations: { "k3slb.io/published-addresses": "198.51.100.7" } }),
        node("b", { internal: ["10.0.0.2"], annotations: { "k3slb.io/published-addresses": "198.51.100.8" } }),
      ],
      pods: [pod(WEB, "a"), pod(WEB, "b")],
    },
    want: ["10.0.0.2", "203.0.113.5", "203.0.113.6"],
  },
  {
    name: "takes no address of others from the agent's own words",
    given: {
      options: { serviceRanges: [RANGE_OF_SERVICES] },
      nodes: [A, B],
      pods: [pod(WEB, "a", { served: "10.0.0.1,10.9.9.9,10.43.0.1,10.0.0.2" })],
    },
    want: ["10.0.0.1", "10.9.9.9"],
  },
  {
    name: "lists only addresses that the rules match",
    given: {
      service: service({ annotations: { "k3slb.io/match-addresses": "10.1.0.0/16" } }),
      nodes: [node("a", { internal: ["10.0.0.1", "10.1.0.1"] })],
      pods: [pod(WEB, "a")],
    },
    want: ["10.1.0.1"],
  },
  {
    name: "drops a node that is not Ready while another serves",
    given: { nodes: [node("a", { internal: ["10.0.0.1"], ready: false }), B], pods: [pod(WEB, "a"), pod(WEB, "b")] },
    want: ["10.0.0.2"],
  },
  {
    name: "never empties a status by readiness alone",
    given: { nodes: [node("a", { internal: ["10.0.0.1"], ready: false })], pods: [pod(WEB, "a")] },
    want: ["10.0.0.1"],
  },
  {
    name: "drops a node with a silent agent while another serves",
    given: { silent: ["a"], nodes: [A, B], pods: [pod(WEB, "a"), pod(WEB, "b")] },
    want: ["10.0.0.2"],
  },
  {
    name: "keeps a node with a silent agent before one that is not Ready",
    given: {
      silent: ["a"],
      nodes: [A, node("b", { internal: ["10.0.0.2"], ready: false })],
      pods: [pod(WEB, "a"), pod(WEB, "b")],
    },
    want: ["10.0.0.1"],
  },
  {
    name: "lists for Local only nodes with an endpoint",
    given: {
      service: LOCAL,
      nodes: [A, B],
      pods: [pod(LOCAL, "a"), pod(LOCAL, "b")],
      slices: [slice(LOCAL, [{ addresses: [], nodeName: "b" }])],
    },
    want: ["10.0.0.2"],
  },
  {
    name: "falls back to endpoints that end while they serve",
    given: {
      service: LOCAL,
      nodes: [A],
      pods: [pod(LOCAL, "a")],
      slices: [
        slice(LOCAL, [{
          addresses: [],
          nodeName: "a",
          conditions: { ready: false, serving: true, terminating: true },
        }]),
      ],
    },
    want: ["10.0.0.1"],
  },
  {
    name: "counts pods of the data plane pods by Ready",
    given: {
      nodes: [A, B],
      pods: [
        pod(WEB, "a", { dataplane: "pods", programmed: "False" }),
        pod(WEB, "b", { dataplane: "pods", ready: false }),
      ],
    },
    want: ["10.0.0.1"],
  },
];

for (const { name, given, want } of ADDRESS_CASES) {
  Deno.test(`desiredService() ${name}`, () => {
    assert.deepEqual(desiredIn(given).ingress.map(({ ip }) => ip), want);
  });
}

const WORD_CASES: readonly {
  readonly name: string;
  readonly given: World;
  readonly reason: string;
  readonly words: RegExp;
}[] = [
  {
    name: "all is well",
    given: { nodes: [A], pods: [pod(WEB, "a")] },
    reason: "Served",
    words: /^Served by 1 node: a$/,
  },
  {
    name: "a label is missing everywhere",
    given: { nodes: [node("a", { labels: { "svccontroller.k3s.cattle.io/enablelb": "false" } })] },
    reason: "NoNodeSelected",
    words: /a: label ".*enablelb=true" is missing/,
  },
  { name: "there is no node", given: { nodes: [] }, reason: "NoNodes", words: /^Served by no node$/ },
  {
    name: "an older Service has the port",
    given: { nodes: [A, B], others: [service({ name: "old", created: "2025-01-01T00:00:00Z" })] },
    reason: "PortTaken",
    words: /a, b: port 80\/TCP is taken by Service default\/old/,
  },
  {
    name: "the scheduler refuses",
    given: {
      nodes: [A],
      pods: [pod(WEB, "a", { scheduled: false, unschedulable: "0/1 nodes are available: no free ports" })],
    },
    reason: "NotScheduled",
    words: /no free ports/,
  },
  {
    name: "there is no agent",
    given: { nodes: [node("a", { internal: ["10.0.0.1"], agent: false })], pods: [{ ...pod(WEB, "a"), status: {} }] },
    reason: "AgentMissing",
    words: /no k3slb agent/,
  },
  {
    name: "the agent could not program",
    given: { nodes: [A], pods: [pod(WEB, "a", { gate: { reason: "PortInUse", message: "nginx listens on 80/TCP" } })] },
    reason: "NotProgrammed",
    words: /PortInUse: nginx listens on 80\/TCP/,
  },
  {
    name: "no endpoint is local",
    given: { service: LOCAL, nodes: [A], pods: [pod(LOCAL, "a")] },
    reason: "NoLocalEndpoint",
    words: /no ready endpoint/,
  },
  {
    name: "the node has no address of the family",
    given: { service: service({ spec: { ipFamilies: ["IPv6"] } }), nodes: [A], pods: [pod(WEB, "a")] },
    reason: "NoAddress",
    words: /no IPv6 address/,
  },
  {
    name: "one of two nodes serves",
    given: {
      nodes: [A, B],
      pods: [pod(WEB, "a"), pod(WEB, "b", { gate: { reason: "IptablesFailed", message: "locked" } })],
    },
    reason: "PartlyServed",
    words: /Served by 1 node: a\. b: rules are not programmed: IptablesFailed: locked/,
  },
  {
    name: "the last node is weak",
    given: { nodes: [node("a", { internal: ["10.0.0.1"], ready: false })], pods: [pod(WEB, "a")] },
    reason: "Served",
    words: /the node is not Ready; it stays/,
  },
  {
    name: "a source range is no range",
    given: {
      service: service({ spec: { loadBalancerSourceRanges: ["10.0.0.0/33"] } }),
      nodes: [A],
      pods: [pod(WEB, "a")],
    },
    reason: "InvalidSourceRange",
    words: /spec\.loadBalancerSourceRanges can't be used: "10\.0\.0\.0\/33"/,
  },
  {
    name: "tolerations are no list",
    given: {
      service: service({ annotations: { "svccontroller.k3s.cattle.io/tolerations": "key: x" } }),
      nodes: [A],
      pods: [],
    },
    reason: "InvalidAnnotation",
    words: /tolerations" can't be used: a list/,
  },
];

for (const { name, given, reason, words } of WORD_CASES) {
  Deno.test(`servedSummary() tells that ${name}`, () => {
    const { summary } = desiredIn(given);
    assert.equal(summary.reason, reason);
    assert.match(summary.message, words);
    assert.ok(summary.message.length <= 900);
  });
}

Deno.test("servedSummary() stays bounded with many nodes and long words", () => {
  const nodes = Array.from({ length: 300 }, (_, index) => node(`node-with-a-long-name-${index}`));
  const pods = nodes.map((each, index) =>
    pod(WEB, each.metadata?.name ?? "", { gate: { reason: "IptablesFailed", message: `${index} ${"x".repeat(500)}` } })
  );
  assert.ok(desiredIn({ nodes, pods }).summary.message.length <= 900);
});

Deno.test("desiredService() keeps the DaemonSet when a wish is invalid", () => {
  const given = service({ spec: { loadBalancerSourceRanges: ["nonsense"] } });
  const desired = desiredIn({ service: given, nodes: [A], pods: [pod(given, "a")] });
  assert.equal(desired.daemonSet.action, "keep");
  assert.deepEqual(desired.ingress, [{ ip: "10.0.0.1" }]);
});

Deno.test("desiredService() has no DaemonSet where an older Service has the port on every node", () => {
  const others = [service({ name: "old", created: "2025-01-01T00:00:00Z" })];
  assert.equal(desiredIn({ nodes: [A, B], others }).daemonSet.action, "remove");
});

Deno.test("desiredService() leaves out the nodes of an older Service and keeps the others", () => {
  const pool = { "svccontroller.k3s.cattle.io/lbpool": "one" };
  const old = service({ name: "old", created: "2025-01-01T00:00:00Z", labels: pool });
  const desired = desiredIn({ nodes: [node("a", { labels: pool }), B], others: [old] });
  assert.deepEqual(refusals(desired), { a: "PortTaken", b: "NoPod" });
  assert.ok(desired.daemonSet.action === "apply");
  assert.match(
    JSON.stringify(desired.daemonSet.daemonSet),
    /"key":"metadata.name","operator":"NotIn","values":\["a"\]/,
  );
});

Deno.test("desiredService() depends on the facts and not on their order", () => {
  const services = ["web", "api", "dns"].map((name, index) =>
    service({
      name,
      created: `2026-01-0${1 + index % 2}T00:00:00Z`,
      spec: {
        ports: [{ port: 80 + index % 2, protocol: "TCP" }, { port: 443, protocol: index === 2 ? "UDP" : "TCP" }],
      },
    })
  );
  const nodes = ["a", "b", "c", "d"].map((name, index) =>
    node(name, { internal: [`10.0.0.${index}`], ready: index !== 2 })
  );
  const pods = services.flatMap((each) =>
    nodes.map(({ metadata }, index) => pod(each, metadata?.name ?? "", { programmed: index === 1 ? "False" : "True" }))
  );
  const all = (order: World & { readonly all: readonly Service[] }): unknown =>
    services.map((wanted) =>
      desiredIn({
        ...order,
        service: wanted,
        others: order.all.filter((each) => each !== wanted),
        pods: order.pods?.filter((each) =>
          each.metadata?.labels?.["svccontroller.k3s.cattle.io/svcname"] === wanted.metadata?.name
        ) ?? [],
      })
    );
  const want = all({ all: services, nodes, pods });
  const shuffled = <T>(items: readonly T[]): fc.Arbitrary<T[]> =>
    fc.shuffledSubarray([...items], { minLength: items.length });
  fc.assert(fc.property(shuffled(services), shuffled(nodes), shuffled(pods), (all_, nodes_, pods_) => {
    assert.deepEqual(all({ all: all_, nodes: nodes_, pods: pods_ }), want);
  }));
});
