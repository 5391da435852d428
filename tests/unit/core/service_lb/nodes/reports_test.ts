// Agents that decide by themselves: what they say is what holds, whatever their pods do; and who says nothing is judged by pods as before.
import assert from "node:assert/strict";
import type { Node, Pod, Service } from "../../../../../core/kube/types.ts";
import { isAllowListMode } from "../../../../../core/service/node_selection.ts";
import { ClusterView, type PodNews } from "../../../../../core/service_lb/cluster_view.ts";
import { type DesiredService, desiredService } from "../../../../../core/service_lb/desired_service.ts";
import type { PodObstacles } from "../../../../../core/service_lb/daemonset/port_holder.ts";
import type { RememberedNodes } from "../../../../../core/service_lb/nodes/replaced_pods.ts";
import type { ServiceLbOptions } from "../../../../../core/service_lb/service_lb_options.ts";
import { desiredDaemonSet } from "../../../../../core/service_lb/daemonset/desired_daemonset.ts";
import { objectKey } from "../../../../../core/service/keys.ts";
import { parseFacts, renderFacts } from "../../../../../core/service/cluster_facts.ts";
import { node, pod, reporting, type ReportSketch, service, SERVICE_OPTIONS, slice } from "../fixtures.ts";

interface World {
  readonly services?: readonly Service[];
  readonly nodes: readonly Node[];
  readonly pods?: readonly Pod[];
  readonly silent?: readonly string[];
  readonly remembered?: RememberedNodes;
  readonly obstacles?: PodObstacles;
  readonly nowMs?: number;
  readonly daemonSetsOf?: readonly Service[];
  readonly options?: Partial<ServiceLbOptions>;
}

const OPTIONS: ServiceLbOptions = { ...SERVICE_OPTIONS, lbClass: "k3slb.io/node-addresses", lbDefault: true };

function viewOf(world: World): ClusterView {
  const services = new Map((world.services ?? [WEB]).map((each) => [objectKey(each), each]));
  const nodes = new Map(world.nodes.map((each) => [each.metadata?.name ?? "", each]));
  const options = { ...OPTIONS, ...world.options };
  const view = new ClusterView(() => ({ services, nodes }), options);
  for (const after of services.values()) view.noteService({ before: undefined, after });
  for (const name of nodes.keys()) view.readReport(name);
  for (const after of world.pods ?? []) view.notePod({ before: undefined, after });
  for (const each of world.daemonSetsOf ?? []) {
    const selection = { allowList: isAllowListMode(world.nodes), honorExcludeLabel: false };
    const built = desiredDaemonSet(each, { ...options, selection, without: [] });
    assert.ok("daemonSet" in built);
    view.noteDaemonSet({ before: undefined, after: built.daemonSet });
  }
  return view;
}

function desiredIn(world: World, wanted: Service = WEB): DesiredService {
  const facts = viewOf(world).factsOf(objectKey(wanted), new Set(world.silent));
  const remembered = { remembered: world.remembered ?? new Map(), nowMs: world.nowMs ?? 0 };
  const obstacles = world.obstacles === undefined ? {} : { obstacles: world.obstacles };
  return desiredService(wanted, { ...OPTIONS, ...world.options, facts: { ...facts, ...obstacles, remembered } });
}

function said(desired: DesiredService): Readonly<Record<string, string>> {
  return Object.fromEntries(desired.verdicts.map((each) => [each.node, each.serves ? "serves" : each.reason]));
}

function a(sketch: ReportSketch): Node {
  return reporting(A, sketch);
}

const WEB = service();
const A = node("a", { internal: ["10.0.0.1"] });
const B = node("b", { internal: ["10.0.0.2"] });
const SHUT = { reason: "HostPortTaken", message: "port 80/TCP is pod x/y's" };
const NONE = { reservePorts: "none" } as const;

