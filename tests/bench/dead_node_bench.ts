// A node that loses its network: how long its address stays in the status, how long new connections through the living nodes fail, and what
// clients lose whose system sends a SYN again, as all do. Simulated nodes, real agents, server and packets.
import { pullCable } from "../support/network_faults.ts";
import { waitUntil } from "../support/wait.ts";
import { startWorld, type World } from "../support/world.ts";
import type { TestNamespace } from "../support/world_objects.ts";
import type { BenchContext } from "./bench_context.ts";
import { duration, type Figure, judged } from "./report.ts";
import { median } from "./stats.ts";

/** Between two new connections to each node. */
const STEP_MS = 50;
/** Shorter than the time after which a SYN is sent again. */
const IMPATIENT_MS = 900;
const PATIENT_MS = 10_000;
/** After the address has gone. */
const MORE_MS = 3_000;

interface Run {
  readonly statusMs: number;
  /** From the cut to the beginning of the last connection that had no answer to its first SYN; 0: all had. */
  readonly lastLateMs: number;
  readonly late: number;
  readonly lost: number;
  readonly tried: number;
}

/** Three nodes with an endpoint each; one is cut off, others are asked for new connections all the time. */
export async function benchDeadNode(context: BenchContext): Promise<void> {
  const world = await startWorld({ server: "memory", nodes: 3 });
  try {
    const ns = await world.namespace("dead");
    await ns.createApp({ name: "web", nodes: world.nodes.map(({ name }) => name) });
    const port = world.port();
    await ns.createService({ name: "web", ports: [port] });
    const runs: Run[] = [];
    for (let i = 0; i < (context.quick ? 3 : 10); i++) runs.push(await cutOnce(world, ns, port));
    const of = (pick: (run: Run) => number): readonly number[] => runs.map(pick);
    const spread = (values: readonly number[]): string =>
      `${duration(Math.min(...values))} to ${duration(Math.max(...values))}`;
    const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
    const [status, late] = [of((run) => run.statusMs), of((run) => run.lastLateMs)];
    const figures: Figure[] = [
      judged(
        {
          what: "its address leaves the status",
          value: duration(median(status)),
          detail: spread(status),
          count: runs.length,
        },
        Math.max(...status) / 1000,
        { value: 6, direction: "at most", unit: "s, all" },
      ),
      judged(
        {
          what: "the last new connection through living nodes whose first SYN is not answered, begun after the cut",
          value: duration(median(late)),
          detail: `${spread(late)}; ${total(of((run) => run.late))} of ${total(of((run) => run.tried))} are so`,
          count: runs.length,
        },
        Math.max(...late) / 1000,
        { value: 3, direction: "at most", unit: "s, all" },
      ),
      judged(
        {
          what: "of them lost by a client whose SYN is sent again",
          value: String(total(of((run) => run.lost))),
          count: runs.length,
        },
        total(of((run) => run.lost)),
        { value: 0, direction: "at most", unit: "" },
      ),
    ];
    context.figures(figures);
  } finally {
    await world.stop();
  }
}

async function cutOnce(world: World, ns: TestNamespace, port: number): Promise<Run> {
  await ns.waitForIngress("web", world.nodeIps);
  const [living, dying] = [world.nodes.slice(0, 2), world.nodes[2]];
  if (dying === undefined) throw new TypeError("The world has two nodes only");
  const requests = living.map(({ ip4 }) => ({ protocol: "tcp", ip: ip4, port }) as const);
  await waitUntil("all pods to be used by all nodes", async () => {
    const counts = await Promise.all(requests.map((request) => world.client.ns.requestMany(request, 40)));
    return counts.every((one) => Object.keys(one).length === 3);
  }, { deadlineMs: 60_000 });
  // Whoever asks must have been answered once; the cut is anywhere between two asks of the server.
  await pause(3000 + Math.random() * 2500);
  const patient = await world.client.ns.startFlow(
    requests.map((each) => ({ ...each, timeoutMs: PATIENT_MS })),
    STEP_MS,
  );
  const plugIn = await pullCable(world.topology.lan, dying);
  const cutMs = performance.now();
  let statusMs: number | undefined;
  const left = ns.waitForIngress("web", living.map(({ ip4 }) => ip4), 90_000).then(() => {
    statusMs = performance.now() - cutMs;
  });
  const late: number[] = [];
  const under = new Set<Promise<void>>();
  let tried = 0;
  for (let endMs = Infinity; performance.now() < endMs;) {
    for (const request of requests) {
      const begunMs = performance.now() - cutMs;
      tried++;
      const one = world.client.ns.request({ ...request, timeoutMs: IMPATIENT_MS }).then(({ outcome }) => {
        if (outcome !== "answer") late.push(begunMs);
        under.delete(one);
      });
      under.add(one);
    }
    await pause(STEP_MS);
    if (statusMs !== undefined && endMs === Infinity) endMs = performance.now() + MORE_MS;
  }
  await Promise.all([left, ...under]);
  const counts = await patient.stop();
  await plugIn();
  const lost = counts.flatMap((one) => Object.entries(one)).filter(([outcome]) => outcome !== "answer")
    .reduce((sum, [, count]) => sum + count, 0);
  return { statusMs: statusMs ?? NaN, lastLateMs: Math.max(0, ...late), late: late.length, lost, tried };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
