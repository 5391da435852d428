// Where agents tell what they serve, the DaemonSet of a new Service comes after its status and after other new Services' statuses; nobody waits for long.
import assert from "node:assert/strict";
import type { Node } from "../../../../../core/kube/types.ts";
import { LateReservations } from "../../../../../core/service_lb/daemonset/late_reservations.ts";
import type { Reported } from "../../../../../core/service_lb/nodes/node_reports.ts";
import { objectKey } from "../../../../../core/service/keys.ts";
import { ENABLE_LABEL } from "../../../../../core/service/labels.ts";
import { K3slbError } from "../../../../../core/shared/errors.ts";
import { service } from "../fixtures.ts";
import { reconcile, type ReconcileWorld, reconcileWorld, TWO_NODES } from "../reconcile_world.ts";

function turns(): { readonly late: LateReservations; readonly told: string[] } {
  const told: string[] = [];
  return { late: new LateReservations((key) => void told.push(key)), told };
}

Deno.test("LateReservations: one Service alone has its turn once its agents have answered", () => {
  const { late, told } = turns();
  assert.equal(late.delayMs("d/a", { isAnswered: false, nowMs: 0 }), 5_000);
  assert.equal(late.delayMs("d/a", { isAnswered: false, nowMs: 1_000 }), 4_000);
  assert.equal(late.delayMs("d/a", { isAnswered: true, nowMs: 1_100 }), 0);
  assert.deepEqual(told, []);
});

Deno.test("LateReservations: those that have been answered wait for the last of a burst, and are told", () => {
  const { late, told } = turns();
  for (const key of ["d/a", "d/b", "d/c"]) late.delayMs(key, { isAnswered: false, nowMs: 0 });
  assert.equal(late.delayMs("d/a", { isAnswered: true, nowMs: 100 }), 4_900);
  assert.equal(late.delayMs("d/b", { isAnswered: true, nowMs: 200 }), 4_800);
  assert.deepEqual(told, []);
  assert.equal(late.delayMs("d/c", { isAnswered: true, nowMs: 300 }), 0);
  assert.deepEqual(told, ["d/a", "d/b"]);
  assert.deepEqual(told.map((key) => late.delayMs(key, { isAnswered: true, nowMs: 300 })), [100, 200], "one by one");
  assert.deepEqual(told.map((key) => late.delayMs(key, { isAnswered: true, nowMs: 400 })), [0, 100]);
  assert.equal(late.delayMs("d/b", { isAnswered: true, nowMs: 500 }), 0);
  assert.deepEqual(told, ["d/a", "d/b"], "nobody is told twice");
});

Deno.test("LateReservations: whoever waited in vain has a turn after those before, and keeps it", () => {
  const { late, told } = turns();
  const keys = ["d/a", "d/b", "d/c"];
  const delays = (nowMs: number): readonly number[] =>
    keys.map((key) => late.delayMs(key, { isAnswered: true, nowMs }));
  late.delayMs("d/new", { isAnswered: false, nowMs: 0 });
  assert.deepEqual(delays(0), [5_000, 5_000, 5_000]);
  assert.deepEqual(delays(5_000), [0, 100, 200]);
  keys.shift();
  late.leave("d/new");
  assert.deepEqual(told, [], "whoever has a turn comes by itself");
  assert.deepEqual(delays(5_100), [0, 100]);
});

Deno.test("LateReservations: nobody waits longer than five seconds, neither for its own agents nor for those of others that come and come", () => {
  const { late } = turns();
  late.delayMs("d/a", { isAnswered: false, nowMs: 0 });
  late.delayMs("d/b", { isAnswered: false, nowMs: 4_000 });
  assert.equal(late.delayMs("d/b", { isAnswered: true, nowMs: 4_500 }), 4_500);
  assert.equal(late.delayMs("d/a", { isAnswered: false, nowMs: 5_000 }), 0);
  late.delayMs("d/c", { isAnswered: false, nowMs: 8_000 });
  assert.equal(late.delayMs("d/b", { isAnswered: true, nowMs: 9_000 }), 0);
});

Deno.test("LateReservations: a Service that goes holds nobody", () => {
  const { late, told } = turns();
  late.delayMs("d/a", { isAnswered: false, nowMs: 0 });
  late.delayMs("d/b", { isAnswered: true, nowMs: 0 });
  late.leave("d/a");
  assert.deepEqual(told, ["d/b"]);
});

/** `node` with the label that puts it on the list of those that serve. */
function withLabel({ metadata, ...rest }: Node, value: string): Node {
  return { ...rest, metadata: { ...metadata, labels: { ...metadata?.labels, [ENABLE_LABEL]: value } } };
}

