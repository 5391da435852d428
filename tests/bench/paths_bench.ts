// Packets through the four paths. Slices of the paths alternate in random order, and ratios are between slices of one cycle: what else
// the machine does hits all of them alike. One flow at a time on one processor shows what a path costs; 32 flows show what it carries.
import type { Netns } from "../support/netns.ts";
import type { BenchContext } from "./bench_context.ts";
import {
  createForwardingPaths,
  type EndpointPlace,
  type ForwardingPaths,
  type PathName,
  PATHS,
} from "./forwarding_paths.ts";
import type { LoadKind, LoadResult } from "./load_peer.ts";
import { pinProcesses } from "./load_peer_client.ts";
import { type Figure, judged, short } from "./report.ts";
import { median, pairedRatio, shuffled } from "./stats.ts";

/** One kind of load. */
interface Measure {
  readonly name: string;
  readonly run: (paths: ForwardingPaths, path: PathName, place: EndpointPlace) => Promise<LoadResult>;
}

/** What the slices of one measure found. */
interface Series {
  readonly measure: string;
  readonly place: EndpointPlace;
  readonly results: Readonly<Record<PathName, readonly LoadResult[]>>;
}

const PLACES: readonly EndpointPlace[] = ["local", "remote"];

/** Budgets for a local endpoint: others' path → the least ratio of operations per second. */
const LEAST_RATIOS: readonly { readonly of: PathName; readonly value: number }[] = [
  { of: "direct", value: 0.92 },
  { of: "ServiceLB", value: 1.4 },
  { of: "kube-proxy", value: 0.97 },
];

const ONE_FLOW: readonly Measure[] = [
  own("HTTP request, connection kept", "keep-alive"),
  own("HTTP request, new connection", "connect"),
  own("UDP round trip, old flow", "udp"),
  own("UDP round trip, new flow", "udp-new"),
];

const MANY_FLOWS: readonly Measure[] = [
  { name: "HTTP requests/s (wrk)", run: wrk },
  own("new TCP connections/s", "connect", 32),
  own("UDP round trips/s", "udp", 32),
];

/** Cost per operation, throughput, connection tracking entries, and connections while endpoints change. */
export async function benchPaths(context: BenchContext): Promise<void> {
  await using paths = await createForwardingPaths();
  const cycles = context.quick ? 3 : 10;
  const pids = [paths.client.pid, ...paths.serverPids];
  await measure(paths, ONE_FLOW, 1);
  await pinProcesses(pids, 0);
  const single = await measure(paths, ONE_FLOW, cycles);
  await pinProcesses(pids, "all");
  const many = await measure(paths, MANY_FLOWS, context.quick ? 2 : 7);

  context.print(
    "\nOne flow at a time, client, path and endpoint on one processor: microseconds per operation (ratio to direct)",
  );
  printSeries(context, single, ({ p50us }) => p50us);
  context.print("\n32 flows on all processors: operations per second (ratio to direct)");
  printSeries(context, many, ({ perSecond }) => perSecond);
  context.print("\n32 flows: 99th percentile in microseconds (ratio to direct)");
  printSeries(context, many, ({ p99us }) => p99us);
  context.print("\nBudgets: ratios of operations per second, local endpoint");
  context.figures([
    ...single.flatMap((series) => ratioFigures(series, "one flow", ({ p50us }) => 1 / p50us)),
    ...many.flatMap((series) => ratioFigures(series, "32 flows", ({ perSecond }) => perSecond)),
  ]);
  const failed = [...single, ...many].flatMap(({ results }) => PATHS.flatMap((path) => results[path]))
    .reduce((sum, result) => sum + result.failed, 0);
  await benchTracking(context, paths);
  await benchSwaps(context, { paths, failedBefore: failed });
}

async function measure(
  paths: ForwardingPaths,
  measures: readonly Measure[],
  cycles: number,
): Promise<readonly Series[]> {
  const series = measures.flatMap(({ name, run }) =>
    PLACES.map((place) => ({ measure: name, place, run, results: emptyResults() }))
  );
  for (let cycle = 0; cycle < cycles; cycle++) {
    for (const { place, run, results } of series) {
      for (const path of shuffled(PATHS, Math.random)) results[path].push(await run(paths, path, place));
    }
  }
  return series;
}

function emptyResults(): Record<PathName, LoadResult[]> {
  return { direct: [], k3slb: [], "kube-proxy": [], ServiceLB: [] };
}

function own(name: string, kind: LoadKind, flows = 1): Measure {
  return {
    name,
    run: (paths, path, place) =>
      paths.client.load({ kind, target: paths.target(path, place), durationMs: flows === 1 ? 250 : 500, flows }),
  };
}

