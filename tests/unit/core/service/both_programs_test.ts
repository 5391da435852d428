// The same Service, read by the server and by the agent: neither may say what the other denies.
import assert from "node:assert/strict";
import type { EndpointSlice, Service } from "../../../../core/kube/types.ts";
import { keepLastGood } from "../../../../core/service/last_good.ts";
import { trimService } from "../../../../core/service/trim.ts";
import { type DesiredService, desiredService } from "../../../../core/service_lb/desired_service.ts";
import { type ForwardingDecision, forwardingDecision } from "../../../../node_agent/loop/plan/forwarding_plan.ts";
import { frozen } from "../../../support/frozen.ts";
import { EMPTY } from "../../node_agent/_facts.ts";
import { NODE, pod as agentPod } from "../../node_agent/_objects.ts";
import { node, pod, service, SERVICE_OPTIONS, slice } from "../service_lb/fixtures.ts";

const MATCH_ADDRESSES = "k3slb.io/match-addresses";
const MATCH_INTERFACES = "k3slb.io/match-interfaces";
const SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges";
const TOLERATIONS = "svccontroller.k3s.cattle.io/tolerations";
const PORTS = [{ port: 8080, protocol: "TCP" }];

interface Outcome {
  readonly server: DesiredService;
  readonly agent: ForwardingDecision;
  /** Addresses in the status. */
  readonly ips: readonly string[];
  /** Reasons for which the agent refuses the Service. */
  readonly refusals: readonly string[];
}

/** Both programs see `versions` of a Service, one after the other; then the server sees what the agent says of the last one. */
function both(versions: readonly Service[], slices: readonly EndpointSlice[] = []): Outcome {
  const kept = new Map<string, Service>();
  for (const version of versions) kept.set("default/web", keepLastGood(trimService(version), kept));
  const last = kept.get("default/web") ?? {};
  const agent = forwardingDecision(frozen({
    ...EMPTY,
    pods: [agentPod("web")],
    services: [last],
    slices: [...slices],
  }));
  const [verdict] = agent.verdicts;
  const refusals = verdict?.refusals.map(({ reason }) => reason) ?? [];
  const said = verdict?.servedAddresses;
  const placeholder = pod(last, NODE, { programmed: refusals.length === 0 ? "True" : "False" });
  const annotations = said === undefined ? {} : { "k3slb.io/served-addresses": said.join(",") };
  const server = desiredService(last, {
    ...SERVICE_OPTIONS,
    facts: {
      nodes: new Map([[NODE, node(NODE, { internal: ["192.0.2.1"] })]]),
      allowList: false,
      pods: [{ ...placeholder, metadata: { ...placeholder.metadata, annotations } }],
      slices,
      conflicts: new Map(),
      silentNodes: new Set(),
    },
  });
  return { server, agent, ips: server.ingress.map(({ ip }) => ip), refusals };
}

const annotated = (annotations: Record<string, string>, spec: Partial<NonNullable<Service["spec"]>> = {}): Service =>
  service({ annotations, spec });

const BAD_VALUES: readonly (readonly [name: string, good: Service, bad: Service, guardsAccess: boolean])[] = [
  [
    "match-addresses",
    annotated({ [MATCH_ADDRESSES]: "192.0.2.1" }),
    annotated({ [MATCH_ADDRESSES]: "192.0.2.1, web" }),
    true,
  ],
  ["loopback", annotated({ [MATCH_ADDRESSES]: "192.0.2.1" }), annotated({ [MATCH_ADDRESSES]: "127.0.0.53" }), true],
  ["match-interfaces", annotated({ [MATCH_INTERFACES]: "eth0" }), annotated({ [MATCH_INTERFACES]: "a/b" }), true],
  [
    "the ranges' annotation",
    annotated({ [SOURCE_RANGES]: "10.0.0.0/8" }),
    annotated({ [SOURCE_RANGES]: "10/8" }),
    true,
  ],
  [
    "spec.loadBalancerSourceRanges",
    annotated({}, { loadBalancerSourceRanges: ["10.0.0.0/8"] }),
    annotated({}, { loadBalancerSourceRanges: ["10.0.0.0/99"] }),
    true,
  ],
  ["tolerations", annotated({ [TOLERATIONS]: "[]" }), annotated({ [TOLERATIONS]: "key: x" }), false],
  ["resources", annotated({}), annotated({ "k3slb.io/resources": "{limits: {nvidia.com/gpu: 1}}" }), false],
  ["a class", annotated({}), annotated({ "svccontroller.k3s.cattle.io/priorityclassname": "No Class" }), false],
  ["ip-mode", annotated({ "k3slb.io/ip-mode": "Proxy" }), annotated({ "k3slb.io/ip-mode": "proxy" }), false],
];

