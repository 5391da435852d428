// The load balancer on a real control plane: how long until a Service has its addresses and answers, what it costs the API server, how fast
// changes show, what server and agents hold in memory.
import { get } from "node:http";
import type { RequestCount } from "../support/world_api.ts";
import { WRITE_VERBS } from "../support/control_plane_audit.ts";
import { waitUntil } from "../support/wait.ts";
import {
  type BatchResult,
  type BenchWorld,
  memoryOf,
  nowMs,
  type Profile,
  startBenchWorld,
  sum,
} from "./bench_world.ts";
import type { BenchContext } from "./bench_context.ts";
import { type Budget, duration, type Figure, judged, mebibytes } from "./report.ts";
import { cpuOf } from "./manifests_bench_world.ts";
import { median, percentile } from "./stats.ts";

const IDLE_SECONDS = 300;
const EVENT_DELAY_MS = 62_000;
const ENABLE_LABEL = "svccontroller.k3s.cattle.io/enablelb";

/** Three nodes with both kinds of limits, twenty nodes with limits lifted. */
export async function benchControlPlane(context: BenchContext): Promise<void> {
  await benchWithoutPods(context);
  await benchThreeNodes(context);
  if (context.quick) return;
  await benchBatches(context, { profile: "default limits", nodes: 3, burst: 50 });
  await benchBatches(context, { profile: "limits lifted", nodes: 20, burst: 50 });
}

/** Services one after the other and at once, on a control plane of their own. */
export async function benchBatches(
  context: BenchContext,
  { profile, nodes, burst }: { readonly profile: Profile; readonly nodes: number; readonly burst: number },
): Promise<void> {
  const agents = nodes <= 3;
  await using bench = await startBenchWorld({ profile, nodes, agents });
  const title = `${profile}, ${nodes} nodes`;
  const singles = await bench.createBatch({ count: 10, atOnce: false, answers: agents });
  const many = await bench.createBatch({ count: burst, atOnce: true, answers: false });
  context.print(`\n${title}: ${agents ? "real agents and packets" : "no agents, kubelets open the gates"}`);
  context.figures([
    ...batchFigures(`1 Service (x 10)`, singles, { nodes, agents }),
    ...batchFigures(`${burst} Services at once`, many, { nodes, agents }),
    serverMemory(bench, { services: burst + 10, nodes }),
  ]);
  printRequests(context, many.requests, burst);
}

/** The same without DaemonSets and pods. */
async function benchWithoutPods(context: BenchContext): Promise<void> {
  const nodes = 3;
  const serverArgs = ["--reserve-ports", "none"];
  await using bench = await startBenchWorld({ profile: "default limits", nodes, agents: true, serverArgs });
  context.print(`\ndefault limits, ${nodes} nodes, --reserve-ports none: real agents and packets`);
  for (const [count, atOnce] of [[10, false], [50, true], [300, true]] as const) {
    const cpuMs = cpuOf(bench.world.servers.at(-1)?.pid ?? 0);
    const batch = await bench.createBatch({ count, atOnce, answers: !atOnce });
    const spentMs = cpuOf(bench.world.servers.at(-1)?.pid ?? 0) - cpuMs;
    const what = `no pods, ${atOnce ? `${count} Services at once` : `1 Service (x ${count})`}`;
    context.figures([
      ...batchFigures(what, batch, { nodes, agents: true }),
      judged(
        {
          what: `${what}: requests of the whole cluster per Service`,
          value: (batch.clusterRequests / count).toFixed(2),
          count,
        },
        batch.clusterRequests / count,
        { value: 5, direction: "at most", unit: "" },
      ),
      { what: `${what}: processor time of the server per Service`, value: duration(spentMs / count), count },
    ]);
    printRequests(context, batch.requests, count);
  }
}

async function benchThreeNodes(context: BenchContext): Promise<void> {
  const nodes = 3;
  await using bench = await startBenchWorld({ profile: "limits lifted", nodes, agents: true });
  context.print(`\nlimits lifted, ${nodes} nodes: real agents and packets`);
  const singles = await bench.createBatch({ count: 10, atOnce: false, answers: true });
  const first = batchFigures("1 Service (x 10)", singles, { nodes, agents: true });
  const names = [...singles.names];
  context.figures([...first, serverMemory(bench, { services: 10, nodes })]);
  printRequests(context, singles.requests, 10);
  context.print("\n10 Services, from a change to each status");
  context.figures(await reactionFigures(bench, names, context.quick ? 1 : 5));
  if (context.quick) return;
  const fifty = await bench.createBatch({ count: 50, atOnce: true, answers: false });
  names.push(...fifty.names, ...(await bench.createBatch({ count: 40, atOnce: true, answers: false })).names);
  context.figures(batchFigures("50 Services at once", fifty, { nodes, agents: true }));
  context.figures([...await agentFigures(bench, names.length), ...await serverStart(bench)]);
  context.figures(await idleFigures(bench, IDLE_SECONDS));
  const gone = await bench.deleteAll(names);
  const large = await bench.createBatch({ count: 300, atOnce: true, answers: false });
  context.figures([
    timeFigure(`delete to gone, ${names.length} Services at once`, gone),
    ...batchFigures("300 Services at once", large, { nodes, agents: true }),
    serverMemory(bench, { services: 300, nodes }),
  ]);
  printRequests(context, large.requests, 300);
}

