// Random histories of a cluster (labels, taints, pools, Services, ports, servers and agents that die and come back) end in the same rules and
// the same statuses whoever decides what a node serves: its pods, its agent beside them, or its agent alone.
// Who is first at a free port is decided by who looks: an agent without a server goes on looking, pods without one do not. So histories whose
// end must be the same let nobody reach for another's port while a server or an agent is down. Those that do so must end well in every world:
// all that is chosen is served, or another has one of its ports.
// K3SLB_HISTORIES says how many of each; each is told by its number, which is its seed.
import assert from "node:assert/strict";
import process from "node:process";
import { randomFrom } from "../support/random.ts";
import type { Service } from "../../core/kube/types.ts";
import { HistoryWorld, type NodeSketch, type WorldKind } from "./_history_world.ts";

/** One change, the same in every world. */
type Step = (world: HistoryWorld) => Promise<void> | void;

interface NamedStep {
  readonly what: string;
  readonly run: Step;
}

const KINDS: readonly WorldKind[] = ["pods decide", "agents decide, with pods", "agents decide, no pods"];
const NODES = ["n1", "n2", "n3"];
const NAMES = ["a", "b", "c", "d"];
const PORTS = [80, 80, 443, 8080];
const STEPS = 14;
/** Longer than anything that is waited for between two changes. */
const STEP_MS = 8_000;
/** Longer than an agent's silence and a pod's replacement. */
const END_MS = 260_000;

/** Whether Services reach for others' ports while not everybody looks. */
type Manners = "polite" | "greedy";

function historyOf(seed: number, manners: Manners): readonly NamedStep[] {
  // Far apart, so that the first numbers of one history are not those of the next.
  const random = randomFrom(Math.imul(seed, 0x9e3779b1));
  const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
  const nodes = new Map<string, NodeSketch>(NODES.map((name) => [name, { labels: {}, taints: [] }]));
  const services = new Map<string, readonly number[]>();
  const agents = new Set(NODES);
  let isServerUp = true;
  const isEverybodyUp = (): boolean => isServerUp && agents.size === NODES.length;
  /** Whether another Service has one of these ports. */
  const isShared = (name: string, ports: readonly number[]): boolean =>
    [...services].some(([other, its]) => other !== name && its.some((port) => ports.includes(port)));
  const isRace = (shares: boolean): boolean => manners === "polite" && shares && !isEverybodyUp();
  const steps: NamedStep[] = [];
  const add = (what: string, run: Step): void => void steps.push({ what, run });
  const relabel = (key: string, values: readonly (string | undefined)[]): void => {
    if (isRace([...services].some(([name, ports]) => isShared(name, ports)))) return;
    const name = pick(NODES);
    const before = nodes.get(name) ?? { labels: {}, taints: [] };
    const { [key]: _, ...others } = before.labels;
    const value = pick(values);
    const next = { ...before, labels: value === undefined ? others : { ...others, [key]: value } };
    nodes.set(name, next);
    add(`${name} ${key}=${value}`, (world) => world.putNode(name, next));
  };
  const choosePorts = (): readonly number[] => [
    ...new Set(random() < 0.3 ? [pick(PORTS), pick(PORTS)] : [pick(PORTS)]),
  ];
  const portsOf = (numbers: readonly number[]): NonNullable<Service["spec"]> => ({
    ports: numbers.map((port) => ({ name: `p${port}`, port, targetPort: 8080, protocol: "TCP" })),
  });
  const changes: readonly (() => void)[] = [
    () => relabel("svccontroller.k3s.cattle.io/enablelb", ["true", "true", "false", undefined, undefined]),
    () => relabel("svccontroller.k3s.cattle.io/lbpool", ["blue", undefined]),
    () => {
      // NoSchedule lets go on what is there, which with pods is over at the next change of the DaemonSet: a difference that is wanted.
      if (!isEverybodyUp()) return;
      const name = pick(NODES);
      const before = nodes.get(name) ?? { labels: {}, taints: [] };
      const taints = pick([[], [{ key: "k", effect: "NoExecute" }]]);
      nodes.set(name, { ...before, taints });
      add(`${name} taints ${JSON.stringify(taints)}`, (world) => world.putNode(name, { ...before, taints }));
    },
    () => {
      const name = NAMES.find((each) => !services.has(each));
      if (name === undefined) return;
      const ports = choosePorts();
      if (isRace(isShared(name, ports))) return;
      services.set(name, ports);
      const spec = { ...portsOf(ports), externalTrafficPolicy: pick(["Cluster", "Cluster", "Local"]) };
      add(`create ${name} ${JSON.stringify(spec)}`, (world) => world.createService(name, spec));
    },
    () => {
      if (services.size === 0 || (manners === "polite" && !isEverybodyUp())) return;
      const name = pick([...services.keys()]);
      const ports = choosePorts();
      services.set(name, ports);
      const spec = portsOf(ports);
      add(`${name} ${JSON.stringify(spec)}`, (world) => world.patchService(name, { spec }));
    },
    () => {
      if (services.size === 0) return;
      const name = pick([...services.keys()]);
      if (isRace(isShared(name, services.get(name) ?? []))) return;
      const pool = pick(["blue", null]);
      const labels = { "svccontroller.k3s.cattle.io/lbpool": pool };
      add(`${name} pool ${pool}`, (world) => world.patchService(name, { metadata: { labels } }));
    },
    () => {
      if (services.size === 0 || !isServerUp) return;
      const name = pick([...services.keys()]);
      services.delete(name);
      add(`delete ${name}`, (world) => world.deleteService(name));
    },
    () => {
      // Several changes that a server finds at once are one change of the DaemonSet, whose new pods keep off a tainted node.
      if (isServerUp && [...nodes.values()].some(({ taints }) => taints.length > 0)) return;
      isServerUp = !isServerUp;
      add(
        `server ${isServerUp ? "up" : "down"}`,
        isServerUp ? (world) => world.startServer() : (world) => world.stopServer(),
      );
    },
    () => {
      const name = pick(NODES);
      const isUp = agents.has(name);
      if (isUp && (nodes.get(name)?.taints ?? []).length > 0) return;
      if (isUp) agents.delete(name);
      else agents.add(name);
      add(
        `agent ${name} ${isUp ? "down" : "up"}`,
        isUp ? (world) => world.stopAgent(name) : (world) => world.startAgent(name),
      );
    },
  ];
  const weights = [0, 0, 1, 2, 3, 3, 3, 4, 4, 5, 6, 7, 8];
  while (steps.length < STEPS) changes[pick(weights)]?.();
  return steps;
}

