// What reconciling a Service writes, in which order and how often; and what it takes back.
import assert from "node:assert/strict";
import { K3slbError } from "../../../../core/shared/errors.ts";
import { DAEMON_SETS } from "../../../../core/kube/resources.ts";
import type { Pod, Service } from "../../../../core/kube/types.ts";
import { reconcile, type ReconcileFacts, type ReconcileWorld, reconcileWorld, TWO_NODES } from "./reconcile_world.ts";
import { node, pod, service } from "./fixtures.ts";

const WEB = service();

function worldWith(given: Service, overrides: Parameters<typeof reconcileWorld>[0] = {}): ReconcileWorld {
  const world = reconcileWorld(overrides);
  world.services.put(given);
  return world;
}

function ips(world: ReconcileWorld): readonly (string | undefined)[] {
  return (world.services.get("web")?.status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip);
}

const BOTH = [pod(WEB, "a"), pod(WEB, "b")];

Deno.test("reconcileService() serves a Service with three writes and one Event, then is quiet", async () => {
  const world = worldWith(WEB);
  const memory = {};
  const delayMs = await reconcile(world, memory);
  assert.deepEqual(world.writes, ["patch services", "apply daemonsets"]);
  assert.ok(delayMs !== undefined && delayMs > 0, "a new Service's state is not told at once");
  assert.equal(await reconcile(world, memory, { pods: BOTH }), undefined);
  assert.deepEqual(ips(world), ["10.0.0.1", "10.0.0.2"]);
  assert.deepEqual(world.events.map(({ reason }) => reason), ["UpdatedLoadBalancer"]);
  const before = world.writes.length;
  for (let index = 0; index < 100; index++) assert.equal(await reconcile(world, memory, { pods: BOTH }), undefined);
  assert.equal(world.writes.length, before);
  // A restart forgets the memory and must not write either.
  assert.equal(await reconcile(world, {}, { pods: BOTH }), undefined);
  assert.equal(world.writes.length, before);
  assert.equal(world.events.length, 1);
});

Deno.test("reconcileService() takes back a record that somebody writes again and again, with growing pauses", async () => {
  const world = worldWith(WEB);
  const memory = {};
  await reconcile(world, memory, { pods: BOTH });
  const before = world.writes.length;
  let againMs: number | undefined;
  for (let second = 0; second < 60; second++) {
    const { metadata, ...rest } = world.services.get("web") ?? {};
    world.services.put({ ...rest, metadata: { ...metadata, annotations: { "k3slb.io/last-good": `{${second}` } } });
    world.clockMs += 1_000;
    againMs = await reconcile(world, memory, { pods: BOTH });
  }
  // After 0, 1, 3, 7, 15, 31 seconds.
  assert.deepEqual(world.writes.slice(before), Array(6).fill("patch services"));
  world.clockMs += againMs ?? 0;
  assert.equal(await reconcile(world, memory, { pods: BOTH }), undefined);
  assert.equal(world.services.get("web")?.metadata?.annotations?.["k3slb.io/last-good"], undefined);
});

Deno.test("reconcileService() logs one line when a Service becomes served, changes, stops being served or to be ours", async () => {
  const world = worldWith(WEB);
  const memory = {};
  const next = (): string => {
    assert.ok(world.log.length <= 1, world.log.join("\n"));
    return world.log.pop() ?? "";
  };
  await reconcile(world, memory);
  assert.equal(next(), "");
  await reconcile(world, memory, { pods: BOTH });
  assert.match(
    next(),
    /^INFO +Service is served service=default\/web addresses=10\.0\.0\.1,10\.0\.0\.2 reason=Served message="Served by 2 nodes: a, b"/,
  );
  await reconcile(world, memory, { pods: BOTH });
  assert.equal(next(), "");
  const nodes = TWO_NODES.slice(0, 1);
  await reconcile(world, memory, { nodes, pods: [pod(WEB, "a")] });
  assert.match(next(), /^INFO +Service changed service=default\/web addresses=10\.0\.0\.1 reason=Served /);
  await reconcile(world, memory, { nodes: [] });
  assert.match(next(), /^INFO +Service is not served service=default\/web addresses="" reason=\w+ message=/);
  const { spec, ...rest } = world.services.get("web") ?? {};
  world.services.put({ ...rest, spec: { ...spec, type: "ClusterIP" } });
  await reconcile(world, memory);
  assert.match(next(), /^INFO +Service is not served any more service=default\/web reason=\w+ message=/);
});

