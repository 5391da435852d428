// What an honest Service's owner sees while somebody else has his worst day, beside what is usual: the same lives on a quiet API server, and on
// one that takes the same writes elsewhere.
import assert from "node:assert/strict";
import { LEASES } from "../../core/kube/resources.ts";
import { ELECTION_LEASE_NAME } from "../../core/service/labels.ts";
import type { World } from "../support/world.ts";
import type { TestNamespace } from "../support/world_objects.ts";
import { type Attack, attack, goOn, type Refusals, writeElsewhere } from "./worst_day_attack.ts";

/** What the honest Service's owner sees, in milliseconds. */
export interface Times {
  readonly firstAnswer: number;
  readonly endpointChange: number;
  readonly status: number;
}

/** Medians of so many lives. */
export interface MedianTimes extends Times {
  readonly lives: number;
}

/** Whose lives are timed; `one` and `two` are apps in the namespace. */
export interface Honest {
  readonly world: World;
  readonly ns: TestNamespace;
}

/** What is usual, and what is so meanwhile. */
export interface WorstDay {
  readonly quiet: MedianTimes;
  readonly busy: MedianTimes;
  readonly under: MedianTimes;
  readonly refused: Refusals;
}

const MIN_LIVES = 3;

/** One Service's life: made, answered, published, sent to other pods, deleted. */
async function honestLife({ world, ns }: Honest, name: string): Promise<Times> {
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

/** The median of {@linkcode MIN_LIVES} lives or of more, for `ms` or until `isOver`. */
export async function medianLife(
  honest: Honest,
  { label, ms, isOver = () => false }: { label: string; ms: number; isOver?: () => boolean },
): Promise<MedianTimes> {
  const endMs = performance.now() + ms;
  const lived: Times[] = [];
  while (lived.length < MIN_LIVES || !(isOver() || performance.now() > endMs)) {
    lived.push(await honestLife(honest, `${label}-${lived.length}`));
  }
  return {
    firstAnswer: median(lived.map(({ firstAnswer }) => firstAnswer)),
    endpointChange: median(lived.map(({ endpointChange }) => endpointChange)),
    status: median(lived.map(({ status }) => status)),
    lives: lived.length,
  };
}

/** Who has the server's Lease. */
interface Holder {
  readonly who: string;
  readonly transitions: number;
  readonly ageMs: number;
}

/** Reads the Lease. */
export async function holder(world: World): Promise<Holder> {
  const { spec } = await world.admin.get(LEASES, { namespace: "kube-system", name: ELECTION_LEASE_NAME });
  return {
    who: spec?.holderIdentity ?? "",
    transitions: spec?.leaseTransitions ?? 0,
    ageMs: Date.now() - Date.parse(String(spec?.renewTime)),
  };
}

/** Looks at the Lease until `signal`: it stays with whoever has it, and is renewed. */
export async function keepsLease(world: World, before: Holder, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { who, transitions, ageMs } = await holder(world);
    assert.deepEqual([who, transitions], [before.who, before.transitions]);
    assert.ok(ageMs < 15_000, `the Lease is ${ageMs} ms old`);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

/** Runs `work` while `together` goes on; what that finds is thrown. */
export async function beside<T>(
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

/** Makes what is attacked: a port at which a process listens, an external IP's port, and an honest load balancer's. */
export async function arrangeWorstDay({ world, ns }: Honest): Promise<Attack> {
  const [sshPort, externalPort, honestPort] = [world.port(), world.port(), world.port()];
  await world.node("node1").ns.listen({ protocol: "tcp", port: sshPort, name: "sshd" });
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
  return { world, evil: await world.namespace("evil"), sshPort, externalPort, honestPort };
}

/** For how long each is timed. */
export interface Spans {
  readonly usualMs: number;
  readonly attackMs: number;
}

/** Times what is usual, on a quiet API server and on a busy one, then lets the attack go on. Throws if the Lease is lost meanwhile. */
export async function liveWorstDay(honest: Honest, attacked: Attack, spans: Spans): Promise<WorstDay> {
  const quiet = await medianLife(honest, { label: "quiet", ms: spans.usualMs });
  const busy = await timeBusy(honest, attacked, spans.usualMs);
  const refused = await attack(attacked);
  // What has piled up meanwhile.
  await honestLife(honest, "after");
  return { quiet, busy, under: await timeUnder(honest, attacked, spans.attackMs), refused };
}

/** Times the busy API server and the attack of a day again. */
export async function timeAgain(honest: Honest, attacked: Attack, day: WorstDay, spans: Spans): Promise<WorstDay> {
  const elsewhere = { ...attacked, evil: await honest.world.namespace("elsewhere") };
  const busy = await timeBusy(honest, elsewhere, spans.usualMs);
  return { ...day, busy, under: await timeUnder(honest, attacked, spans.attackMs) };
}

async function timeBusy(honest: Honest, elsewhere: Attack, ms: number): Promise<MedianTimes> {
  return await beside(
    (signal) => [writeElsewhere(elsewhere, signal)],
    (isOver) => medianLife(honest, { label: `busy-in-${elsewhere.evil.name}`, ms, isOver }),
  );
}

let rounds = 0;

async function timeUnder(honest: Honest, attacked: Attack, ms: number): Promise<MedianTimes> {
  const before = await holder(honest.world);
  return await beside(
    (signal) => [goOn(attacked, signal), keepsLease(honest.world, before, signal)],
    (isOver) => medianLife(honest, { label: `under-${rounds++}`, ms, isOver }),
  );
}

/** How many times as long as usual each takes. */
export function timesUsual({ quiet, busy, under }: WorstDay): Times {
  // Both are usual times.
  const ratio = (what: keyof Times): number => under[what] / Math.max(quiet[what], busy[what]);
  return {
    firstAnswer: ratio("firstAnswer"),
    endpointChange: ratio("endpointChange"),
    status: ratio("status"),
  };
}
