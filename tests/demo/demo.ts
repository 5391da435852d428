// `deno task demo`: k3slb at work in a private world of network namespaces, without a cluster and without root.
// This process stays outside of the world: it prepares what needs the machine's network (tools, binary), starts stage_program.ts
// inside, and removes what is left. Its standard input pipe is the world's life line: closed, the world ends.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { ensureControlPlaneProgram } from "../support/control_plane_program.ts";
import { ensureCorednsImage } from "../packaged/coredns_image.ts";
import { findTraefikImage } from "../packaged/traefik_image.ts";
import { ensureNodeImages } from "../support/node_images.ts";
import { ensureNodePrograms } from "../support/node_machine.ts";
import { worldCommand, worldObstacle } from "../support/netns.ts";
import { ensureTools } from "../support/prerequisites.ts";
import { runProgram } from "../support/programs.ts";
import { type DemoFlags, parseFlags, USAGE } from "./flags.ts";
import { keepLogs } from "./keep_logs.ts";
import { type Page, renderToned, wrapWords } from "./render_text.ts";
import { NAMESPACE_FILE, type StageOrder, type Summary, SUMMARY_FILE } from "./stage_program.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const STAGE_PROGRAM = fileURLToPath(new URL("./stage_program.ts", import.meta.url));
const MAX_WIDTH = 110;
const MIN_WIDTH = 80;

/** Exit code after Ctrl-C. */
const EXIT_INTERRUPTED = 130;

