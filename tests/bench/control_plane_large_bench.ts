// What takes minutes, most of them spent in the cluster's own controllers: many Services on 20 nodes, where pods decide.
import type { BenchContext } from "./bench_context.ts";
import { benchBatches } from "./control_plane_bench.ts";

/** Large batches. */
export async function benchLargeControlPlane(context: BenchContext): Promise<void> {
  await benchBatches(context, { profile: "default limits", nodes: 20, bursts: [50] });
  await benchBatches(context, { profile: "limits lifted", nodes: 20, bursts: [300] });
}
