// `deno task bench [NAME...] [--quick] [--write]`: measures and prints tables, each figure beside its budget. No assertion on time anywhere: a slow
// machine makes slow figures, not failures. Everything runs inside a private network world (../support/netns.ts).
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { execHere, isInWorld, worldCommand } from "../support/netns.ts";
import { ensureControlPlaneProgram } from "../support/control_plane_program.ts";
import { ensureTools } from "../support/prerequisites.ts";
import { benchAnswers } from "./answers_bench.ts";
import { benchControlPlane } from "./control_plane_bench.ts";
import { benchDeadNode } from "./dead_node_bench.ts";
import { benchIdle } from "./idle_bench.ts";
import { benchNodes } from "./nodes_bench.ts";
import { ensureNodeImages } from "../support/node_images.ts";
import { ensureNodePrograms } from "../support/node_machine.ts";
import { benchLargeControlPlane } from "./control_plane_large_bench.ts";
import { benchManifests } from "./manifests_bench.ts";
import { benchPaths } from "./paths_bench.ts";
import { benchPorts } from "./ports_bench.ts";
import { benchProgramming } from "./programming_bench.ts";
import { benchProgram } from "./program_bench.ts";
import { benchWatchdog } from "./watchdog_bench.ts";
import { benchWorstDay } from "./worst_day_bench.ts";
import { describeMachine } from "./machine.ts";
import { replaceFigures } from "./performance_page.ts";
import { renderFigures, renderTable } from "./report.ts";
import type { Bench, BenchContext } from "./bench_context.ts";

interface NamedBench {
  readonly name: string;
  readonly what: string;
  readonly run: Bench;
  /** Takes minutes: only when it is named. */
  readonly onlyByName?: true;
}

const NODES_BENCH = "nodes";
const WORST_DAY_BENCH = "worst-day";

const BENCHES: readonly NamedBench[] = [
  { name: "program", what: "Size and start of the binary", run: benchProgram },
  { name: "answers", what: "explain, ports and status on a large cluster", run: benchAnswers },
  { name: "paths", what: "Forwarding: direct, k3slb, kube-proxy's own rules, ServiceLB's path", run: benchPaths },
  { name: "ports", what: "A new connection to the last of N ports", run: benchPorts },
  { name: "programming", what: "Rules into the kernel", run: benchProgramming },
  { name: "control-plane", what: "Services on a real control plane", run: benchControlPlane },
  { name: "manifests", what: "From a saved manifest to the cluster", run: benchManifests },
  { name: "watchdog", what: "The longest that one object blocks the loop", run: benchWatchdog },
  { name: "dead-node", what: "A node that loses its network", run: benchDeadNode },
  { name: "idle", what: "Processor time while nothing happens", run: benchIdle },
  {
    name: WORST_DAY_BENCH,
    what: "An honest Service beside a tenant's worst day",
    run: benchWorstDay,
    onlyByName: true,
  },
  { name: NODES_BENCH, what: "Services on real nodes (as root)", run: benchNodes, onlyByName: true },
  {
    name: "control-plane-large",
    what: "50 and 300 Services on 20 nodes",
    run: benchLargeControlPlane,
    onlyByName: true,
  },
];

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

async function main(args: readonly string[]): Promise<number> {
  const quick = args.includes("--quick");
  const names = args.filter((arg) => !arg.startsWith("--"));
  const chosen = names.length === 0 ? BENCHES.filter((one) => !one.onlyByName) : names.map((name) => {
    const found = BENCHES.find((one) => one.name === name);
    if (!found) throw new Error(`Unknown benchmark "${name}"; there are: ${BENCHES.map((one) => one.name).join(", ")}`);
    return found;
  });
  if (!isInWorld()) {
    const realNodes = chosen.some(({ name }) => name === NODES_BENCH);
    ensureTools(["namespaces", "bench", ...(realNodes ? ["nodes"] as const : [])], print);
    // Building it needs the machine's own network.
    const onControlPlane = ["manifests", WORST_DAY_BENCH];
    if (
      realNodes || chosen.some(({ name }) => onControlPlane.includes(name) || name.startsWith("control-plane"))
    ) {
      await ensureControlPlaneProgram(print);
    }
    if (realNodes) {
      await ensureNodePrograms(print);
      await ensureNodeImages(print);
    }
    return await enterPrepared(args, realNodes);
  }
  const program = process.env["K3SLB_PROGRAM"] ?? "";
  const written: string[] = [];
  const say = (line: string): void => {
    written.push(line);
    print(line);
  };
  const context: BenchContext = {
    quick,
    program,
    print: say,
    table: (headers, rows) => say(`\n${renderTable(headers, rows)}`),
    figures: (figures) => say(`\n${renderFigures(figures)}`),
  };
  const startMs = performance.now();
  for (const { name, what, run } of chosen) {
    print(`\n## ${name}: ${what}`);
    const fromMs = performance.now();
    written.splice(0);
    say(await describeMachine(program));
    await run(context);
    if (args.includes("--write")) writeFigures(name, written.join("\n"));
    print(`\n(${name}: ${((performance.now() - fromMs) / 1000).toFixed(0)} s)`);
  }
  print(`\nAll in ${((performance.now() - startMs) / 1000).toFixed(0)} s${quick ? ", quick: figures are rough" : ""}`);
  return 0;
}

/** Builds the binary, then runs this program once more inside a world. */
async function enterPrepared(args: readonly string[], realNodes: boolean): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "k3slb-bench-"));
  try {
    let program = process.env["K3SLB_PROGRAM"] ?? "";
    if (program === "") {
      const built = await execHere(Deno.execPath(), ["run", "-A", join(ROOT, "build.ts"), "--out", folder]);
      if (built.code !== 0) throw new Error(`Cannot build the binary: ${built.stderr.trim()}`);
      print(built.stdout.trim());
      program = join(folder, "k3slb");
    } else if (!program.includes(" ")) {
      // A copy: the file may be built anew while this runs.
      copyFileSync(program, join(folder, "k3slb"));
      program = join(folder, "k3slb");
    }
    const again = [Deno.execPath(), "run", "-A", fileURLToPath(import.meta.url), ...args];
    const [file = "", ...rest] = worldCommand(again, { realNodes });
    const child = new Deno.Command(file, { args: rest, cwd: ROOT, env: { K3SLB_PROGRAM: program } }).spawn();
    return (await child.status).code;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Puts the figures into the page at once: a later benchmark that fails must not take them away. */
function writeFigures(name: string, figures: string): void {
  const file = join(ROOT, "docs", "performance.md");
  writeFileSync(file, replaceFigures(readFileSync(file, "utf8"), name, figures));
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

if (import.meta.main) {
  try {
    process.exitCode = await main(Deno.args);
  } catch (error) {
    print(`error: ${error instanceof Error ? error.stack ?? error.message : String(error)}`);
    process.exitCode = 1;
  }
  // Kubelets and load programs are gone by now; what else holds the loop must not hold the run.
  process.exit();
}
