// Smaller rules of the load balancer: settings, timing, reach of changes, silence of agents, trimming, names.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Node, Service } from "../../../../core/kube/types.ts";
import { nodeChangeScope, PortIndex } from "../../../../core/service_lb/affected_services.ts";
import { AgentSilence } from "../../../../core/service_lb/nodes/agent_silence.ts";
import { daemonSetName } from "../../../../core/service_lb/daemonset/names.ts";
import { sameContent } from "../../../../core/kube/trim.ts";
import { readService } from "../../../../core/service/reading.ts";
import { desiredPrerequisites } from "../../../../core/service_lb/groundwork/prerequisites.ts";
import { trimNode, trimPod, trimService } from "../../../../core/service_lb/trim_objects.ts";
import { patienceEndMs, statusWriteDelayMs } from "../../../../core/service_lb/status/status_timing.ts";
import { node, pod, service } from "./fixtures.ts";

const TOLERATIONS = "svccontroller.k3s.cattle.io/tolerations";
const RESOURCES = "k3slb.io/resources";

const INVALID: readonly {
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly words: RegExp;
}[] = [
  ...["127.0.0.53", "10.0.0.1,127.0.0.0/8", "::1", "::ffff:127.0.0.1"].map((asked) => ({
    name: `loopback to match: ${asked}`,
    annotations: { "k3slb.io/match-addresses": asked },
    words: /is loopback, which is never served/,
  })),
  { name: "broken YAML", annotations: { [TOLERATIONS]: "- {" }, words: /Cannot parse/ },
  {
    name: "an unknown operator",
    annotations: { [TOLERATIONS]: "[{key: a, operator: In}]" },
    words: /toleration 1: operator/,
  },
  { name: "an unknown field", annotations: { [TOLERATIONS]: "[{keys: a}]" }, words: /field "keys" does not exist/ },
  {
    name: "Exists with a value",
    annotations: { [TOLERATIONS]: "[{key: a, operator: Exists, value: b}]" },
    words: /takes no value/,
  },
  { name: "no key and Equal", annotations: { [TOLERATIONS]: "[{value: b}]" }, words: /needs operator "Exists"/ },
  {
    name: "seconds without NoExecute",
    annotations: { [TOLERATIONS]: "[{key: a, operator: Exists, tolerationSeconds: 3}]" },
    words: /NoExecute/,
  },
  {
    name: "an amount that is none",
    annotations: { [RESOURCES]: "{limits: {memory: much}}" },
    words: /limits: "memory" is not a quantity/,
  },
  {
    name: "a source range without prefix",
    annotations: { "service.beta.kubernetes.io/load-balancer-source-ranges": "10.0.0.1" },
    words: /"10\.0\.0\.1" is not a CIDR range/,
  },
];

for (const { name, annotations, words } of INVALID) {
  Deno.test(`readService() refuses ${name}`, () => {
    const { faults } = readService(service({ annotations }));
    assert.equal(faults.length, 1);
    assert.match(faults[0]?.message ?? "", words);
  });
}

Deno.test("readService() reads JSON as well as YAML, and resources with numbers", () => {
  const settings = readService(service({
    annotations: { [TOLERATIONS]: '[{"operator":"Exists"}]', [RESOURCES]: "{requests: {cpu: 1, memory: 8Mi}}" },
  }));
  assert.deepEqual(settings.faults, []);
  assert.deepEqual(settings.tolerations, [{ operator: "Exists" }]);
  assert.deepEqual(settings.resources, { requests: { cpu: "1", memory: "8Mi" } });
});

Deno.test("readService() lets the spec's ranges win over the annotation", () => {
  const { sourceRanges } = readService(service({
    annotations: { "service.beta.kubernetes.io/load-balancer-source-ranges": "10.0.0.0/8" },
    spec: { loadBalancerSourceRanges: ["192.0.2.0/24"] },
  }));
  assert.deepEqual(sourceRanges, ["192.0.2.0/24"]);
});

