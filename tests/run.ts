// Runs suites, several files at a time where they leave room, and prints how long they took and one closing line over all of them:
// `N passed, N failed`. Usage: deno run -A tests/run.ts SUITE...   The suites are in suites.ts.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { readdirSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { ALONE, LONGEST, ROOM, type Suite, SUITES } from "./suites.ts";
import { worldCommand } from "./support/netns.ts";
import { ensureTools } from "./support/prerequisites.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** A failed test in the closing list of `deno test`: its name and where it is. */
const FAILED_REGEXP = /^(.+) => \.\/\S+:\d+:\d+$/gm;
const COUNTS_REGEXP = /\b(\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed(?: \(\d+ steps?\))?(?: \| (\d+) ignored)?/;
/** How many of the files that took longest are named. */
const NAMED_FILES = 12;

/** What tests of one process share. */
interface Run {
  readonly suiteName: string;
  readonly suite: Suite;
  readonly paths: readonly string[];
  /** Of {@linkcode ROOM}. */
  readonly takes: number;
}

/** What runs counted. */
interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** One run that has ended. */
interface Ended extends Run {
  readonly counts: Counts;
  /** Names of tests. */
  readonly failed: readonly string[];
  readonly seconds: number;
}

async function main(names: readonly string[]): Promise<number> {
  const startMs = performance.now();
  const runs = names.flatMap(runsOf);
  const suites = runs.map((one) => one.suite);
  if (suites.some((one) => one.realNodes) && Deno.uid() !== 0) {
    throw new Error(
      "Real nodes need root\n  hint: Run it with sudo, or run the same tests with: deno task test:cluster",
    );
  }
  ensureTools([...new Set(suites.flatMap((one) => one.tools))], print);
  await Promise.all([
    // Once for all: no run looks at types again.
    must("check the types", ["deno", "check", "--quiet"]),
    suites.some((one) => one.needsBinary) && must("build the binary", ["deno", "task", "build"]),
  ]);
  const prepare = ["deno", "run", "-A", "tests/support/prepare_control_plane.ts"];
  if (suites.some((one) => one.realNodes)) await must("prepare the nodes", [...prepare, ...names]);
  else if (names.includes("real")) await must("prepare the control plane", prepare);

  const ended = await runAll(runs);
  const total = sum(ended.map((one) => one.counts));
  printTimes(ended);
  for (const { suiteName, paths, failed } of ended) {
    for (const name of failed) print(`failed: ${suiteName}: ${paths.join(" ")}: ${name}`);
  }
  print(`${Math.round((performance.now() - startMs) / 1000)} s in all`);
  print(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

function runsOf(suiteName: string): readonly Run[] {
  const suite = SUITES[suiteName];
  if (!suite) throw new Error(`Unknown suite "${suiteName}"; there are: ${Object.keys(SUITES).join(", ")}`);
  if (suite.parallel) return [{ suiteName, suite, paths: suite.paths, takes: suite.takes }];
  return suite.paths.flatMap(testFiles).map((path) => {
    const isAlone = suite.takes > 1 && isOneOf(ALONE, path);
    return { suiteName, suite, paths: [path], takes: isAlone ? ROOM : suite.takes };
  });
}

function testFiles(path: string): readonly string[] {
  if (path.endsWith("_test.ts")) return [path];
  return readdirSync(`${ROOT}/${path}`).filter((name) => name.endsWith("_test.ts")).sort().map((name) =>
    `${path}/${name}`
  );
}

function isOneOf(names: readonly string[], path: string): boolean {
  return names.some((name) => path.endsWith(`/${name}_test.ts`));
}

/** Starts each run as soon as there is room for it: what takes most first, of those that take the same the long ones, then as given. */
async function runAll(runs: readonly Run[]): Promise<readonly Ended[]> {
  const waiting = [...runs].sort((a, b) => b.takes - a.takes || Number(isLong(b)) - Number(isLong(a)));
  const ended: Ended[] = [];
  let taken = 0;
  await new Promise<void>((resolve, reject) => {
    const startMore = (): void => {
      if (waiting.length === 0 && taken === 0) resolve();
      for (let next = waiting[0]; next && taken + next.takes <= ROOM; next = waiting[0]) {
        const one = next;
        waiting.shift();
        taken += one.takes;
        runOne(one, { isAlone: one.takes === ROOM || runs.length === 1 }).then((result) => {
          ended.push(result);
          taken -= one.takes;
          startMore();
        }, reject);
      }
    };
    startMore();
  });
  return ended;
}

function isLong({ paths }: Run): boolean {
  return paths.some((path) => isOneOf(LONGEST, path));
}

async function runOne(one: Run, { isAlone }: { readonly isAlone: boolean }): Promise<Ended> {
  const { suiteName, suite, paths } = one;
  const title = `\n== ${suiteName}: ${paths.join(" ")}`;
  if (isAlone) print(title);
  const startMs = performance.now();
  const test = ["deno", "test", "-A", "--no-check", "--quiet", ...(suite.parallel ? ["--parallel"] : []), ...paths];
  const command = suite.isolated ? worldCommand(test, suite) : test;
  const result = await run(command, { DENO_JOBS: "2", ...suite.env }, { showsAtEnd: !isAlone });
  // What runs beside others is shown in one piece.
  if (!isAlone) print(title, result.output);
  const counts = countsOf(result);
  const failed = counts.failed === 0 ? [] : failedOf(result.output, counts);
  return { ...one, counts, failed, seconds: (performance.now() - startMs) / 1000 };
}

/** The names of failed tests; if none has one, that the run itself failed. */
function failedOf(output: string, { failed }: Counts): readonly string[] {
  const text = stripVTControlCharacters(output);
  const [, names = ""] = text.slice(0, text.lastIndexOf("\nFAILED | ")).split("\n FAILURES \n");
  const found = [...names.matchAll(FAILED_REGEXP)].map(([, name = ""]) => name);
  return found.length > 0 ? found : [`${failed} without a name; see its output`];
}

function countsOf({ code, output }: { readonly code: number; readonly output: string }): Counts {
  const match = COUNTS_REGEXP.exec(output);
  const failed = Number(match?.[2] ?? 0);
  return {
    passed: Number(match?.[1] ?? 0),
    // A run that fails without a failed test (a module that does not load, a leaked process) is a failure too.
    failed: (code !== 0 || !match) && failed === 0 ? 1 : failed,
    skipped: Number(match?.[3] ?? 0),
  };
}

function sum(counts: readonly Counts[]): Counts {
  return counts.reduce((a, b) => ({
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  }), { passed: 0, failed: 0, skipped: 0 });
}

function printTimes(ended: readonly Ended[]): void {
  const seconds = (value: number): string => String(Math.round(value)).padStart(5);
  print("\nSeconds that the files of each suite took, added up:");
  for (const [name, own] of Map.groupBy(ended, (one) => one.suiteName)) {
    print(`${seconds(own.reduce((all, one) => all + one.seconds, 0))} ${name}`);
  }
  const longest = ended.filter((one) => !one.suite.parallel).sort((a, b) => b.seconds - a.seconds);
  if (longest.length > 1) print("Seconds of the longest files:");
  for (const one of longest.slice(0, NAMED_FILES)) {
    print(`${seconds(one.seconds)} ${one.suiteName}: ${one.paths.join(" ")}`);
  }
}

async function must(what: string, command: readonly string[]): Promise<void> {
  const { code } = await run(command, {});
  if (code !== 0) throw new Error(`Cannot ${what}: "${command.join(" ")}" exits with ${code}`);
}

/** Runs a command with its output kept and, unless that comes later, shown as it comes. `deno` means the one that runs this. */
function run(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  { showsAtEnd = false }: { readonly showsAtEnd?: boolean } = {},
): Promise<{ readonly code: number; readonly output: string }> {
  const [program = "", ...args] = command.map((word) => word === "deno" ? Deno.execPath() : word);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      // Ordinary users don't have the folders of iptables and its like in their path.
      env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text: string) => {
        output += text;
        if (!showsAtEnd) process.stdout.write(text);
      });
    }
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

function print(...lines: readonly string[]): void {
  process.stdout.write(`${lines.join("\n")}\n`);
}

if (import.meta.main) {
  try {
    process.exitCode = await main(Deno.args);
  } catch (error) {
    print(`error: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
