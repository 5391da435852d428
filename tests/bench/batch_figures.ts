// What a batch of Services took, beside the budgets that were set for it.
import type { BenchContext } from "./bench_context.ts";
import { type BatchResult, type BenchWorld, type Profile, sum } from "./bench_world.ts";
import { memoryOf } from "./process_cost.ts";
import { type Budget, duration, type Figure, judged, mebibytes } from "./report.ts";
import { median, percentile } from "./stats.ts";

/** Where it was made. */
export interface BatchSetting {
  readonly profile: Profile;
  readonly nodes: number;
  readonly agents: boolean;
  /** No DaemonSets: `--reserve-ports none`. */
  readonly withoutPods?: boolean;
}

/** Times, failures, requests and the server's work. */
export function batchFigures(batch: BatchResult, setting: BatchSetting): readonly Figure[] {
  const { count, atOnce, statusMs, answerMs } = batch;
  const what = batchName(batch, setting);
  const status = timeFigure(`${what}: created to addresses in the status`, statusMs);
  const answer = timeFigure(`${what}: created to the first answer`, answerMs);
  const { statusMs: statusBudget, answerMs: answerBudget } = timeBudgets(batch, setting);
  const unit = atOnce ? "ms, all" : "ms";
  const judgedTime = (figure: Figure, times: readonly number[], value: number | undefined): Figure =>
    value === undefined
      ? figure
      : judged(figure, atOnce ? Math.max(...times) : median(times), { value, direction: "at most", unit });
  return [
    judgedTime(status, statusMs, statusBudget),
    ...(answerMs.length > 0 ? [judgedTime(answer, answerMs, answerBudget)] : []),
    ...(setting.agents
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
    ...costFigures(what, batch, setting),
  ];
}

function costFigures(what: string, batch: BatchResult, setting: BatchSetting): readonly Figure[] {
  const { count } = batch;
  const perService = (value: number): string => (value / count).toFixed(2);
  const own = sum(batch.requests);
  const all = sum(batch.clusterRequests);
  const requests: Figure = { what: `${what}: requests by the server per Service`, value: perService(own), count };
  const figures: Figure[] = [
    judged(requests, own / count, { value: setting.nodes > 3 ? 5 : 4, direction: "at most", unit: "" }),
  ];
  const cluster: Figure = { what: `${what}: requests of the whole cluster per Service`, value: perService(all), count };
  if (setting.withoutPods) figures.push(judged(cluster, all / count, { value: 5, direction: "at most", unit: "" }));
  if (setting.nodes !== 3) return figures;
  const work: Figure = {
    what: `${what}: processor time of the server per Service`,
    value: duration(batch.serverMs / count),
    count,
  };
  return [...figures, judged(work, batch.serverMs / count, { value: 25, direction: "at most", unit: "ms" })];
}

function batchName({ count, atOnce }: BatchResult, { withoutPods }: BatchSetting): string {
  return `${withoutPods ? "no pods, " : ""}${atOnce ? `${count} Services at once` : `1 Service (x ${count})`}`;
}

/** Of one Service the median is judged, of many at once the slowest. */
function timeBudgets(
  { count, atOnce }: BatchResult,
  { profile, nodes, withoutPods }: BatchSetting,
): { readonly statusMs?: number; readonly answerMs?: number } {
  if (nodes !== 3) return {};
  if (!atOnce) return { statusMs: 200, answerMs: 150 };
  if (count <= 50) return { statusMs: 2_000 };
  return profile === "default limits" ? {} : { statusMs: withoutPods ? 3_000 : 5_000 };
}

/** Median, 95th percentile and the longest. */
export function timeFigure(what: string, times: readonly number[]): Figure {
  const detail = `p95 ${duration(percentile(times, 0.95))}, max ${duration(Math.max(...times))}`;
  return { what, value: duration(median(times)), detail, count: times.length };
}

/** The most that the server has held. */
export function serverMemory(bench: BenchWorld, { services, nodes }: { services: number; nodes: number }): Figure {
  const { now, peak } = memoryOf(bench.world.servers.at(-1)?.pid ?? 0);
  const figure: Figure = {
    what: `server memory, ${services} Services x ${nodes} nodes: peak`,
    value: mebibytes(peak),
    detail: `now ${mebibytes(now)}`,
    count: 1,
  };
  const budget: Budget = { value: nodes > 3 ? 130 : 85, direction: "at most", unit: "MiB" };
  return judged(figure, peak / 2 ** 20, budget);
}

/** Who asks for what, per Service: the part to look at when the sum is too high. */
export function printRequests(
  context: BenchContext,
  by: "the server" | "the whole cluster",
  { requests, clusterRequests, count }: BatchResult,
): void {
  const counts = new Map<string, number>();
  for (const { user, verb, resource, count } of by === "the server" ? requests : clusterRequests) {
    const key = by === "the server" ? `${verb} ${resource}` : `${roleOf(user)}: ${verb} ${resource}`;
    counts.set(key, (counts.get(key) ?? 0) + count);
  }
  const rows = [...counts].sort(([, a], [, b]) => b - a).map(([what, found]) => [
    what,
    String(found),
    (found / count).toFixed(2),
  ]);
  context.table([`request by ${by}`, "count", "per Service"], rows);
}

/** Nodes are one, kubelet and agent; controllers go by their own names. */
function roleOf(user: string): string {
  if (user.startsWith("system:node:")) return "nodes";
  return user.replace(/^system:(?:serviceaccount:kube-system:)?/, "");
}