const CALM = {
  nowMs: 10_000,
  lost: false,
  gained: false,
  hadAddresses: true,
  conditionFlips: false,
  complete: true,
  patienceEndMs: undefined,
  waitingSinceMs: undefined,
  gainSinceMs: undefined,
  lastWriteMs: undefined,
};

const TIMINGS: readonly {
  readonly name: string;
  readonly given: Partial<Parameters<typeof statusWriteDelayMs>[0]>;
  readonly want: number;
}[] = [
  { name: "a lost address at once", given: { lost: true, complete: false, lastWriteMs: 9_999 }, want: 0 },
  { name: "a complete gain at once", given: { gained: true, lastWriteMs: 9_999 }, want: 0 },
  {
    name: "the first address after its window",
    given: { gained: true, complete: false, hadAddresses: false, gainSinceMs: 9_960 },
    want: 60,
  },
  {
    name: "the first address after as long again as it took",
    given: { gained: true, complete: false, hadAddresses: false, gainSinceMs: 10_000, waitingSinceMs: 9_700 },
    want: 300,
  },
  {
    name: "the first address of a burst after two seconds",
    given: { gained: true, complete: false, hadAddresses: false, gainSinceMs: 10_000, waitingSinceMs: 1_000 },
    want: 2_000,
  },
  {
    name: "the first address of an agent that came back after its window",
    given: {
      nowMs: 100_000,
      gained: true,
      complete: false,
      hadAddresses: false,
      gainSinceMs: 100_000,
      waitingSinceMs: 9,
    },
    want: 100,
  },
  {
    name: "a further address three seconds after the last write",
    given: { gained: true, complete: false, lastWriteMs: 9_400 },
    want: 2_400,
  },
  { name: "other words a second after the last write", given: { lastWriteMs: 9_900 }, want: 900 },
  {
    name: "a passing state when patience ends",
    given: { complete: false, conditionFlips: true, patienceEndMs: 11_500 },
    want: 1_500,
  },
];

for (const { name, given, want } of TIMINGS) {
  Deno.test(`statusWriteDelayMs() writes ${name}`, () => assert.equal(statusWriteDelayMs({ ...CALM, ...given }), want));
}

Deno.test("patienceEndMs() starts anew with each change of a node, but not for ever", () => {
  assert.equal(patienceEndMs("node", { sinceMs: 0, progressMs: 4_000 }), 14_000);
  assert.equal(patienceEndMs("cluster", { sinceMs: 0, progressMs: 4_000 }), 19_000);
  assert.equal(patienceEndMs("node", { sinceMs: 0, progressMs: 100_000 }), 30_000);
});

function withKubeletPort(Port: number): Node {
  const bare = node("a");
  return { ...bare, status: { ...bare.status, daemonEndpoints: { kubeletEndpoint: { Port } } } };
}

const SCOPES: readonly {
  readonly name: string;
  readonly before?: Node;
  readonly after?: Node;
  readonly want: string;
}[] = [
  { name: "a new node", after: node("a"), want: "all" },
  { name: "a node that went", before: node("a"), want: "all" },
  { name: "a label", before: node("a"), after: node("a", { labels: { x: "y" } }), want: "all" },
  {
    name: "a taint",
    before: node("a"),
    after: node("a", { taints: [{ key: "x", effect: "NoSchedule" }] }),
    want: "all",
  },
  { name: "an address", before: node("a"), after: node("a", { internal: ["10.0.0.1"] }), want: "present" },
  {
    name: "a published address",
    before: node("a"),
    after: node("a", { annotations: { "k3slb.io/published-addresses": "1.1.1.1" } }),
    want: "present",
  },
  { name: "readiness", before: node("a"), after: node("a", { ready: false }), want: "present" },
  { name: "the kubelet's port", before: node("a"), after: withKubeletPort(10250), want: "present" },
  { name: "a heartbeat", before: node("a"), after: withHeartbeat("2026-01-01T00:01:00Z"), want: "none" },
];

