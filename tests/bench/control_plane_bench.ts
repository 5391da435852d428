// The load balancer on a real control plane: how long until a Service has its addresses and answers, what it costs the API server, how fast
// changes show, what server and agents hold in memory.
import { get } from "node:http";
import { WRITE_VERBS } from "../support/control_plane_audit.ts";
import { waitUntil } from "../support/wait.ts";
import { batchFigures, type BatchSetting, printRequests, serverMemory, timeFigure } from "./batch_figures.ts";
import type { BenchContext } from "./bench_context.ts";
import { type BenchWorld, nowMs, type Profile, startBenchWorld, sum } from "./bench_world.ts";
import { cpuOf, memoryOf } from "./process_cost.ts";
import { duration, type Figure, judged, mebibytes } from "./report.ts";
import { median } from "./stats.ts";

const IDLE_SECONDS = 120;
const EVENT_DELAY_MS = 62_000;
const ENABLE_LABEL = "svccontroller.k3s.cattle.io/enablelb";

/** Three nodes with both kinds of limits, twenty nodes with limits lifted. */
export async function benchControlPlane(context: BenchContext): Promise<void> {
  await benchWithoutPods(context);
  await benchThreeNodes(context);
  if (context.quick) return;
  await benchBatches(context, { profile: "default limits", nodes: 3, bursts: [50, 300] });
  await benchBatches(context, { profile: "limits lifted", nodes: 20, bursts: [50] });
}

/** Services one after the other and at once, on a control plane of their own. */
export async function benchBatches(
  context: BenchContext,
  { profile, nodes, bursts }: {
    readonly profile: Profile;
    readonly nodes: number;
    readonly bursts: readonly number[];
  },
): Promise<void> {
  const agents = nodes <= 3;
  const setting = { profile, nodes, agents };
  await using bench = await startBenchWorld(setting);
  context.print(`\n${titleOf(setting)}`);
  const singles = await bench.createBatch({ count: 10, atOnce: false, answers: agents });
  context.figures(batchFigures(singles, setting));
  let services = singles.count;
  for (const count of bursts) {
    const many = await bench.createBatch({ count, atOnce: true, answers: false });
    services += count;
    context.figures([...batchFigures(many, setting), serverMemory(bench, { services, nodes })]);
    printRequests(context, "the server", many);
  }
}

/** The same without DaemonSets and pods. */
async function benchWithoutPods(context: BenchContext): Promise<void> {
  const batches = {
    "default limits": [[10, false], [50, true]],
    "limits lifted": [[300, true]],
  } as const;
  for (const profile of ["default limits", "limits lifted"] as const) {
    const setting = { profile, nodes: 3, agents: true, withoutPods: true };
    await using bench = await startBenchWorld({ ...setting, serverArgs: ["--reserve-ports", "none"] });
    context.print(`\n${titleOf(setting)}`);
    for (const [count, atOnce] of batches[profile]) {
      const batch = await bench.createBatch({ count, atOnce, answers: !atOnce });
      context.figures(batchFigures(batch, setting));
      printRequests(context, "the whole cluster", batch);
    }
  }
}

function titleOf({ profile, nodes, agents, withoutPods }: BatchSetting): string {
  const who = agents ? "real agents and packets" : "no agents, kubelets open the gates";
  return `${profile}, ${nodes} nodes${withoutPods ? ", --reserve-ports none" : ""}: ${who}`;
}

async function benchThreeNodes(context: BenchContext): Promise<void> {
  const nodes = 3;
  const setting: BatchSetting = { profile: "limits lifted", nodes, agents: true };
  await using bench = await startBenchWorld(setting);
  context.print(`\n${titleOf(setting)}`);
  const singles = await bench.createBatch({ count: 10, atOnce: false, answers: true });
  const names = [...singles.names];
  context.figures([...batchFigures(singles, setting), serverMemory(bench, { services: 10, nodes })]);
  printRequests(context, "the server", singles);
  context.print("\n10 Services, from a change to each status");
  context.figures(await reactionFigures(bench, names, context.quick ? 1 : 5));
  if (context.quick) return;
  const fifty = await bench.createBatch({ count: 50, atOnce: true, answers: false });
  names.push(...fifty.names, ...(await bench.createBatch({ count: 40, atOnce: true, answers: false })).names);
  context.figures(batchFigures(fifty, setting));
  context.figures([...await agentFigures(bench, names.length), ...await serverStart(bench)]);
  context.figures(await idleFigures(bench, IDLE_SECONDS));
  const gone = await bench.deleteAll(names);
  const large = await bench.createBatch({ count: 300, atOnce: true, answers: false });
  context.figures([
    timeFigure(`delete to gone, ${names.length} Services at once`, gone),
    ...batchFigures(large, setting),
    serverMemory(bench, { services: 300, nodes }),
  ]);
  printRequests(context, "the server", large);
}

