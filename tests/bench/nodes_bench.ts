// Real nodes: how long until Services have their addresses and answer, what each costs a node in memory, and what the programs take while
// nothing happens. The same is measured with simulated kubelets in control_plane_bench.ts and idle_bench.ts.
import { batchFigures, type BatchSetting, printRequests } from "./batch_figures.ts";
import type { BenchContext } from "./bench_context.ts";
import { type BenchWorld, startBenchWorld } from "./bench_world.ts";
import { idleFigures } from "./idle_bench.ts";
import { memoryOf, sharesOf } from "./process_cost.ts";
import { type Figure, judged, mebibytes } from "./report.ts";

const NODES = 3;
const MANY = 20;
/** More than a node can have pods. */
const MOST = 500;
/** Time in milliseconds in which a node's programs come to rest after many pods. */
const REST_MS = 20_000;

/** Default limits of controller-manager and scheduler, as in K3s. */
export async function benchNodes(context: BenchContext): Promise<void> {
  await benchManyOnOne(context);
  await benchThree(context);
}

async function benchThree(context: BenchContext): Promise<void> {
  const setting: BatchSetting = { profile: "default limits", nodes: NODES, agents: true };
  await using bench = await startBenchWorld({ ...setting, realNodes: true });
  context.print(`\n${setting.profile}, ${NODES} nodes: kubelet, containerd, kube-proxy, agents, all real`);
  const singles = await bench.createBatch({ count: 10, atOnce: false, answers: true });
  context.figures(batchFigures(singles, setting));
  printRequests(context, "the server", singles);
  await bench.deleteAll(singles.names);

  const before = await memoryAtRest(bench);
  const many = await bench.createBatch({ count: MANY, atOnce: true, answers: true });
  context.figures(batchFigures(many, setting));
  printRequests(context, "the server", many);
  context.figures([memoryFigure(before, await memoryAtRest(bench))]);
  await bench.deleteAll(many.names.slice(1));

  context.figures(await idleFigures(bench.world, context.quick));
}

/** Without pods, on one node. */
async function benchManyOnOne(context: BenchContext): Promise<void> {
  const setting: BatchSetting = { profile: "default limits", nodes: 1, agents: true, withoutPods: true };
  const serverArgs = ["--reserve-ports", "none"];
  await using bench = await startBenchWorld({ ...setting, realNodes: true, serverArgs });
  context.print(
    `\n${setting.profile}, one node, --reserve-ports none: kubelet, containerd, kube-proxy, agent, all real`,
  );
  const before = await memoryAtRest(bench);
  const many = await bench.createBatch({ count: context.quick ? MOST / 5 : MOST, atOnce: true, answers: false });
  const after = await memoryAtRest(bench);
  const { now, peak } = memoryOf(bench.world.nodes[0]?.agent?.pid ?? 0);
  const agent: Figure = {
    what: `agent memory, ${many.count} Services`,
    value: mebibytes(now),
    detail: `peak ${mebibytes(peak)}`,
    count: 1,
  };
  const added = [...after[0] ?? []].map(([name, bytes]) => ({
    name,
    kilobytes: (bytes - (before[0]?.get(name) ?? 0)) / many.count / 1e3,
  })).sort((a, b) => b.kilobytes - a.kilobytes);
  const total = added.reduce((sum, { kilobytes }) => sum + kilobytes, 0);
  const node: Figure = {
    what: `memory of the node for each of ${many.count} Services`,
    value: `${total.toFixed(1)} kB`,
    detail: added.slice(0, 4).map(({ name, kilobytes }) => `${name} ${kilobytes.toFixed(1)}`).join(", "),
    count: 1,
  };
  context.figures([
    ...batchFigures(many, setting),
    judged(agent, now / 2 ** 20, { value: 75, direction: "at most", unit: "MiB" }),
    judged(node, total, { value: 60, direction: "at most", unit: "kB" }),
  ]);
  printRequests(context, "the whole cluster", many);
}

/** Bytes that each node's programs and containers hold, by program. */
async function memoryAtRest({ world }: BenchWorld): Promise<readonly ReadonlyMap<string, number>[]> {
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  return world.nodes.map((node) => sharesOf(node.processes()));
}

function memoryFigure(
  before: readonly ReadonlyMap<string, number>[],
  after: readonly ReadonlyMap<string, number>[],
): Figure {
  const total = (shares: ReadonlyMap<string, number> = new Map()): number =>
    [...shares.values()].reduce((sum, bytes) => sum + bytes, 0);
  const megabytes = after.map((shares, i) => (total(shares) - total(before[i])) / MANY / 1e6);
  const mean = megabytes.reduce((sum, one) => sum + one, 0) / megabytes.length;
  return {
    what: `memory of a node for each of ${MANY} Services`,
    value: `${mean.toFixed(1)} MB`,
    detail: `node by node ${megabytes.map((one) => one.toFixed(1)).join(", ")}; and one of the node's pods`,
    count: megabytes.length,
  };
}