async function live(kind: WorldKind, history: readonly NamedStep[]): Promise<ReturnType<HistoryWorld["outcome"]>> {
  const world = new HistoryWorld(kind);
  try {
    for (const name of NODES) world.putNode(name, { labels: {}, taints: [] });
    world.startServer();
    for (const name of NODES) world.startAgent(name);
    await world.clock.advance(STEP_MS);
    for (const { run } of history) {
      await run(world);
      await world.clock.advance(STEP_MS);
    }
    world.startServer();
    for (const name of NODES) world.startAgent(name);
    await world.clock.advance(END_MS);
    return world.outcome();
  } finally {
    await world.stop();
  }
}

const COUNT = Number(process.env["K3SLB_HISTORIES"] ?? 8);
const FIRST = Number(process.env["K3SLB_FIRST_HISTORY"] ?? 1);

for (let seed = FIRST; seed < FIRST + COUNT; seed++) {
  Deno.test(`history ${seed} ends the same whoever decides`, async () => {
    const history = historyOf(seed, "polite");
    const [pods, ...others] = await Promise.all(KINDS.map((kind) => live(kind, history)));
    for (const [at, outcome] of others.entries()) {
      assert.deepEqual(outcome, pods, `${KINDS[at + 1]}\n${told(history)}`);
    }
  });
  Deno.test(`history ${seed} with Services that reach for each other's ports ends well whoever decides`, async () => {
    const history = historyOf(seed, "greedy");
    for (const kind of KINDS) assert.deepEqual((await live(kind, history)).faults, [], `${kind}\n${told(history)}`);
  });
}

function told(history: readonly NamedStep[]): string {
  return history.map(({ what }) => what).join("\n");
}
