// The binary itself: how large it is and how long it takes to start.
import { statSync } from "node:fs";
import { execHere } from "../support/netns.ts";
import type { BenchContext } from "./bench_context.ts";
import { duration, type Figure, judged } from "./report.ts";
import { median } from "./stats.ts";

/** Size, packed size, time of `k3slb version`. */
export async function benchProgram(context: BenchContext): Promise<void> {
  const figures: Figure[] = [];
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
  const { size } = statSync(context.program);
  const limit = (value: number) => ({ value, direction: "at most", unit: "MB" }) as const;
  figures.push(judged({ what: "binary", value: megabytes(size), count: 1 }, size / 1e6, limit(115)));
  if (!context.quick) {
    const packed = await execHere("sh", ["-c", 'xz -T0 -6 -c "$1" | wc -c', "sh", context.program]);
    const bytes = Number(packed.stdout);
    figures.push(judged({ what: "binary, xz", value: megabytes(bytes), count: 1 }, bytes / 1e6, limit(45)));
  }
  const times: number[] = [];
  for (let i = 0; i < (context.quick ? 5 : 20); i++) {
    const startMs = performance.now();
    await execHere(context.program, ["version"]);
    times.push(performance.now() - startMs);
  }
  const detail = `${duration(Math.min(...times))} to ${duration(Math.max(...times))}`;
  figures.push({ what: "`k3slb version`, start to end", value: duration(median(times)), detail, count: times.length });
  context.figures(figures);
}