const CASES: readonly {
  readonly name: string;
  readonly given: World;
  readonly want: Readonly<Record<string, string>>;
}[] = [
  { name: "a node serves without any pod", given: { nodes: [a({ serves: [WEB] })] }, want: { a: "serves" } },
  {
    name: "a node serves whatever its pod says",
    given: { nodes: [a({ serves: [WEB] })], pods: [pod(WEB, "a", { gate: SHUT })] },
    want: { a: "serves" },
  },
  {
    name: "a node that refuses does not serve whatever its pod says",
    given: { nodes: [a({ refuses: [{ service: WEB, ...SHUT }] })], pods: [pod(WEB, "a")] },
    want: { a: "NotProgrammed" },
  },
  {
    name: "a port that another one has is called so",
    given: { nodes: [a({ refuses: [{ service: WEB, reason: "PortTaken", message: "port 80/TCP is old's" }] })] },
    want: { a: "PortTaken" },
  },
  { name: "a Service that an agent has not seen waits", given: { nodes: [a({})] }, want: { a: "WaitingForAgent" } },
  {
    name: "other ports than those of now are not seen yet",
    given: { nodes: [a({ serves: [service({ spec: { ports: [{ port: 81, protocol: "TCP" }] } })] })] },
    want: { a: "WaitingForAgent" },
  },
  {
    name: "beside it a node without a report is judged by its pod",
    given: { nodes: [a({ serves: [WEB] }), B], pods: [pod(WEB, "b")] },
    want: { a: "serves", b: "serves" },
  },
  {
    name: "the report of an agent that no longer runs says nothing",
    given: { nodes: [a({ serves: [WEB], instance: "before" })] },
    want: { a: "NoPod" },
  },
  {
    name: "a node that is not chosen can't make itself serve",
    given: { nodes: [a({ serves: [WEB] }), node("b", { labels: { "svccontroller.k3s.cattle.io/enablelb": "true" } })] },
    want: { a: "NotEnabled", b: "NoPod" },
  },
  {
    name: "a taint lets go on what is served",
    given: {
      nodes: [reporting(node("a", { taints: [{ key: "k", effect: "NoSchedule" }] }), { serves: [WEB] })],
      options: { publishedAddresses: new Map([["a", ["10.0.0.1"]]]) },
    },
    want: { a: "serves" },
  },
  {
    name: "a taint keeps from what is not",
    given: {
      nodes: [reporting(node("a", { taints: [{ key: "k", effect: "NoSchedule" }] }), {})],
      pods: [pod(WEB, "a")],
    },
    want: { a: "Tainted" },
  },
  {
    name: "a silent agent's node gives way to one that is heard",
    given: { nodes: [a({ serves: [WEB] }), reporting(B, { serves: [WEB] })], silent: ["a"] },
    want: { a: "AgentSilent", b: "serves" },
  },
  {
    name: "a silent agent's node stays while there is no other",
    given: { nodes: [a({ serves: [WEB] })], silent: ["a"] },
    want: { a: "serves" },
  },
  {
    name: "of a Service for which a report had no room its pod tells",
    given: { nodes: [a({ cut: 1 })], pods: [pod(WEB, "a")] },
    want: { a: "serves" },
  },
  {
    name: "without pods nobody tells of such a Service",
    given: { nodes: [a({ cut: 1 })], options: NONE },
    want: { a: "WaitingForAgent" },
  },
  {
    name: "without pods nobody waits for one",
    given: { nodes: [A, node("b", { agent: false })], options: NONE },
    want: { a: "WaitingForAgent", b: "AgentMissing" },
  },
  {
    name: "with data plane pods no agent is asked",
    given: { nodes: [a({ serves: [WEB] })], options: { dataplane: "pods" } },
    want: { a: "NoPod" },
  },
];

for (const { name, given, want } of CASES) {
  Deno.test(`desiredService(): ${name}`, () => assert.deepEqual(said(desiredIn(given)), want));
}