async function wrk(paths: ForwardingPaths, path: PathName, place: EndpointPlace): Promise<LoadResult> {
  const { ip, port } = paths.target(path, place);
  const text = await paths.clientHost.ns.run("wrk", ["-t1", "-c32", "-d1s", "--latency", `http://${ip}:${port}/`]);
  const number = (regexp: RegExp): number => Number(regexp.exec(text)?.[1] ?? NaN);
  const [, value = "", unit = "us"] = /99%\s+([\d.]+)(us|ms|s)/.exec(text) ?? [];
  const refused = number(/connect (\d+)/) || 0;
  const timeouts = number(/timeout (\d+)/) || 0;
  return {
    perSecond: number(/Requests\/sec:\s+([\d.]+)/),
    p50us: NaN,
    p99us: Number(value) * { us: 1, ms: 1e3, s: 1e6 }[unit as "us" | "ms" | "s"],
    count: number(/(\d+) requests in/),
    failed: refused + timeouts,
  };
}

function printSeries(
  context: BenchContext,
  series: readonly Series[],
  value: (result: LoadResult) => number,
): void {
  context.table(
    ["what", "endpoint", "n", ...PATHS],
    series.map(({ measure, place, results }) => {
      const direct = results.direct.map(value);
      return [
        measure,
        place,
        String(direct.length),
        ...PATHS.map((path) => {
          const values = results[path].map(value);
          return `${short(median(values))} (${pairedRatio(values, direct).toFixed(2)})`;
        }),
      ];
    }),
  );
}

function ratioFigures(
  { measure, place, results }: Series,
  flows: string,
  rate: (result: LoadResult) => number,
): readonly Figure[] {
  if (place !== "local") return [];
  return LEAST_RATIOS.map(({ of, value }) => {
    const ratio = pairedRatio(results.k3slb.map(rate), results[of].map(rate));
    return judged(
      { what: `${measure}: k3slb / ${of}`, value: ratio.toFixed(2), detail: flows, count: results.k3slb.length },
      Number(ratio.toFixed(2)),
      { value, direction: "at least", unit: "" },
    );
  });
}

async function benchTracking(context: BenchContext, paths: ForwardingPaths): Promise<void> {
  context.print("\nConnection tracking entries for one TCP connection");
  const rows: string[][] = [];
  let ours = NaN;
  for (const place of PLACES) {
    for (const path of PATHS) {
      const trackers = Object.entries(paths.trackers(path)).filter(([where]) =>
        place === "remote" || where !== "endpoint's node"
      );
      const counts: { where: string; count: number }[] = [];
      for (const [where, ns] of trackers) counts.push({ where, count: await entriesIn(ns, { paths, path, place }) });
      const onNode = counts.filter(({ where }) => where !== "endpoint's node").reduce((sum, one) => sum + one.count, 0);
      if (path === "k3slb" && place === "local") ours = onNode;
      rows.push([
        path,
        place,
        ...["node", "balancer pod", "endpoint's node"].map((where) =>
          String(counts.find((one) => one.where === where)?.count ?? "-")
        ),
      ]);
    }
  }
  context.table(["path", "endpoint", "node", "balancer pod", "endpoint's node"], rows);
  context.figures([
    judged({ what: "entries per connection on the node, k3slb", value: String(ours), count: 1 }, ours, {
      value: 1,
      direction: "at most",
      unit: "",
    }),
  ]);
}

/** Fewest of three: what is on its way from before counts once at most. */
async function entriesIn(
  ns: Netns | undefined,
  { paths, path, place }: { paths: ForwardingPaths; path: PathName; place: EndpointPlace },
): Promise<number> {
  const counts: number[] = [];
  for (let i = 0; ns !== undefined && i < 3; i++) {
    await ns.run("conntrack", ["-F"]);
    await paths.client.load({ kind: "keep-alive", target: paths.target(path, place), durationMs: 5 });
    counts.push(Number(await ns.run("conntrack", ["-C"])));
  }
  return ns === undefined ? 0 : Math.min(...counts);
}

/** Endpoints swap between a local and a remote pod while connections are made as fast as one client can. */
async function benchSwaps(
  context: BenchContext,
  { paths, failedBefore }: { readonly paths: ForwardingPaths; readonly failedBefore: number },
): Promise<void> {
  const { pods, dataplane } = paths;
  const swaps = 80;
  const plan = (i: number): Parameters<typeof dataplane.apply>[0] => {
    const local = i % 2 === 0 ? pods.remote : pods.local;
    return { podCidrs: ["10.42.2.0/24"], ports: paths.ports({ local: [local], remote: [pods.remote] }) };
  };
  const load = paths.client.load({ kind: "connect", target: paths.target("k3slb", "local"), durationMs: 5_000 });
  const startMs = performance.now();
  for (let i = 0; i < swaps; i++) await dataplane.apply(plan(i));
  const swapMs = performance.now() - startMs;
  const { count, failed, perSecond } = await load;
  const detail = `${count} connections, ${short(perSecond)}/s; ${swaps} swaps in ${(swapMs / 1000).toFixed(1)} s`;
  context.figures([
    judged({ what: "failed connections while endpoints swap", value: String(failed), detail, count: swaps }, failed, {
      value: 0,
      direction: "at most",
      unit: "",
    }),
    { what: "failed operations in all tables above", value: String(failedBefore), count: 1 },
  ]);
}