const STATUS_BUDGETS: Readonly<Record<string, Budget>> = {
  "1 Service (x 10)": { value: 250, direction: "at most", unit: "ms" },
  "300 Services at once": { value: 12_000, direction: "at most", unit: "ms, all" },
};

/** Times, failures and requests of a batch, with their budgets. */
export function batchFigures(
  what: string,
  batch: BatchResult,
  { nodes, agents, realNodes }: { readonly nodes: number; readonly agents: boolean; readonly realNodes?: boolean },
): readonly Figure[] {
  const count = batch.statusMs.length;
  const status = timeFigure(`${what}: created to addresses in the status`, batch.statusMs);
  const budget = nodes === 3 ? (realNodes ? REAL_STATUS_BUDGETS : STATUS_BUDGETS)[what] : undefined;
  const worst = what.includes("at once") ? Math.max(...batch.statusMs) : median(batch.statusMs);
  const perService = sum(batch.requests) / count;
  const requests: Figure = { what: `${what}: requests by the server per Service`, value: perService.toFixed(2), count };
  return [
    budget ? judged(status, worst, budget) : status,
    ...(batch.answerMs.length > 0 ? [timeFigure(`${what}: created to the first answer`, batch.answerMs)] : []),
    ...(agents
      ? [judged(
        {
          what: `${what}: connections that failed once the status was there`,
          value: String(batch.failedAtOnce),
          count,
        },
        batch.failedAtOnce,
        { value: 0, direction: "at most", unit: "" },
      )]
      : []),
    judged(requests, perService, { value: nodes > 3 ? 5 : 4, direction: "at most", unit: "" }),
  ];
}

const REAL_STATUS_BUDGETS: Readonly<Record<string, Budget>> = {
  "1 Service (x 10)": { value: 500, direction: "at most", unit: "ms" },
};

function timeFigure(what: string, times: readonly number[]): Figure {
  const detail = `p95 ${duration(percentile(times, 0.95))}, max ${duration(Math.max(...times))}`;
  return { what, value: duration(median(times)), detail, count: times.length };
}

function serverMemory(bench: BenchWorld, { services, nodes }: { services: number; nodes: number }): Figure {
  const { now, peak } = memoryOf(bench.world.servers.at(-1)?.pid ?? 0);
  const figure: Figure = {
    what: `server memory, ${services} Services x ${nodes} nodes: peak`,
    value: mebibytes(peak),
    detail: `now ${mebibytes(now)}`,
    count: 1,
  };
  return judged(figure, peak / 2 ** 20, { value: nodes > 3 ? 130 : 85, direction: "at most", unit: "MiB" });
}

/** What the server asks for, per Service: the part to look at when the sum is too high. */
export function printRequests(context: BenchContext, requests: readonly RequestCount[], services: number): void {
  const rows = [...requests].sort((a, b) => b.count - a.count).map(({ verb, resource, count }) => [
    `${verb} ${resource}`,
    String(count),
    (count / services).toFixed(2),
  ]);
  context.table(["request by the server", "count", "per Service"], rows);
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
  }[] = [
    { what: "first enablelb label: only that node", change: () => one.label(label("true")), ips: [one.ip4] },
    { what: "enablelb on a second node", change: () => two.label(label("true")), ips: [one.ip4, two.ip4] },
    { what: "enablelb off the second node", change: () => two.label(label(null)), ips: [one.ip4] },
    { what: "last enablelb label off: all nodes", change: () => one.label(label(null)) },
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
  const budget: Budget = { value: 300, direction: "at most", unit: "ms" };
  return [...times].map(([what, found]) => judged(timeFigure(what, found), median(found), budget));
}

/** Writes, and the server's work, in a while in which nothing happens, when the last change has been told. */
async function idleFigures(bench: BenchWorld, seconds: number): Promise<readonly Figure[]> {
  // Counts of repeated Events are written up to a minute late.
  await new Promise((resolve) => setTimeout(resolve, EVENT_DELAY_MS));
  const count = bench.world.api.countRequests();
  const pid = bench.world.servers[0]?.pid ?? 0;
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
