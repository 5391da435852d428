// Bundle to binary, by Bun (base runtimes from npm) or by Deno (base runtime from DENORT_BIN or Deno's own download).
import { basename, dirname, relative } from "node:path";
import { isK3slbError, K3slbError } from "../core/shared/errors.ts";
import { fetchBun } from "./base_runtime.ts";
import { runTool } from "./run_tool.ts";
import { bunPackage, denoTriple, hostTarget, type Target } from "./targets.ts";

/** What is compiled. */
export interface CompileOptions {
  /** The bundle's entry; its other files lie beside it. */
  readonly bundlePath: string;
  readonly binaryPath: string;
  readonly target: Target;
}

/** Puts the bundle into Bun's base runtime for the target. */
export async function compileWithBun(options: CompileOptions): Promise<void> {
  const bun = await fetchBun(bunPackage(hostTarget()));
  const base = await fetchBun(bunPackage(options.target));
  await runTool([
    bun,
    "build",
    "--compile",
    `--compile-executable-path=${base}`,
    // Files in the folder that the program is started from must not change what it does.
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    // A part that nothing asks for is not even read.
    "--splitting",
    // What would be parsed at each start is compiled here. Deeper functions, that most runs never call, would be 2 MB more.
    "--bytecode",
    "--format=esm",
    "--bytecode-depth=1",
    // Names of files go into the binary: they are given without folders, so that the same sources give the same bytes everywhere.
    `./${basename(options.bundlePath)}`,
    `--outfile=${relative(dirname(options.bundlePath), options.binaryPath)}`,
  ], { cwd: dirname(options.bundlePath), hint: "Remove the cached runtimes and build again" });
}

/** Size in bytes of Bun's base runtime for the target, which a compiled binary begins with. */
export async function bunRuntimeBytes(target: Target): Promise<number> {
  return (await Deno.stat(await fetchBun(bunPackage(target)))).size;
}

/**
 * Puts the bundle into Deno's base runtime for the target.
 * @throws {K3slbError} code "target" if Deno has no such target, "runtime-missing" if the base runtime cannot be had
 */
export async function compileWithDeno(options: CompileOptions): Promise<void> {
  const triple = denoTriple(options.target);
  if (triple === undefined) {
    throw new K3slbError(`Deno has no base runtime for "${options.target}"`, {
      code: "target",
      hint: "Build it with --runtime bun",
    });
  }
  const deno = Deno.execPath();
  const args = ["compile", "--no-check", "--allow-all", "--target", triple, "--output", options.binaryPath];
  try {
    await runTool([deno, ...args, options.bundlePath], { hint: "" });
  } catch (cause) {
    if (!isK3slbError(cause)) throw cause;
    throw new K3slbError(`Cannot compile with Deno ${Deno.version.deno} for "${options.target}": ${cause.message}`, {
      code: "runtime-missing",
      hint:
        `If the base runtime cannot be downloaded, bring "denort" ${Deno.version.deno} for ${triple} and name its path in DENORT_BIN`,
    });
  }
}