Deno.test("reconcileService() waits a moment for the second node before the first write", async () => {
  const world = worldWith(WEB);
  const memory = {};
  await reconcile(world, memory);
  const delayMs = await reconcile(world, memory, { pods: [pod(WEB, "a")] });
  assert.ok(delayMs !== undefined && delayMs > 0 && delayMs <= 100, String(delayMs));
  world.clockMs += 100;
  assert.equal(await reconcile(world, memory, { pods: [pod(WEB, "a")] }), 14_900, "until the other node is missed");
  assert.deepEqual(ips(world), ["10.0.0.1"]);
  assert.equal(await reconcile(world, memory, { pods: BOTH }), undefined);
  assert.deepEqual(ips(world), ["10.0.0.1", "10.0.0.2"]);
  assert.deepEqual(world.events.map(({ message }) => message), [
    "Addresses changed: [] -> [10.0.0.1 10.0.0.2]. Served by 2 nodes: a, b",
  ]);
});

const BETWEEN_PODS: readonly (readonly [name: string, pods: readonly Pod[]])[] = [
  ["is gone", []],
  ["is ending", [pod(WEB, "b", { ending: true })]],
  ["was evicted", [pod(WEB, "b", { phase: "Failed" })]],
  ["is not scheduled yet", [pod(WEB, "b", { scheduled: false })]],
  ["has no gate yet", [{ ...pod(WEB, "b"), status: {} }]],
  ["holds the ports of before", [pod(WEB, "b", { gate: { reason: "PortNotHeld", message: "TCP port 80 is not" } })]],
];

for (const [name, pods] of BETWEEN_PODS) {
  Deno.test(`reconcileService() keeps a node's address while its pod ${name}, for as long as a replacement takes`, async () => {
    const world = worldWith(WEB);
    const memory = {};
    await reconcile(world, memory, { pods: BOTH });
    const now = [pod(WEB, "a"), ...pods];
    assert.equal(await reconcile(world, memory, { pods: now }), 60_000);
    world.clockMs += 59_000;
    assert.equal(await reconcile(world, memory, { pods: now }), 1_000);
    assert.deepEqual(ips(world), ["10.0.0.1", "10.0.0.2"]);
    assert.equal(await reconcile(world, memory, { pods: BOTH }), undefined);
    const writes = world.writes.length;
    // The next replacement has the whole time again.
    assert.equal(await reconcile(world, memory, { pods: now }), 60_000);
    assert.equal(world.writes.length, writes);
    world.clockMs += 60_000;
    await reconcile(world, memory, { pods: now });
    assert.deepEqual(ips(world), ["10.0.0.1"]);
  });
}

const BETWEEN_DATA_PLANES: readonly (readonly [name: string, pods: readonly Pod[]])[] = [
  ["a placeholder ends", [pod(WEB, "a", { ending: true })]],
  ["a placeholder is gone", []],
  ["a forwarder is not scheduled yet", [pod(WEB, "a", { dataplane: "pods", scheduled: false })]],
  ["a forwarder is bound and has no status yet", [{ ...pod(WEB, "a", { dataplane: "pods" }), status: {} }]],
  ["a forwarder starts", [pod(WEB, "a", { dataplane: "pods", ready: false })]],
  ["a forwarder ends", [pod(WEB, "a", { dataplane: "pods", ending: true })]],
  ["a placeholder waits for its gate", [{ ...pod(WEB, "a"), status: {} }]],
];

for (const dataplane of ["agent", "pods"] as const) {
  for (const [name, pods] of BETWEEN_DATA_PLANES) {
    Deno.test(`reconcileService() keeps the only node's address with data plane ${dataplane} while ${name}`, async () => {
      const world = worldWith(WEB, { dataplane });
      const memory = {};
      const nodes = [node("a", { internal: ["10.0.0.1"] })];
      await reconcile(world, memory, { nodes, pods: [pod(WEB, "a")] });
      assert.deepEqual(ips(world), ["10.0.0.1"]);
      // A server that was started with the other data plane remembers nothing.
      for (const each of [memory, {}]) {
        assert.equal(await reconcile(world, each, { nodes, pods }), 60_000);
        assert.deepEqual(ips(world), ["10.0.0.1"]);
      }
      world.clockMs += 60_000;
      await reconcile(world, memory, { nodes, pods });
      assert.deepEqual(ips(world), []);
    });
  }
}