async function agentFigures(bench: BenchWorld, services: number): Promise<readonly Figure[]> {
  const memory = bench.world.nodes.map(({ agent }) => memoryOf(agent?.pid ?? 0));
  const worst = Math.max(...memory.map(({ now }) => now));
  const figure: Figure = {
    what: `agent memory, ${services} Services`,
    value: mebibytes(worst),
    detail: `largest of ${memory.length}; peak ${mebibytes(Math.max(...memory.map(({ peak }) => peak)))}`,
    count: memory.length,
  };
  const starts: number[] = [];
  const [node] = bench.world.nodes;
  for (let i = 0; node !== undefined && i < 5; i++) {
    await node.stopAgent();
    const cleanup = await node.runProgram(["agent", "cleanup"]);
    if (cleanup.code !== 0) throw new Error(`agent cleanup failed: ${cleanup.stderr}`);
    const ports = Array.from({ length: services }, (_, at) => bench.firstMeasuredPort + at);
    const startMs = nowMs();
    await node.startAgent();
    const targets = ports.map((port) => ({ ip: node.ip4, port }));
    const { answeredAtMs } = await bench.client.waitForAnswers({ targets, deadlineMs: 30_000 });
    if (answeredAtMs.includes(0)) throw new Error(`No answers after the agent's start\n${bench.world.logs()}`);
    starts.push(Math.max(...answeredAtMs) - startMs);
  }
  const start = timeFigure(`agent start to answers on all ${services} Services' ports`, starts);
  return [
    judged(figure, worst / 2 ** 20, { value: 60, direction: "at most", unit: "MiB" }),
    judged(start, median(starts), { value: 1_000, direction: "at most", unit: "ms" }),
  ];
}

async function serverStart(bench: BenchWorld): Promise<readonly Figure[]> {
  const starts: number[] = [];
  for (let i = 0; i < 3; i++) {
    await bench.world.servers.at(-1)?.stop();
    const port = 10_260 + bench.world.servers.length;
    const startMs = nowMs();
    await bench.world.startServer();
    await waitUntil("the server to be ready", () => isReady(`http://127.0.0.1:${port}/readyz`), { intervalMs: 5 });
    starts.push(nowMs() - startMs);
  }
  return [timeFigure("server start to ready (another has just left the election)", starts)];
}

function isReady(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const call = get(url, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    call.on("error", () => resolve(false));
  });
}

/** From a change to the last of the Services' statuses. */
async function reactionFigures(
  bench: BenchWorld,
  names: readonly string[],
  repetitions: number,
): Promise<readonly Figure[]> {
  const [one, two] = bench.world.nodes;
  if (!one || !two) throw new TypeError("Reactions need two nodes");
  const others = bench.world.nodeIps.filter((ip) => ip !== two.ip4);
  const external = "198.51.100.7";
  const label = (value: string | null): Readonly<Record<string, string | null>> => ({ [ENABLE_LABEL]: value });
  const changes: readonly {
    readonly what: string;
    readonly change: () => Promise<void>;
    readonly ips?: readonly string[];
    /** @default {300} */
    readonly budgetMs?: number;
  }[] = [
    { what: "first enablelb label: only that node", change: () => one.label(label("true")), ips: [one.ip4] },
    { what: "enablelb on a second node", change: () => two.label(label("true")), ips: [one.ip4, two.ip4] },
    { what: "enablelb off the second node", change: () => two.label(label(null)), ips: [one.ip4] },
    { what: "last enablelb label off: all nodes", change: () => one.label(label(null)), budgetMs: 200 },
    { what: "node not Ready: its address leaves", change: () => two.setReady(false), ips: others },
    { what: "node Ready again: its address returns", change: () => two.setReady(true) },
    { what: "node gets an external address", change: () => one.setExternalIps(external), ips: [external] },
    { what: "external address goes", change: () => one.setExternalIps() },
  ];
  const times = new Map<string, number[]>();
  for (let i = 0; i < repetitions; i++) {
    for (const { what, change, ips } of changes) {
      const found = await bench.timeChange(names, { change, ...(ips === undefined ? {} : { ips }) });
      times.set(what, [...times.get(what) ?? [], ...found]);
    }
  }
  return changes.map(({ what, budgetMs = 300 }) => {
    const found = times.get(what) ?? [];
    return judged(timeFigure(what, found), median(found), { value: budgetMs, direction: "at most", unit: "ms" });
  });
}

/** Writes, and the server's work, in a while in which nothing happens, when the last change has been told. */
async function idleFigures(bench: BenchWorld, seconds: number): Promise<readonly Figure[]> {
  // Counts of repeated Events are written up to a minute late.
  await new Promise((resolve) => setTimeout(resolve, EVENT_DELAY_MS));
  const count = bench.world.api.countRequests();
  const pid = bench.world.servers.at(-1)?.pid ?? 0;
  const cpuMs = cpuOf(pid);
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  // Kubelets here write only Leases; agents sign their node's condition once a minute.
  const heartbeats = ["leases", "nodes/status"];
  const writes = count().filter(({ user, verb, resource }) =>
    (user.startsWith("k3slb") || user.startsWith("system:node:")) && WRITE_VERBS.includes(verb) &&
    !heartbeats.includes(resource)
  );
  const detail = writes.map(({ user, verb, resource, count }) => `${user} ${verb} ${resource}: ${count}`).join("; ");
  const perSecond = (cpuOf(pid) - cpuMs) / seconds;
  const work = judged(
    {
      what: `server: processor time per idle second, over ${seconds} s`,
      value: duration(perSecond),
      detail: "",
      count: 1,
    },
    perSecond,
    { value: 1, direction: "at most", unit: "ms" },
  );
  const written = judged(
    { what: `writes in ${seconds} idle seconds`, value: String(sum(writes)), detail, count: 1 },
    sum(writes),
    {
      value: 0,
      direction: "at most",
      unit: "",
    },
  );
  return [written, work];
}