for (const { name, before, after, want } of SCOPES) {
  Deno.test(`nodeChangeScope() of ${name} is ${want}`, () => assert.equal(nodeChangeScope(before, after), want));
}

/** An index of `services`. */
function indexOf(services: readonly Service[]): PortIndex {
  const index = new PortIndex();
  for (const after of services) index.note({ before: undefined, after });
  return index;
}

Deno.test("PortIndex finds who shares a port before or after the change, and no one for a status", () => {
  const before = service({ name: "a" });
  const after = service({ name: "a", spec: { ports: [{ port: 81 }] } });
  const all = [
    before,
    service({ name: "b" }),
    service({ name: "c", spec: { ports: [{ port: 81 }] } }),
    service({ name: "d", spec: { ports: [{ port: 82 }] } }),
  ];
  const index = indexOf(all);
  assert.deepEqual(index.note({ before, after: { ...before, status: {} } }), []);
  assert.deepEqual(index.note({ before, after }), ["default/b", "default/c"]);
  assert.deepEqual(index.sharers("default/b"), []);
  assert.deepEqual(index.sharers("default/c"), ["default/a"]);
  assert.deepEqual(index.note({ before: after, after: undefined }), ["default/c"]);
  assert.deepEqual(index.sharers("default/c"), []);
});

Deno.test("PortIndex finds who shares a port with a sharer, in any order", () => {
  const given = service({ name: "a" });
  const all = [
    service({ name: "d", spec: { ports: [{ port: 82 }, { port: 83 }] } }),
    service({ name: "c", spec: { ports: [{ port: 81 }, { port: 82 }] } }),
    service({ name: "b", spec: { ports: [{ port: 80 }, { port: 81 }] } }),
    service({ name: "e", spec: { ports: [{ port: 84 }] } }),
    given,
  ];
  const sharers = indexOf(all).note({ before: given, after: undefined });
  assert.deepEqual(sharers.toSorted(), ["default/b", "default/c", "default/d"]);
});

Deno.test("PortIndex says after any changes what looking through all Services would", () => {
  const wish = fc.record({
    name: fc.constantFrom(..."abcdefgh"),
    ports: fc.option(fc.uniqueArray(fc.integer({ min: 1, max: 8 }), { maxLength: 3 })),
  });
  fc.assert(fc.property(fc.array(wish, { maxLength: 20 }), (changes) => {
    const index = new PortIndex();
    const present = new Map<string, readonly number[]>();
    for (const { name, ports } of changes) {
      const of = (one: readonly number[] | null | undefined): Service | undefined =>
        one ? service({ name, spec: { ports: one.map((port) => ({ port })) } }) : undefined;
      index.note({ before: of(present.get(name)), after: of(ports) });
      if (ports === null) present.delete(name);
      else present.set(name, ports);
    }
    for (const [name, ports] of present) {
      const sharers = new Set<string>();
      for (const reached = new Set(ports), known = [-1]; known[0] !== sharers.size;) {
        known[0] = sharers.size;
        for (const [other, own] of present) {
          if (other === name || !own.some((port) => reached.has(port))) continue;
          sharers.add(`default/${other}`);
          for (const port of own) reached.add(port);
        }
      }
      assert.deepEqual(new Set(index.sharers(`default/${name}`)), sharers);
    }
  }));
});

Deno.test("AgentSilence counts from when the heartbeat last changed", () => {
  const silence = new AgentSilence();
  const at = (monotonicMs: number): { monotonicMs: number; wallMs: number } => ({
    monotonicMs,
    wallMs: Date.parse("2026-01-01T00:02:00Z"),
  });
  const first = withHeartbeat("2026-01-01T00:00:00Z");
  silence.note("a", { before: undefined, after: first }, at(0));
  assert.deepEqual(silence.check(at(179_999)), []);
  assert.deepEqual(silence.check(at(180_000)), ["a"]);
  assert.deepEqual(silence.check(at(190_000)), [], "told once");
  assert.ok(silence.nodes.has("a"));
  assert.equal(silence.note("a", { before: first, after: withHeartbeat("2026-01-01T00:01:00Z") }, at(200_000)), true);
  assert.equal(silence.nodes.has("a"), false);
});