Deno.test("reconcileService() keeps no address where nobody forwards without the pod", async () => {
  const cases: readonly (readonly [facts: ReconcileFacts, overrides: Parameters<typeof reconcileWorld>[0]])[] = [
    [{ silent: ["b"] }, {}],
    [{ nodes: [node("a", { internal: ["10.0.0.1"] }), node("b", { internal: ["10.0.0.2"], ready: false })] }, {}],
    [{ nodes: [node("a", { internal: ["10.0.0.1"] }), node("b", { internal: ["10.0.0.2"], agent: false })] }, {}],
    [{ pods: [pod(WEB, "a"), pod(WEB, "b", { gate: { reason: "PortInUse", message: "by nginx" } })] }, {}],
    [{ silent: ["b"] }, { dataplane: "pods" }],
    [{ nodes: [node("a", { internal: ["10.0.0.1"] }), node("b", { internal: ["10.0.0.2"], agent: false })] }, {
      dataplane: "pods",
    }],
  ];
  for (const [facts, overrides] of cases) {
    const world = worldWith(WEB, overrides);
    const memory = {};
    await reconcile(world, memory, { pods: BOTH });
    assert.deepEqual(ips(world), ["10.0.0.1", "10.0.0.2"]);
    await reconcile(world, memory, { pods: [pod(WEB, "a")], ...facts });
    assert.deepEqual(ips(world), ["10.0.0.1"]);
  }
});

Deno.test("reconcileService() keeps the very addresses that a node served at", async () => {
  const world = worldWith(service({ annotations: { "k3slb.io/match-interfaces": "eth1" } }));
  const memory = {};
  const [a, b] = [pod(WEB, "a"), pod(WEB, "b")];
  const at = (each: Pod, ip: string): Pod => ({
    ...each,
    metadata: { ...each.metadata, annotations: { "k3slb.io/served-addresses": ip } },
  });
  await reconcile(world, memory, { pods: [at(a, "10.9.0.1"), at(b, "10.9.0.2")] });
  assert.deepEqual(ips(world), ["10.9.0.1", "10.9.0.2"]);
  await reconcile(world, memory, { pods: [at(a, "10.9.0.1")] });
  assert.deepEqual(ips(world), ["10.9.0.1", "10.9.0.2"]);
});

Deno.test("reconcileService() takes a lost address out at once", async () => {
  const world = worldWith(WEB);
  const memory = {};
  await reconcile(world, memory, { pods: BOTH });
  await reconcile(world, memory, { pods: [pod(WEB, "a"), pod(WEB, "b", { programmed: "False" })] });
  assert.deepEqual(ips(world), ["10.0.0.1"]);
});

Deno.test("reconcileService() says after some seconds why nothing serves", async () => {
  const world = worldWith(WEB);
  const memory = {};
  const pods = [{ ...pod(WEB, "a"), status: {} }];
  const delayMs = await reconcile(world, memory, { pods });
  assert.equal(delayMs, 10_000);
  world.clockMs += 10_000;
  await reconcile(world, memory, { pods });
  assert.equal(world.services.get("web")?.status?.conditions?.[0]?.reason, "WaitingForAgent");
  assert.deepEqual(world.events.map(({ type, reason }) => [type, reason]), [["Warning", "WaitingForAgent"]]);
});

Deno.test("reconcileService() warns of a node that stays behind once patience ends, without another write", async () => {
  const world = worldWith(WEB);
  const memory = {};
  const pods = [pod(WEB, "a"), { ...pod(WEB, "b"), status: {} }];
  await reconcile(world, memory, { pods });
  world.clockMs += 100;
  const delayMs = await reconcile(world, memory, { pods });
  assert.equal(delayMs, 9_900);
  assert.deepEqual(world.events, []);
  const writes = world.writes.length;
  world.clockMs += 9_900;
  const againMs = await reconcile(world, memory, { pods });
  assert.equal(await reconcile(world, memory, { pods }), againMs);
  assert.equal(world.writes.length, writes);
  const told = [["Normal", "UpdatedLoadBalancer"], ["Warning", "PartlyServed"]];
  assert.deepEqual(world.events.map(({ type, reason }) => [type, reason]), told);
  // Within the hour for which an API server keeps Events.
  assert.ok(againMs !== undefined && againMs < 3_600_000);
  world.clockMs += againMs;
  await reconcile(world, memory, { pods });
  assert.equal(world.writes.length, writes);
  assert.deepEqual(world.events.map(({ type, reason }) => [type, reason]), [...told, ["Warning", "PartlyServed"]]);
});

