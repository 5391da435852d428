// The manifests folder on a real control plane: how long from a saved file to the changed object, what 500 files cost at a first start and
// at a later one, what the server holds in memory meanwhile. The binary is the server; times of objects are those at which a watch saw them.
import { WRITE_VERBS } from "../support/control_plane_audit.ts";
import type { RequestCount } from "../support/world_api.ts";
import type { BenchContext } from "./bench_context.ts";
import { sum } from "./bench_world.ts";
import { startManifestsBench, type StartResult } from "./manifests_bench_world.ts";
import { duration, type Figure, judged, mebibytes } from "./report.ts";
import { median, percentile } from "./stats.ts";

const FILES = 500;
/** K3s looks at its folder this often (its pkg/deploy). */
const POLL_MS = 15_000;
const POLL_STEPS = 1_500;
/** More than the time between two looks at the folder without a hint of a change. */
const IDLE_SECONDS = 20;

/** One file and many files in the folder, a start with new files, a start with known ones. */
export async function benchManifests(context: BenchContext): Promise<void> {
  await using bench = await startManifestsBench();
  const saves = context.quick ? 16 : 60;
  const files = context.quick ? 100 : FILES;
  const known = `${files} known files`;

  await bench.start();
  bench.write("probe", "first");
  await bench.waitFor("probe", "first");
  const alone = await bench.timeSaves("probe", saves);
  await bench.stop();

  const names = Array.from({ length: files }, (_, i) => `file${i}`);
  for (const name of names) bench.write(name, "first");
  const first = await bench.timeStart(() => bench.waitForAll(names, "first"), files + 1);
  const among = await bench.timeSaves("file0", saves);
  const idle = context.quick ? [] : [idleFigure(await bench.timeIdle(IDLE_SECONDS), files + 1)];
  await bench.stop();

  const before = await bench.versions();
  const again = await bench.timeStart(() => Promise.resolve(), files + 1);
  const after = await bench.versions();
  const changed = [...after].filter(([key, version]) => before.get(key) !== version).length;
  const events = sum(
    again.requests.filter(({ verb, resource }) => resource === "events" && WRITE_VERBS.includes(verb)),
  );

  context.print("\nsaved to applied: from the write of a file until a watch has its change");
  context.figures([
    ...saveFigures("1 file in the folder", alone),
    ...saveFigures(`${files + 1} files in the folder`, among),
    ...idle,
  ]);
  context.print(`\n${files} files of 2 objects each (ConfigMap, ServiceAccount)`);
  context.figures([
    {
      what: `start with ${files} new files: start of the program to the last object`,
      value: duration(first.objectsMs),
      detail: startDetail(first),
      count: 1,
    },
    { what: "requests per new file", value: (sum(first.requests) / files).toFixed(1), count: files },
    memoryFigure(`server memory, ${files} new files: peak`, first.memory),
    {
      what: `start with ${known}: start of the program to the last file`,
      value: duration(again.recordsMs),
      detail: startDetail(again),
      count: 1,
    },
    { what: "requests per known file", value: (sum(again.requests) / files).toFixed(1), count: files },
    judged(
      {
        what: `start with ${known}: writes`,
        value: String(changed + events),
        detail: `${changed} of ${after.size} objects changed, ${events} Events`,
        count: 1,
      },
      changed + events,
      { value: 0, direction: "at most", unit: "" },
    ),
    memoryFigure(`server memory, ${known}: peak`, again.memory),
  ]);
  printRequests(context, { first: first.requests, again: again.requests, files });
}

/** Measured, and what a poll would make of it. */
function saveFigures(where: string, times: readonly number[]): readonly Figure[] {
  const steps = Array.from({ length: POLL_STEPS }, (_, i) => (i + 0.5) * POLL_MS / POLL_STEPS);
  const polled = steps.flatMap((waitMs) => times.map((time) => waitMs + time));
  return [
    judged(timeFigure(`saved to applied, ${where}`, times), median(times), {
      value: 300,
      direction: "at most",
      unit: "ms",
    }),
    { ...timeFigure(`computed, not measured: the same after a poll every 15 s`, polled), count: times.length },
  ];
}

function timeFigure(what: string, times: readonly number[]): Figure {
  const detail = `p99 ${duration(percentile(times, 0.99))}, max ${duration(Math.max(...times))}`;
  return { what, value: duration(median(times)), detail, count: times.length };
}

function idleFigure({ requests, cpuMs }: { readonly requests: number; readonly cpuMs: number }, files: number): Figure {
  const figure: Figure = {
    what: `requests in ${IDLE_SECONDS} idle seconds, ${files} files in the folder`,
    value: String(requests),
    detail: `processor time ${duration(cpuMs)}`,
    count: 1,
  };
  return judged(figure, requests, { value: 0, direction: "at most", unit: "" });
}

function startDetail({ firstMs, recordsMs, cpuMs }: StartResult): string {
  return `first file done after ${duration(firstMs)}, last after ${duration(recordsMs)}; processor ${duration(cpuMs)}`;
}

function memoryFigure(what: string, { now, peak }: { readonly now: number; readonly peak: number }): Figure {
  return { what, value: mebibytes(peak), detail: `afterwards ${mebibytes(now)}`, count: 1 };
}

function printRequests(
  context: BenchContext,
  { first, again, files }: { first: readonly RequestCount[]; again: readonly RequestCount[]; files: number },
): void {
  const keyOf = ({ verb, resource }: RequestCount): string => `${verb} ${resource}`;
  const countOf = (requests: readonly RequestCount[], key: string): number =>
    sum(requests.filter((one) => keyOf(one) === key));
  const keys = [...new Set([...first, ...again].map(keyOf))]
    .sort((a, b) => countOf(first, b) - countOf(first, a) || countOf(again, b) - countOf(again, a));
  const rows = keys.map((key) => [
    key,
    ...[first, again].flatMap((requests) => [
      String(countOf(requests, key)),
      (countOf(requests, key) / files).toFixed(2),
    ]),
  ]);
  context.table(["request by the server", "new files", "per file", "known files", "per file"], rows);
}