Deno.test("AgentSilence blames no agent for the time in which this program heard nobody", () => {
  const silence = new AgentSilence();
  const at = (monotonicMs: number): { monotonicMs: number; wallMs: number } => ({
    monotonicMs,
    wallMs: Date.parse("2026-01-01T00:00:10Z"),
  });
  for (const name of ["a", "b"]) {
    silence.note(name, { before: undefined, after: withHeartbeat("2026-01-01T00:00:00Z") }, at(0));
  }
  for (let ms = 10_000; ms <= 600_000; ms += 10_000) assert.deepEqual(silence.check(at(ms), { watchLost: true }), []);
  // The API server is back; the first agent that writes must not make the others look silent.
  const heard = { before: withHeartbeat("2026-01-01T00:00:00Z"), after: withHeartbeat("2026-01-01T00:10:01Z") };
  silence.note("a", heard, at(601_000));
  assert.deepEqual(silence.check(at(610_000)), []);
  assert.deepEqual(silence.check(at(780_000)), ["b"]);
});

Deno.test("AgentSilence believes no heartbeat that is hours old at the start", () => {
  const silence = new AgentSilence();
  const times = { monotonicMs: 0, wallMs: Date.parse("2026-01-01T05:00:00Z") };
  silence.note("a", { before: undefined, after: withHeartbeat("2026-01-01T00:00:00Z") }, times);
  assert.deepEqual(silence.check(times), ["a"]);
});

Deno.test("trimming keeps what decides and drops the rest", () => {
  const full = { ...service({ annotations: { "k3slb.io/enabled": "true", note: "x" } }) };
  const trimmed = trimService({ ...full, spec: { ...full.spec, externalName: "x" } });
  assert.deepEqual(trimmed.metadata?.annotations, { "k3slb.io/enabled": "true" });
  assert.equal(trimmed.spec?.externalName, undefined);
  assert.deepEqual(readService(trimmed), readService(full));
  assert.equal(daemonSetName(trimmed), daemonSetName(full));
  const pending = trimPod(pod(full, "a", { scheduled: false, unschedulable: "no" }));
  assert.ok(pending.spec?.affinity);
  assert.equal(trimPod(pod(full, "a")).spec?.affinity, undefined);
  const images = { ...node("a").status, images: [{ names: ["x"], sizeBytes: 1 }] };
  assert.deepEqual(trimNode({ ...node("a"), status: images }).status?.images, [{ names: [] }]);
});

Deno.test("sameContent() looks over the version only", () => {
  const one = service();
  assert.ok(sameContent(one, { ...one, metadata: { ...one.metadata, resourceVersion: "2" } }));
  assert.ok(!sameContent(one, { ...one, spec: {} }));
});

Deno.test("desiredPrerequisites() gives nodes the rights to read endpoints and facts only where agents need them", () => {
  assert.equal(desiredPrerequisites("pods", "kube-system").nodeRights, undefined);
  const { endpointReader, factsReader } = desiredPrerequisites("agent", "lb").nodeRights ?? {};
  assert.deepEqual(endpointReader?.role.rules, [
    { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
  ]);
  assert.deepEqual(factsReader?.role.rules, [
    { apiGroups: [""], resources: ["configmaps"], resourceNames: ["k3slb-facts"], verbs: ["list", "watch"] },
  ]);
  for (const each of [factsReader?.role, factsReader?.binding]) assert.equal(each?.metadata?.namespace, "lb");
});

function withHeartbeat(lastHeartbeatTime: string): Node {
  const bare = node("a");
  const conditions = bare.status?.conditions?.map((each) =>
    each.type === "k3slb.io/Forwarding" ? { ...each, lastHeartbeatTime } : each
  );
  return { ...bare, status: { ...bare.status, ...(conditions === undefined ? {} : { conditions }) } };
}