Deno.test("desiredService(): the status shows the addresses and notes that the agent names", () => {
  const both = node("a", { internal: ["10.0.0.1", "10.0.0.9"] });
  const { ingress, summary } = desiredIn({
    nodes: [reporting(both, { serves: [WEB], at: ["10.0.0.9"], note: "no endpoints; connections are refused" })],
    options: NONE,
  });
  assert.deepEqual(ingress, [{ ip: "10.0.0.9" }]);
  assert.equal(summary.message, "Served by 1 node: a. a: no endpoints; connections are refused");
  assert.equal(summary.problem, false);
});

Deno.test("desiredService(): external traffic policy Local asks for an endpoint, whatever the agent says", () => {
  const local = service({ spec: { externalTrafficPolicy: "Local" } });
  const nodes = [a({ serves: [local] }), reporting(B, { serves: [local] })];
  const view = viewOf({ services: [local], nodes });
  view.noteSlice({ before: undefined, after: slice(local, [{ addresses: ["10.42.0.1"], nodeName: "b" }]) });
  const desired = desiredService(local, { ...OPTIONS, facts: view.factsOf("default/web", new Set()) });
  assert.deepEqual(said(desired), { a: "NoLocalEndpoint", b: "serves" });
});

const UNPLACED: readonly (readonly [name: string, given: Partial<World>, want: string, cause?: string])[] = [
  ["is missing", {}, "it has no pod of the DaemonSet"],
  [
    "can't be made",
    { obstacles: { refusal: "exceeded quota", holders: new Map() } },
    "its pod can't be created: exceeded quota",
    "FailedCreate",
  ],
  [
    "waits for a scheduler that is away",
    { pods: [pod(WEB, "a", { scheduled: false })] },
    "its pod waits for the scheduler",
  ],
  [
    "finds no room",
    { pods: [pod(WEB, "a", { scheduled: false, unschedulable: "0/1 nodes: Too many pods" })] },
    "its pod is not scheduled: 0/1 nodes: Too many pods",
    "NotScheduled",
  ],
];

for (const [name, given, want, cause] of UNPLACED) {
  Deno.test(`desiredService(): a placeholder that ${name} takes no address, and is told of when that lasts`, () => {
    const at = (sinceMs: number): DesiredService =>
      desiredIn({
        nodes: [a({ serves: [WEB] })],
        ...given,
        remembered: new Map([["a", { unreservedSinceMs: 0 }]]),
        nowMs: sinceMs,
      });
    assert.equal(at(59_000).summary.message, "Served by 1 node: a");
    const late = at(60_000);
    assert.deepEqual(late.ingress, [{ ip: "10.0.0.1" }]);
    assert.equal(late.summary.message, `Served by 1 node: a. a: its ports are not kept from other pods: ${want}`);
    assert.deepEqual([late.summary.reason, late.waitsFor], ["Served", undefined]);
    // `kubectl describe` shows Events alone.
    assert.deepEqual([late.summary.problem, late.summary.cause], [cause !== undefined, cause]);
    const without = desiredIn({ nodes: [a({ serves: [WEB] })], options: NONE, nowMs: 60_000 });
    assert.equal(without.summary.message, "Served by 1 node: a");
  });
}

Deno.test("desiredService(): a placeholder whose port the Service's own pod has on the node is no trouble", () => {
  const holder = { pod: "default/edge", port: "80/TCP", serves: true };
  const unscheduled = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports";
  for (const sketch of [{ serves: [WEB] }, { refuses: [{ service: WEB, ...SHUT }] }]) {
    const { summary } = desiredIn({
      nodes: [a(sketch)],
      pods: [pod(WEB, "a", { scheduled: false, unschedulable: unscheduled })],
      obstacles: { holders: new Map([["a", holder]]) },
      remembered: new Map([["a", { unreservedSinceMs: 0 }]]),
      nowMs: 60_000,
    });
    assert.equal(summary.message, "Served by 1 node: a. a: the Service's pod default/edge listens on the node itself");
  }
});