for (const [name, good, bad, guardsAccess] of BAD_VALUES) {
  Deno.test(`a bad value: ${name}: the last good one stays in force, in both programs, and is told once`, () => {
    const before = both([good]);
    const after = both([good, bad]);
    assert.deepEqual(after.agent.plan, before.agent.plan);
    assert.deepEqual(after.server.ingress, before.server.ingress);
    assert.deepEqual(after.server.daemonSet, before.server.daemonSet);
    assert.equal(before.server.summary.problem, false);
    assert.equal(after.server.summary.problem, true);
    assert.match(after.server.summary.message, /can't be used: .*stays in force/);
    assert.match(after.agent.verdicts[0]?.notes.join() ?? "", /stays in force/);
  });

  Deno.test(`a bad value: ${name}: a program that never saw a good one goes by the record in the Service`, () => {
    const kept = new Map([["default/web", trimService(good)]]);
    const recorded = keepLastGood(trimService(bad), kept);
    assert.deepEqual(both([recorded]).agent.plan, both([good]).agent.plan);
    assert.deepEqual(both([recorded]).server.daemonSet, both([good]).server.daemonSet);
  });

  Deno.test(`a bad value: ${name}: without any good one nothing is opened`, () => {
    const { refusals, ips, server } = both([bad]);
    assert.equal(refusals.length, guardsAccess ? 1 : 0);
    if (guardsAccess) assert.deepEqual(ips, []);
    assert.equal(server.daemonSet.action, name === "ip-mode" ? "apply" : "keep");
    assert.equal(server.summary.problem, true);
  });
}

Deno.test("a bad value after a good one after a bad one: the good one between them counts", () => {
  const at = (text: string): Service => annotated({ [MATCH_ADDRESSES]: text });
  const { agent } = both([at("192.0.2.1"), at("x"), at("192.0.2.1/31"), at("y")]);
  assert.deepEqual(agent.plan.ports[0]?.matchAddresses, ["192.0.2.0/31"]);
});

const SERVED_CASES: readonly (readonly [name: string, given: Service, ips: readonly string[]])[] = [
  ["nothing is asked for", service(), ["192.0.2.1"]],
  ["an interface whose address the Node does not list", annotated({ [MATCH_INTERFACES]: "eth1" }), ["198.51.100.1"]],
  ["an interface that isn't there", annotated({ [MATCH_INTERFACES]: "eth7" }), []],
  ["loopback's interface", annotated({ [MATCH_INTERFACES]: "lo" }), []],
  ["an address of the second interface", annotated({ [MATCH_ADDRESSES]: "198.51.100.0/24" }), ["198.51.100.1"]],
  ["loadBalancerIP on the node", annotated({}, { loadBalancerIP: "198.51.100.1" }), ["198.51.100.1"]],
  ["loadBalancerIP elsewhere", annotated({}, { loadBalancerIP: "203.0.113.9" }), ["192.0.2.1"]],
];

for (const [name, given, ips] of SERVED_CASES) {
  Deno.test(`the status lists the addresses that the agent serves at: ${name}`, () => {
    const outcome = both([given]);
    assert.deepEqual(outcome.ips, ips);
    const matched = outcome.agent.plan.ports[0]?.matchAddresses;
    if (matched !== undefined && !matched.some((text) => text.includes("/"))) assert.deepEqual(outcome.ips, matched);
  });
}

Deno.test("an endpoint that is terminating and does not say whether it is ready counts as not ready, in both programs", () => {
  const local = service({ spec: { externalTrafficPolicy: "Local" } });
  const ending = { addresses: ["10.42.0.5"], nodeName: NODE, conditions: { terminating: true } };
  const ready = { addresses: ["10.42.0.6"], nodeName: "elsewhere", conditions: { ready: true } };
  const alone = both([local], [{ ...slice(local, [ending]), ports: PORTS }]);
  assert.deepEqual(alone.agent.plan.ports[0]?.endpoints.map(({ ip }) => ip), ["10.42.0.5"]);
  assert.deepEqual(alone.ips, ["192.0.2.1"], "the fall-back while there is no ready one");
  const beside = both([service()], [{ ...slice(local, [ending, ready]), ports: PORTS }]);
  assert.deepEqual(beside.agent.plan.ports[0]?.endpoints.map(({ ip }) => ip), ["10.42.0.6"]);
  const { server } = both([local], [{ ...slice(local, [ending, ready]), ports: PORTS }]);
  assert.deepEqual(server.verdicts.map((one) => one.serves ? "serves" : one.reason), ["NoLocalEndpoint"]);
});
