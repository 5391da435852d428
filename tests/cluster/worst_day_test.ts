// A tenant's worst day: all that he may try at once (worst_day_attack.ts), as fast as he can, beside an honest Service of somebody else. What
// counts is the honest one: its first answer, a change of its endpoints, its status, and the Lease.
import assert from "node:assert/strict";
import process from "node:process";
import { LEASES, SERVICES } from "../../core/kube/resources.ts";
import { ELECTION_LEASE_NAME } from "../../core/service/labels.ts";
import { visibleText } from "../../core/shared/visible_text.ts";
import { hangingWebhook } from "../support/hanging_webhook.ts";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import { type World, worldKind } from "../support/world.ts";
import type { TestNamespace } from "../support/world_objects.ts";
import { worldSuite } from "../support/world_suite.ts";
import { type Attack, attack, goOn, writeElsewhere } from "./worst_day_attack.ts";

/** What the honest Service's owner sees, in milliseconds. */
interface Times {
  readonly firstAnswer: number;
  readonly endpointChange: number;
  readonly status: number;
}

/** A median of some dozens of lives: of ten, one in five said more than twice where five minutes say 1.5 to 1.8. In memory it is no measurement. */
const DEFAULT_SECONDS = worldKind() === "memory" ? 12 : 40;
/** For how long the attack goes on; minutes where somebody wants to know. */
const SECONDS = Number(process.env["K3SLB_WORST_DAY_SECONDS"] ?? DEFAULT_SECONDS);
const ROUNDS = 3;
/** For how long what is usual is timed, each time. */
const USUAL_MS = worldKind() === "memory" ? 6_000 : 15_000;
/** The in-memory API server is part of this process, and other files run beside this one. */
const ALLOWANCE_MS = worldKind() === "memory" ? 1_000 : 0;

/** One Service's life: made, answered, published, sent to other pods, deleted. */
async function honestLife(world: World, ns: TestNamespace, name: string): Promise<Times> {
  const port = world.port();
  const request = { protocol: "tcp", ip: world.node("node1").ip4, port } as const;
  const startMs = performance.now();
  await ns.createService({ name, app: "one", ports: [port] });
  const [firstAnswer, status] = await Promise.all([
    world.waitForAnswer(world.client, request).then(() => performance.now() - startMs),
    ns.waitForIngress(name, world.nodeIps).then(() => performance.now() - startMs),
  ]);
  const changeMs = performance.now();
  await ns.patchService(name, { spec: { selector: { app: "two" } } });
  await world.waitForAnswer(
    world.client,
    request,
    (answer) => answer.outcome === "answer" && answer.server.startsWith("two"),
  );
  const endpointChange = performance.now() - changeMs;
  await ns.deleteService(name);
  return { firstAnswer, endpointChange, status };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
}

/** The median of {@linkcode ROUNDS} lives or of more, as long as `isOver` says no. */
async function medianLife(
  live: (name: string) => Promise<Times>,
  label: string,
  isOver: () => boolean = () => true,
): Promise<Times> {
  const lived: Times[] = [];
  while (lived.length < ROUNDS || !isOver()) lived.push(await live(`${label}-${lived.length}`));
  return {
    firstAnswer: median(lived.map(({ firstAnswer }) => firstAnswer)),
    endpointChange: median(lived.map(({ endpointChange }) => endpointChange)),
    status: median(lived.map(({ status }) => status)),
  };
}

interface Holder {
  readonly who: string;
  readonly transitions: number;
  readonly ageMs: number;
}

async function holder(world: World): Promise<Holder> {
  const { spec } = await world.admin.get(LEASES, { namespace: "kube-system", name: ELECTION_LEASE_NAME });
  return {
    who: spec?.holderIdentity ?? "",
    transitions: spec?.leaseTransitions ?? 0,
    ageMs: Date.now() - Date.parse(String(spec?.renewTime)),
  };
}

