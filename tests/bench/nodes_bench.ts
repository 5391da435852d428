// Real nodes: how long until Services have their addresses and answer, what each costs a node in memory, and what the programs take while
// nothing happens. The same is measured with simulated kubelets in control_plane_bench.ts and idle_bench.ts.
import { readFileSync } from "node:fs";
import type { BenchContext } from "./bench_context.ts";
import { type BenchWorld, startBenchWorld } from "./bench_world.ts";
import { batchFigures } from "./control_plane_bench.ts";
import { idleFigures } from "./idle_bench.ts";
import type { Figure } from "./report.ts";

const NODES = 3;
const MANY = 20;
/** Time in milliseconds in which a node's programs come to rest after many pods. */
const REST_MS = 20_000;

/** Three nodes with default limits of controller-manager and scheduler, as in K3s. */
export async function benchNodes(context: BenchContext): Promise<void> {
  await using bench = await startBenchWorld({ profile: "default limits", nodes: NODES, agents: true, realNodes: true });
  context.print(`\ndefault limits, ${NODES} nodes: kubelet, containerd, kube-proxy, agents, all real`);
  const options = { nodes: NODES, agents: true, realNodes: true };
  const singles = await bench.createBatch({ count: 10, atOnce: false, answers: true });
  context.figures(batchFigures("1 Service (x 10)", singles, options));
  await bench.deleteAll(singles.names);

  const before = await memoryAtRest(bench);
  const many = await bench.createBatch({ count: MANY, atOnce: true, answers: true });
  context.figures(batchFigures(`${MANY} Services at once`, many, options));
  context.figures([memoryFigure(before, await memoryAtRest(bench))]);
  await bench.deleteAll(many.names.slice(1));

  context.figures(await idleFigures(bench.world, context.quick));
}

/** Bytes that each node's programs and containers hold; pages that several share are divided among them. */
async function memoryAtRest({ world }: BenchWorld): Promise<readonly number[]> {
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  return world.nodes.map((node) => node.processes().reduce((sum, pid) => sum + proportionalSize(pid), 0));
}

function proportionalSize(pid: number): number {
  try {
    const kilobytes = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0; // It has ended meanwhile.
  }
}

function memoryFigure(before: readonly number[], after: readonly number[]): Figure {
  const megabytes = after.map((bytes, i) => (bytes - (before[i] ?? 0)) / MANY / 1e6);
  const mean = megabytes.reduce((sum, one) => sum + one, 0) / megabytes.length;
  return {
    what: `memory of a node for each of ${MANY} Services`,
    value: `${mean.toFixed(1)} MB`,
    detail: `node by node ${megabytes.map((one) => one.toFixed(1)).join(", ")}; and one of the node's pods`,
    count: megabytes.length,
  };
}