Deno.test("reconcileService() repairs a foreign edit of the DaemonSet and says so", async () => {
  const world = worldWith(WEB);
  const memory = {};
  await reconcile(world, memory, { pods: BOTH });
  const [daemonSet] = world.daemonSets.values();
  const { name = "", namespace = "" } = daemonSet?.metadata ?? {};
  const body = { spec: { template: { spec: { priorityClassName: "low" } } } };
  const { client } = world.context;
  await client.patch(DAEMON_SETS, { name, namespace }, { type: "merge", body }, { fieldManager: "kubectl-edit" });
  await reconcile(world, memory, { pods: BOTH });
  const [repaired] = world.daemonSets.values();
  assert.equal(repaired?.spec?.template.spec?.priorityClassName, "system-node-critical");
  assert.equal(world.events.at(-1)?.reason, "AppliedDaemonSet");
});

Deno.test("reconcileService() makes a DaemonSet that somebody deletes again and again ever more slowly, and says so", async () => {
  const world = worldWith(WEB);
  const memory = {};
  await reconcile(world, memory, { pods: BOTH });
  const before = world.writes.length;
  let [made, againMs] = [0, undefined as number | undefined];
  for (let second = 0; second < 60; second++) {
    for (const daemonSet of world.daemonSets.values()) {
      world.daemonSets.remove(daemonSet.metadata?.name ?? "");
      made++;
    }
    againMs = await reconcile(world, memory, { pods: BOTH });
    world.clockMs += 1_000;
  }
  assert.ok(world.writes.slice(before).filter((write) => write === "apply daemonsets").length < 8, `${made} deletions`);
  assert.match(
    world.services.get("web")?.status?.conditions?.[0]?.message ?? "",
    /DaemonSet kube-system\/svclb-web-\w+ is also written by another program, or changed by an admission webhook/,
  );
  assert.deepEqual(ips(world), ["10.0.0.1", "10.0.0.2"]);
  world.clockMs += againMs ?? 0;
  await reconcile(world, memory, { pods: BOTH });
  assert.equal(world.daemonSets.values().length, 1);
});

Deno.test("reconcileService() goes on saying that a change of the DaemonSet is refused, and takes nobody for a rival", async () => {
  const world = worldWith(WEB);
  const memory = {};
  await reconcile(world, memory, { pods: BOTH });
  const { spec, ...rest } = world.services.get("web") ?? {};
  world.services.put({ ...rest, spec: { ...spec, ports: [{ name: "http", port: 81, protocol: "TCP" }] } });
  world.refusal = new K3slbError("quota", { code: "kube-bad-request", retriable: false });
  for (let i = 0; i < 5; i++) {
    await assert.rejects(reconcile(world, memory, { pods: BOTH }), world.refusal);
    assert.equal(world.services.get("web")?.status?.conditions?.[0]?.reason, "DaemonSetRefused");
    world.clockMs += 500;
  }
});

Deno.test("reconcileService() removes DaemonSets of older namings and of an older Service of the name", async () => {
  const world = worldWith(WEB);
  for (const name of ["svclb-web", "svclb-web-00000000", "something-else"]) {
    world.daemonSets.put({ metadata: { name, namespace: "kube-system" } });
  }
  await reconcile(world, {});
  assert.deepEqual(world.daemonSets.values().map(({ metadata }) => metadata?.name?.replace(/-[0-9a-f]{8}$/, "-UID")), [
    "something-else",
    "svclb-web-UID",
  ]);
});

const REFUSALS = [
  { code: "kube-forbidden", retriable: true, message: "no such priority class" },
  { code: "kube-not-found", retriable: false, message: 'namespaces "lb" not found' },
  { code: "kube-bad-request", retriable: false, message: "admission webhook denied the request" },
];

for (const { code, retriable, message } of REFUSALS) {
  Deno.test(`reconcileService() tells a server's refusal (${code}) on the Service and fails, so that it is tried again`, async () => {
    const world = worldWith(WEB);
    world.refusal = new K3slbError(`Cannot apply: ${message}`, { code, retriable });
    await assert.rejects(reconcile(world, {}), world.refusal);
    const condition = world.services.get("web")?.status?.conditions?.[0];
    assert.equal(condition?.reason, "DaemonSetRefused");
    assert.match(condition?.message ?? "", new RegExp(message));
    assert.deepEqual(world.events.map(({ reason }) => reason), ["SyncLoadBalancerFailed"]);
  });
}