async function main(words: readonly string[]): Promise<number> {
  let flags: DemoFlags;
  try {
    flags = parseFlags(words);
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    return 2;
  }
  if (flags.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const startMs = performance.now();
  // Where the network's tools are on Debian; an ordinary user's PATH has no such folders.
  process.env["PATH"] = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`;
  const page = pageOf(flags);
  const ending = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => ending.abort());
  print(renderToned("k3slb: LoadBalancer Services on the nodes' own addresses", "strong", page));
  const prepared = await Promise.race([prepare(flags, page), aborted(ending.signal)]);
  if (ending.signal.aborted || prepared === undefined) {
    print(renderToned("Interrupted before anything was started.", "bad", page));
    // At once: a tool that prepares something may still run, and has nothing to undo.
    process.exit(EXIT_INTERRUPTED);
  }
  return await playInWorld(flags, { page, prepared, startMs, signal: ending.signal });
}

/** What real nodes have besides their own. */
interface Prepared {
  /** Archives of images. */
  readonly images: readonly string[];
  readonly hasTraefik: boolean;
}

/** What needs the machine's network or files: all of it before the world is entered. */
async function prepare(flags: DemoFlags, page: Page): Promise<Prepared> {
  const note = (line: string): void => print(renderToned(`   ${line}`, "faint", page));
  if (flags.nodes && Deno.uid() !== 0) {
    throw new Error("Real nodes need root\n  hint: Run it with sudo, or without --nodes");
  }
  ensureTools(flags.nodes ? ["namespaces", "nodes"] : ["namespaces"], note);
  const obstacle = await worldObstacle({ realNodes: flags.nodes });
  if (obstacle !== undefined) {
    throw new Error(
      `Cannot make network namespaces: ${obstacle}\n  hint: Allow user namespaces ` +
        `("sysctl kernel.unprivileged_userns_clone=1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"), or run as root`,
    );
  }
  if (process.env["K3SLB_PROGRAM"]) note(`not built: K3SLB_PROGRAM is ${process.env["K3SLB_PROGRAM"]}`);
  else await build(note);
  if (flags.real || flags.nodes) await ensureControlPlaneProgram(note);
  if (!flags.nodes) return { images: [], hasTraefik: false };
  await ensureNodePrograms(note);
  await ensureNodeImages(note);
  const traefik = await findTraefikImage();
  if (traefik === undefined) {
    note('no Ingress is shown, as Traefik is not built; "deno task test:packaged" builds it, in some minutes');
  }
  return {
    images: [await ensureCorednsImage(note), ...(traefik === undefined ? [] : [traefik])],
    hasTraefik: traefik !== undefined,
  };
}

async function build(note: (line: string) => void): Promise<void> {
  const startMs = performance.now();
  const built = await runProgram([Deno.execPath(), "task", "build"], { cwd: ROOT, env: { NO_COLOR: "1" } });
  if (built.code !== 0) throw new Error(`Cannot build the binary:\n${built.stderr}${built.stdout}`);
  note(`binary built in ${((performance.now() - startMs) / 1000).toFixed(1)} s: ${join(ROOT, "dist", "k3slb")}`);
}

async function playInWorld(flags: DemoFlags, show: {
  readonly page: Page;
  readonly prepared: Prepared;
  readonly startMs: number;
  /** Ends the world. */
  readonly signal: AbortSignal;
}): Promise<number> {
  const { page, prepared, startMs, signal } = show;
  const dir = mkdtempSync(join(tmpdir(), "k3slb-demo-"));
  const order: StageOrder = {
    dir,
    page,
    kind: flags.nodes ? "nodes" : flags.real ? "real" : "memory",
    ...prepared,
    keep: flags.keep,
    isRoot: Deno.uid() === 0,
  };
  // A process namespace of its own: when its first process ends, however it ends, the kernel ends all others in it.
  const command = worldCommand([
    ...(flags.nodes ? [] : ["unshare", "--pid", "--fork", "--kill-child", "--"]),
    ...[Deno.execPath(), "run", "-A", "--cached-only", "--quiet", STAGE_PROGRAM, JSON.stringify(order)],
  ], { realNodes: flags.nodes });
  try {
    const code = await runUntilAborted(command, signal);
    const summary = readSummary(dir);
    if (!signal.aborted && (code !== 0 || summary === undefined)) {
      process.stderr.write(keepLogs(dir, join(ROOT, "dist", "demo_logs")));
      return 1;
    }
    const left = processesIn(readIfThere(join(dir, NAMESPACE_FILE)));
    rmSync(dir, { recursive: true });
    if (left.length > 0) throw new Error(`These processes are left of the demo: ${left.join(", ")}`);
    print("");
    if (summary === undefined) {
      print(renderToned("Interrupted; no process, namespace or file is left.", "bad", page));
      return EXIT_INTERRUPTED;
    }
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    const shown = `Shown: ${summary.scenes} scenes, ${summary.services} Services, ${summary.answers} answered ` +
      `connections, in ${seconds} s; no process, namespace or file is left.`;
    for (const line of wrapWords(shown, page.width)) {
      print(line.replace(/^Shown:/, (word) => renderToned(word, "strong", page)));
    }
    return 0;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What was shown; `undefined` if the last scene wasn't reached. */
function readSummary(dir: string): Summary | undefined {
  const text = readIfThere(join(dir, SUMMARY_FILE));
  return text === undefined ? undefined : JSON.parse(text) as Summary;
}

function readIfThere(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

/** Ids of the processes in a PID namespace, which has all processes of a demo's world; none if the world never began. */
function processesIn(namespace: string | undefined): readonly string[] {
  return readdirSync("/proc").filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      return readlinkSync(`/proc/${name}/ns/pid`) === namespace;
    } catch {
      return false; // It has ended meanwhile, or is another user's.
    }
  });
}

/** Runs the world to its end and returns its exit code; the signal closes the world's life line. */
function runUntilAborted(command: readonly string[], signal: AbortSignal): Promise<number> {
  const [program = "", ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ["pipe", "inherit", "inherit"] });
    aborted(signal).then(() => child.stdin.end());
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}

/** Resolves when the signal is aborted. */
function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function pageOf(flags: DemoFlags): Page {
  const isTerminal = Deno.stdout.isTerminal();
  const columns = isTerminal ? Deno.consoleSize().columns : MAX_WIDTH;
  return {
    width: Math.max(MIN_WIDTH, Math.min(MAX_WIDTH, columns)),
    colour: isTerminal && !flags.noColour && (process.env["NO_COLOR"] ?? "") === "",
  };
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

if (import.meta.main) {
  try {
    process.exitCode = await main(Deno.args);
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
