// Programs that tests build from Go modules of their own (a folder below tests/), once, into a cache outside the checkout.
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runProgram } from "./programs.ts";

/** One program and where it comes from. */
export interface GoProgram {
  /** Name in the cache; that of its folder below tests/. */
  readonly name: string;
  /** Name in messages, such as `the control plane (Kubernetes v1.36.3)`. */
  readonly title: string;
  /** Arguments of the build besides the output. */
  readonly flags: readonly string[];
  /**
   * What is built, as `go` takes it.
   * @default {["build", "."]}
   */
  readonly target?: readonly [command: string, ...packages: readonly string[]];
  /** What to do where there is no Go, besides installing it. */
  readonly otherwise?: string;
}

/** Version of Kubernetes that the modules pin. */
export const KUBERNETES_VERSION = "v1.36.3";

const VERSION_PACKAGE = "k8s.io/component-base/version";

/** Flags that make Kubernetes' programs know their version. */
export function kubernetesBuildFlags(version: string): readonly string[] {
  const [, major, minor] = /^v(\d+)\.(\d+)\./.exec(version) ?? [];
  const values = { gitVersion: version, gitMajor: major, gitMinor: minor };
  const words = Object.entries(values).map(([name, value]) => `-X ${VERSION_PACKAGE}.${name}=${value}`);
  return ["-trimpath", "-ldflags", ["-s -w", ...words].join(" ")];
}

/** Those of the pinned version. */
export const KUBERNETES_BUILD_FLAGS = kubernetesBuildFlags(KUBERNETES_VERSION);

/**
 * Path of the program; builds it unless an earlier call did.
 *
 * @param report Takes lines about what is going on
 * @throws {Error} if there is no Go and nothing was built before, or the build fails
 */
export async function ensureGoProgram(
  program: GoProgram,
  report: (line: string) => void = printLine,
): Promise<string> {
  const file = await goProgramFile(program);
  if (!existsSync(file)) await build(program, file, report);
  return file;
}

/** Path of the program, built or not. It changes with everything that changes its content. */
export async function goProgramFile(program: GoProgram): Promise<string> {
  const cwd = sourceDir(program);
  const go = await runProgram(["go", "env", "GOVERSION", "GOARCH"], { cwd });
  if (go.code !== 0) {
    throw new Error(
      `Cannot build ${program.title}: "go" ${go.code === 127 ? "is not installed" : `failed: ${go.stderr.trim()}`}. ` +
        `Install Go 1.26 or later ("apt-get install golang-go", "brew install go" or https://go.dev/dl/)` +
        (program.otherwise === undefined ? "" : `, or ${program.otherwise}`),
    );
  }
  const hash = createHash("sha256").update(go.stdout).update(program.flags.join(" "));
  if (program.target !== undefined) hash.update(program.target.join(" "));
  for (const name of readdirSync(cwd).filter((name) => /^go\.(mod|sum)$|\.go$/.test(name)).sort()) {
    hash.update(readFileSync(join(cwd, name)));
  }
  return join(cacheDir(), `${program.name}-${hash.digest("hex").slice(0, 16)}`);
}

/** Folder for what takes long to make. */
export function cacheDir(): string {
  const { K3SLB_CACHE: own, XDG_CACHE_HOME: xdg } = process.env;
  return join(own || xdg || join(homedir(), ".cache"), "k3slb");
}

/** The program's module. */
export function sourceDir(program: GoProgram): string {
  return fileURLToPath(new URL(`../${program.name}/`, import.meta.url));
}

async function build(program: GoProgram, file: string, report: (line: string) => void): Promise<void> {
  const { title } = program;
  const [command, ...packages] = program.target ?? ["build", "."];
  const startMs = performance.now();
  const seconds = (): number => Math.round((performance.now() - startMs) / 1000);
  report(`building ${title} into ${file}; once`);
  const progress = setInterval(() => report(`building ${title}: ${seconds()} s`), 30_000);
  const unfinished = `${file}.${process.pid}`;
  mkdirSync(cacheDir(), { recursive: true });
  try {
    const words = [
      "go",
      command,
      ...(command === "test" ? ["-c"] : []),
      ...program.flags,
      "-o",
      unfinished,
      ...packages,
    ];
    const built = await runProgram(words, { cwd: sourceDir(program), env: { CGO_ENABLED: "0" } });
    if (built.code !== 0) throw new Error(`Cannot build ${title}: ${built.stderr.trim().slice(-4_000)}`);
    chmodSync(unfinished, 0o755);
    renameSync(unfinished, file);
    report(`built ${title} in ${seconds()} s`);
  } finally {
    clearInterval(progress);
    rmSync(unfinished, { force: true });
  }
}

function printLine(line: string): void {
  process.stderr.write(`${line}\n`);
}