Deno.test("desiredService(): an address stays while the agent takes over other ports, and no longer than a pod's replacement", () => {
  const status = { loadBalancer: { ingress: [{ ip: "10.0.0.1" }] } };
  const edited = { ...service({ spec: { ports: [{ port: 81, protocol: "TCP" }] } }), status };
  const world = { services: [edited], nodes: [a({ serves: [WEB] })] };
  assert.deepEqual(desiredIn(world, edited).ingress, [{ ip: "10.0.0.1" }]);
  const remembered = new Map([["a", { missingSinceMs: 0 }]]);
  assert.deepEqual(desiredIn({ ...world, remembered, nowMs: 60_000 }, edited).ingress, []);
});

Deno.test("desiredService(): without pods DaemonSets go when no node is judged by its pod any more", () => {
  const action = (...nodes: Node[]): string =>
    desiredIn({ nodes, pods: [pod(WEB, "a"), pod(WEB, "b")], options: NONE }).daemonSet.action;
  assert.equal(action(A, B), "retain");
  assert.equal(action(a({ serves: [WEB] }), B), "retain");
  assert.equal(action(a({ serves: [WEB] }), reporting(B, { serves: [WEB] })), "remove");
});

Deno.test("desiredService(): what one node says of its ports moves no pods of others", () => {
  const taken = { service: WEB, reason: "PortTaken", message: "port 80/TCP is old's" };
  const { daemonSet } = desiredIn({ nodes: [a({ refuses: [taken] }), reporting(B, { serves: [WEB] })] });
  assert.equal(daemonSet.action, "apply");
  assert.ok(daemonSet.action === "apply" && daemonSet.daemonSet.spec?.template.spec?.affinity === undefined);
});

const OLD = service({ name: "old", created: "2025-01-01T00:00:00Z" });

Deno.test("ClusterView: who serves a port by its agent's word has it there, before age and DaemonSets", () => {
  const world = { services: [WEB, OLD], nodes: [a({ serves: [WEB] }), B], daemonSetsOf: [OLD] };
  assert.deepEqual(said(desiredIn({ ...world, pods: [pod(OLD, "b")] }, OLD)), { a: "PortTaken", b: "serves" });
  const answers = viewOf(world).factsOf("default/old", new Set()).conflicts;
  assert.deepEqual([...answers.keys()], ["a"]);
  // Where the DaemonSet alone speaks it decides.
  assert.deepEqual(said(desiredIn(world)), { a: "serves", b: "PortTaken" });
  const refused = { service: OLD, reason: "PortTaken", message: "port 80/TCP is web's" };
  const settled = { ...world, nodes: [a({ serves: [WEB], refuses: [refused] }), B] };
  assert.deepEqual(said(desiredIn(settled, OLD)), { a: "PortTaken", b: "NoPod" });
});

Deno.test("ClusterView: a port is not taken by a Service that had it on other nodes only, however old", () => {
  const pool = { labels: { "svccontroller.k3s.cattle.io/lbpool": "nowhere" } };
  const before = service({ name: "old", created: "2025-01-01T00:00:00Z", ...pool });
  for (const nodes of [[A, B], [a({ serves: [WEB] }), B]]) {
    const view = viewOf({ services: [WEB, OLD], nodes, daemonSetsOf: [before, WEB] });
    const lost = (key: string): readonly string[] => [...view.factsOf(key, new Set()).conflicts.keys()];
    assert.deepEqual([lost("default/old"), lost("default/web")], [["a", "b"], []]);
  }
  // Where nobody is, it has it as before.
  const alone = viewOf({ services: [WEB, OLD], nodes: [A, B], daemonSetsOf: [service({ ...pool })] });
  assert.deepEqual([...alone.factsOf("default/old", new Set()).conflicts.keys()], ["a", "b"]);
});