const SERVES: Reported = { says: "serves" };
const NOTHING: Reported = { says: "nothing", isCut: false };

function newWorld(): ReconcileWorld {
  const world = reconcileWorld();
  world.services.put(service());
  return world;
}

Deno.test("reconcileService() writes status and finalizer first where agents tell, in one request, then the DaemonSet", async () => {
  const world = newWorld();
  const memory = {};
  await reconcile(world, memory, { said: { a: NOTHING, b: NOTHING } });
  assert.deepEqual(world.writes, []);
  await reconcile(world, memory, { said: { a: SERVES, b: SERVES } });
  assert.deepEqual(world.writes, ["apply services/status", "apply daemonsets"]);
  assert.deepEqual(world.events.map(({ reason }) => reason), ["UpdatedLoadBalancer"]);
  assert.deepEqual(world.services.get("web")?.metadata?.finalizers, ["service.kubernetes.io/load-balancer-cleanup"]);
  await reconcile(world, memory, { said: { a: SERVES, b: SERVES } });
  assert.equal(world.writes.length, 2);
});

Deno.test("reconcileService() leaves the finalizer where it is with each further status", async () => {
  const world = newWorld();
  const memory = {};
  await reconcile(world, memory, { said: { a: SERVES, b: SERVES } });
  await reconcile(world, memory, { said: { a: SERVES, b: { says: "refuses", reason: "PortTaken", message: "80" } } });
  assert.deepEqual(world.services.get("web")?.status?.loadBalancer?.ingress?.map(({ ip }) => ip), ["10.0.0.1"]);
  assert.deepEqual(world.services.get("web")?.metadata?.finalizers, ["service.kubernetes.io/load-balancer-cleanup"]);
});

Deno.test("reconcileService() changes the DaemonSet after the status, too", async () => {
  const world = newWorld();
  const memory = {};
  const nodes = TWO_NODES.map((each) => each.metadata?.name === "a" ? withLabel(each, "true") : each);
  await reconcile(world, memory, { nodes, allowList: true, said: { a: SERVES, b: NOTHING } });
  assert.deepEqual(world.writes.splice(0), ["apply services/status", "apply daemonsets"]);
  await reconcile(world, memory, { said: { a: SERVES, b: NOTHING } });
  assert.deepEqual(world.writes, []);
  world.clockMs += 1_000;
  await reconcile(world, memory, { said: { a: SERVES, b: SERVES } });
  assert.deepEqual(world.writes, ["apply services/status", "apply daemonsets"]);
});

for (const what of ["changed", "deleted"] as const) {
  Deno.test(`reconcileService() mends a DaemonSet that somebody has ${what} at once`, async () => {
    const world = newWorld();
    const memory = {};
    await reconcile(world, memory, { said: { a: SERVES, b: SERVES } });
    const [made] = world.daemonSets.values();
    assert.ok(made);
    world.writes.splice(0);
    if (what === "changed") world.daemonSets.put({ ...made, metadata: { ...made.metadata, labels: {} } });
    else world.daemonSets.remove(objectKey(made));
    await reconcile(world, memory, { said: { a: SERVES, b: NOTHING } });
    assert.deepEqual(world.writes, ["apply daemonsets"]);
  });
}

Deno.test("reconcileService() makes the DaemonSet all the same when an agent does not answer for five seconds", async () => {
  const world = newWorld();
  const memory = {};
  const said = { a: NOTHING, b: NOTHING };
  assert.equal(await reconcile(world, memory, { said }), 5_000);
  world.clockMs += 5_000;
  await reconcile(world, memory, { said });
  assert.deepEqual(world.writes, ["patch services", "apply daemonsets"]);
});

Deno.test("reconcileService() makes the DaemonSet at once where a pod decides on some node", async () => {
  const world = newWorld();
  await reconcile(world, {}, { said: { a: NOTHING } });
  assert.deepEqual(world.writes, ["patch services", "apply daemonsets"]);
});

Deno.test("reconcileService() says once that the late DaemonSet is refused, and goes on saying it", async () => {
  const world = newWorld();
  world.refusal = new K3slbError("no such field", { code: "kube-bad-request", retriable: false });
  const memory = {};
  const served = { a: SERVES, b: SERVES };
  for (let i = 0; i < 3; i++) await assert.rejects(reconcile(world, memory, { said: served }), /no such field/);
  const condition = world.services.get("web")?.status?.conditions?.[0];
  assert.equal(condition?.reason, "DaemonSetRefused");
  assert.equal(world.writes.filter((each) => each === "apply services/status").length, 2);
});