/** Looks at the Lease until `signal`: it stays with whoever has it, and is renewed. */
async function keepsLease(world: World, before: Holder, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { who, transitions, ageMs } = await holder(world);
    assert.deepEqual([who, transitions], [before.who, before.transitions]);
    assert.ok(ageMs < 15_000, `the Lease is ${ageMs} ms old`);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

/** Runs `work` while `together` goes on; what that finds is thrown. */
async function beside<T>(
  together: (signal: AbortSignal) => readonly Promise<void>[],
  work: (isOver: () => boolean) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const others = Promise.all(together(stop.signal));
  others.catch(() => stop.abort());
  const result = await work(() => stop.signal.aborted).finally(() => stop.abort());
  await others;
  return result;
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 3 });

  test("a tenant's worst day costs an honest Service no more than twice its usual time, and the server keeps its Lease", async ({ world, ns }) => {
    const node1 = world.node("node1");
    const [sshPort, externalPort, honestPort] = [world.port(), world.port(), world.port()];
    const listen = { protocol: "tcp", port: sshPort, name: "sshd" } as const;
    await node1.ns.listen(listen);
    await ns.createApp({ name: "one", nodes: ["node1", "node2"] });
    await ns.createApp({ name: "two", nodes: ["node1", "node2"] });
    const externalIPs = [world.node("node2").ip4];
    await ns.createService({
      name: "external",
      app: "one",
      ports: [externalPort],
      spec: { type: "ClusterIP", externalIPs },
    });
    await ns.createService({ name: "honest", app: "one", ports: [honestPort] });
    await ns.waitForIngress("honest", world.nodeIps);
    const honest = (name: string): Promise<Times> => honestLife(world, ns, name);
    const livesFor = (label: string, ms: number) => {
      const endMs = performance.now() + ms;
      return (isOver: () => boolean) => medianLife(honest, label, () => isOver() || performance.now() > endMs);
    };
    const quiet = await livesFor("quiet", USUAL_MS)(() => false);
    const before = await holder(world);
    const evil = await world.namespace("evil");
    const attacked: Attack = { world, evil, sshPort, externalPort, honestPort };
    const busy = await beside((signal) => [writeElsewhere(attacked, signal)], livesFor("busy", USUAL_MS));
    const refused = await attack(attacked);
    // What has piled up meanwhile.
    await honest("after");
    const under = await beside(
      (signal) => [goOn(attacked, signal), keepsLease(world, before, signal)],
      livesFor("under", SECONDS * 1_000),
    );
    const told = `on a quiet API server ${JSON.stringify(quiet)}, on a busy one ${JSON.stringify(busy)}, ` +
      `under attack ${JSON.stringify(under)}`;
    if (SECONDS > 60) Deno.stderr.writeSync(new TextEncoder().encode(`${told}\n`));
    for (const what of ["firstAnswer", "endpointChange", "status"] as const) {
      // Both are usual times.
      assert.ok(under[what] <= 2 * Math.max(quiet[what], busy[what]) + ALLOWANCE_MS, `${what}: ${told}`);
    }
    for (const [name, why] of refused) {
      const { status } = await evil.waitForCondition(name, ({ message }) => why.test(message ?? ""));
      assert.deepEqual([await evil.ingress(name), status], [[], "False"], name);
    }
    assert.deepEqual(await evil.ingress("class"), []);
    // An address that another Service has at that port: the other nodes serve.
    const others = world.nodes.filter(({ name }) => name !== "node2").map(({ ip4 }) => ip4);
    await evil.waitForIngress("external", others);
    assert.match((await evil.condition("external"))?.message ?? "", /node2.*external/);
    const answers = async (ip: string, port: number): Promise<string> => {
      const answer = await world.client.ns.request({ protocol: "tcp", ip, port, timeoutMs: 1_000 });
      return answer.outcome === "answer" ? answer.server : answer.outcome;
    };
    assert.equal(await answers(node1.ip4, sshPort), "sshd");
    for (const port of [10_250, 4_444]) assert.equal(await answers(node1.ip4, port), "refused", String(port));
    for (const { ip4 } of world.nodes) assert.match(await answers(ip4, honestPort), /^one/);
    await node1.ns.unlisten(listen);
    // Nobody's words steer a terminal, wherever they stand.
    const { items } = await world.admin.list(SERVICES, { namespace: evil.name });
    const words = items.flatMap(({ status }) => status?.conditions ?? []).map(({ message }) => message).join("\n");
    const events = (await Promise.all(items.map(({ metadata }) => evil.events(metadata?.name ?? "")))).flat();
    for (const said of [words, ...events.map(({ message }) => message ?? "")]) assert.equal(visibleText(said), said);
  });

  test(
    "a webhook that never answers for 24 namespaces of a tenant holds up his Services alone, and the server keeps its Lease",
    async ({ world, ns }) => {
      await ns.createApp({ name: "one", nodes: ["node1"] });
      await ns.createApp({ name: "two", nodes: ["node1"] });
      const honest = (name: string): Promise<Times> => honestLife(world, ns, name);
      const usual = await medianLife(honest, "usual");
      const before = await holder(world);
      const evil = await Promise.all(Array.from({ length: 24 }, () => world.namespace("hanging")));
      // Refused without a DaemonSet: what is written of it is its condition, in its own namespace.
      const refused = (name: string): Promise<unknown> =>
        Promise.all(evil.map((each) =>
          each.createService({
            name,
            ports: [world.port()],
            annotations: { "k3slb.io/match-addresses": "127.0.0.1" },
          })
        ));
      await refused("first");
      for (const each of evil) await each.waitForCondition("first", ({ message }) => /loopback/.test(message ?? ""));
      await using _webhook = await hangingWebhook(world, evil);
      const under = await beside(
        (signal) => [keepsLease(world, before, signal)],
        async (isOver) => {
          await refused("second");
          const endMs = performance.now() + SECONDS * 1_000;
          return await medianLife(honest, "under", () => isOver() || performance.now() > endMs);
        },
      );
      const told = `usual ${JSON.stringify(usual)}, beside the webhook ${JSON.stringify(under)}`;
      for (const what of ["firstAnswer", "endpointChange", "status"] as const) {
        // Of a namespace that hangs for the first time nobody knows it yet.
        assert.ok(under[what] <= 2 * usual[what] + ALLOWANCE_MS + 250, `${what}: ${told}`);
      }
      // Whose Events were quick until the webhook came may hold it up once, for seconds; one after the other they would for minutes.
      await waitUntil("an Event of the honest Service", async () => (await ns.events("under-0")).length > 0, {
        deadlineMs: 45_000,
      });
      assert.equal((await evil[0]?.condition("second"))?.message, undefined);
    },
    { only: { kind: "real", reason: "the in-memory API server asks no webhooks" } },
  );
}