Deno.test("ClusterView: of two whose DaemonSets are meant for a node, who has its pod there has the port", () => {
  // As after an administrator's label that brought the older one there while no server ran.
  const world = { services: [WEB, OLD], nodes: [A], daemonSetsOf: [WEB, OLD] };
  const lost = (...pods: Pod[]): readonly string[] => {
    const view = viewOf({ ...world, pods });
    return ["web", "old"].filter((name) => view.factsOf(`default/${name}`, new Set()).conflicts.has("a"));
  };
  const waits = { scheduled: false } as const;
  assert.deepEqual(lost(pod(WEB, "a"), pod(OLD, "a", waits)), ["old"]);
  assert.deepEqual(lost(pod(WEB, "a", waits), pod(OLD, "a")), ["web"]);
  assert.deepEqual(lost(pod(WEB, "a", waits), pod(OLD, "a", waits)), ["web"]);
  assert.deepEqual(lost(), ["web"]);
});

Deno.test("ClusterView.clusterFacts() says what nodes can't see, and of ports only who has those that several ask for", () => {
  const kubelet = { kubeletEndpoint: { Port: 10250 } };
  const nodes = [
    { ...a({ serves: [WEB] }), status: { ...a({ serves: [WEB] }).status, daemonEndpoints: kubelet } },
    node("b", { labels: { "svccontroller.k3s.cattle.io/enablelb": "false" } }),
  ];
  const lone = service({ name: "lone", spec: { ports: [{ port: 443, protocol: "TCP" }] } });
  const view = viewOf({ services: [WEB, OLD, lone], nodes, options: { ...NONE, version: "1.2.3" } });
  const facts = view.clusterFacts({ foreign: [], unheard: new Set() });
  assert.deepEqual([...view.clusterFacts({ foreign: [], unheard: new Set(["a"]) }).nodes], []);
  assert.deepEqual(parseFacts(renderFacts(facts)), facts);
  assert.deepEqual(
    [facts.server, facts.reservePorts, facts.allowList, [...facts.nodes]],
    ["1.2.3", "none", true, [["a", { ips: ["10.0.0.1"], kubeletPort: 10250 }]]],
  );
  // Of b nobody has said anything: a Service that has a port elsewhere has it there too.
  assert.deepEqual([...facts.contested], [["80/TCP", [{
    service: WEB.metadata?.uid?.slice(0, 13),
    without: new Set(),
  }]]]);
});

const UNBOUND = pod(WEB, "a", { scheduled: false });
const POD_CHANGES: readonly {
  readonly name: string;
  readonly report: ReportSketch | undefined;
  readonly before?: Pod;
  readonly after?: Pod;
  readonly want: PodNews;
}[] = [
  { name: "a new pod", report: {}, after: UNBOUND, want: "reservation" },
  { name: "a pod that is bound", report: {}, before: UNBOUND, after: pod(WEB, "a"), want: "reservation" },
  {
    name: "a gate that turns True",
    report: {},
    before: pod(WEB, "a", { gate: SHUT }),
    after: pod(WEB, "a"),
    want: "nothing",
  },
  {
    name: "a pod that is Ready",
    report: {},
    before: pod(WEB, "a", { ready: false }),
    after: pod(WEB, "a"),
    want: "nothing",
  },
  {
    name: "other words of the scheduler",
    report: {},
    before: UNBOUND,
    after: pod(WEB, "a", { scheduled: false, unschedulable: "0/2 nodes are available" }),
    want: "reservation",
  },
  {
    name: "a pod that fails",
    report: {},
    before: pod(WEB, "a"),
    after: pod(WEB, "a", { phase: "Failed" }),
    want: "reservation",
  },
  { name: "a pod that is gone", report: {}, before: pod(WEB, "a"), want: "reservation" },
  {
    name: "a gate where the report had no room for all",
    report: { cut: 1 },
    before: pod(WEB, "a", { gate: SHUT }),
    after: pod(WEB, "a"),
    want: "reservation",
  },
  {
    name: "a gate where no agent decides",
    report: undefined,
    before: pod(WEB, "a", { gate: SHUT }),
    after: pod(WEB, "a"),
    want: "verdict",
  },
];

for (const { name, report, before, after, want } of POD_CHANGES) {
  Deno.test(`ClusterView.notePod(): ${name}`, () => {
    const view = viewOf({ nodes: [report === undefined ? A : a(report)] });
    assert.equal(view.notePod({ before, after }), want);
  });
}
