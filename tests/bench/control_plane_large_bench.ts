// What takes minutes, most of them spent in the cluster's own controllers: 300 Services with their default limits, and on 20 nodes.
import type { BenchContext } from "./bench_context.ts";
import { benchBatches } from "./control_plane_bench.ts";

/** Large batches. */
export async function benchLargeControlPlane(context: BenchContext): Promise<void> {
  await benchBatches(context, { profile: "default limits", nodes: 3, burst: 300 });
  await benchBatches(context, { profile: "default limits", nodes: 20, burst: 50 });
  await benchBatches(context, { profile: "limits lifted", nodes: 20, burst: 300 });
}