Deno.test("reconcileService() writes ever more slowly against another writer, and warns once", async () => {
  const world = worldWith(WEB);
  const memory = {};
  await reconcile(world, memory, { pods: BOTH });
  let writes = 0;
  for (let second = 0; second < 120; second++) {
    const present = world.services.get("web");
    world.services.put({
      ...present,
      status: { ...present?.status, loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } },
    });
    const before = world.writes.length;
    await reconcile(world, memory, { pods: BOTH });
    writes += world.writes.length - before;
    world.clockMs += 1_000;
  }
  assert.ok(writes >= 3 && writes <= 9, String(writes));
  assert.equal(world.events.filter(({ reason }) => reason === "StatusContested").length, 1);
});

Deno.test("reconcileService() follows a changed ipMode at once and takes it for nobody's quarrel", async () => {
  const world = worldWith(WEB);
  const memory = {};
  await reconcile(world, memory, { pods: BOTH });
  for (const ipMode of ["Proxy", "VIP", "Proxy"]) {
    const present = world.services.get("web");
    const annotations = { "k3slb.io/ip-mode": ipMode };
    world.services.put({ ...present, metadata: { ...present?.metadata, annotations } });
    assert.equal(await reconcile(world, memory, { pods: BOTH }), undefined);
    assert.equal(world.services.get("web")?.status?.loadBalancer?.ingress?.[0]?.ipMode, ipMode);
  }
  assert.deepEqual(world.events.map(({ reason }) => reason), ["UpdatedLoadBalancer"]);
});

interface ReleaseCase {
  readonly name: string;
  /** What happens to the Service after it was served. */
  readonly change: (served: Service) => Service;
  readonly writes: readonly string[];
}

const RELEASES: readonly ReleaseCase[] = [
  {
    name: "opted out",
    change: (served) => ({ ...served, metadata: { ...served.metadata, annotations: { "k3slb.io/enabled": "false" } } }),
    writes: ["delete daemonsets", "patch services", "apply services/status"],
  },
  {
    name: "of another type",
    change: (served) => ({ ...served, spec: { ...served.spec, type: "ClusterIP" } }),
    writes: ["delete daemonsets", "patch services", "apply services/status"],
  },
  {
    name: "being deleted",
    change: (served) => ({ ...served, metadata: { ...served.metadata, deletionTimestamp: "2026-01-02T00:00:00Z" } }),
    writes: ["delete daemonsets", "patch services"],
  },
];

for (const { name, change, writes } of RELEASES) {
  Deno.test(`reconcileService() takes back what a Service got that is ${name}`, async () => {
    const world = worldWith(WEB);
    const memory = {};
    await reconcile(world, memory, { pods: BOTH });
    world.services.put(change(world.services.get("web") ?? {}));
    world.writes.length = 0;
    await reconcile(world, memory, { pods: BOTH });
    assert.deepEqual(world.writes, writes);
    const left = world.services.get("web");
    assert.equal(left === undefined, name === "being deleted", "the last finalizer lets a deleted Service go");
    assert.deepEqual(left?.metadata?.finalizers ?? [], []);
    assert.deepEqual(world.daemonSets.values(), []);
    assert.equal(world.events.at(-1)?.reason, "DeletedDaemonSet");
  });
}

const FOREIGN: readonly { readonly name: string; readonly given: Service; readonly lbDefault?: boolean }[] = [
  { name: "another class", given: service({ spec: { loadBalancerClass: "metallb.io/x" } }) },
  { name: "no class where we are not the default", given: WEB, lbDefault: false },
  { name: "an opt-out from the start", given: service({ annotations: { "k3slb.io/enabled": "false" } }) },
];

for (const { name, given, lbDefault = true } of FOREIGN) {
  Deno.test(`reconcileService() never touches a Service with ${name}`, async () => {
    const foreign = {
      ...given,
      metadata: { ...given.metadata, finalizers: ["service.kubernetes.io/load-balancer-cleanup"] },
      status: { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } },
    };
    for (const deletionTimestamp of [undefined, "2026-01-02T00:00:00Z"]) {
      const metadata = deletionTimestamp === undefined ? foreign.metadata : { ...foreign.metadata, deletionTimestamp };
      const world = worldWith({ ...foreign, metadata }, { lbDefault });
      await reconcile(world, {}, { pods: BOTH });
      assert.deepEqual(world.writes, []);
      assert.deepEqual(world.events, []);
    }
  });
}
