// Runs a program of the build and turns its failure into one error with its words.
import { K3slbError } from "../core/shared/errors.ts";
import { present } from "../core/shared/values.ts";

/** How a tool is run. */
export interface RunToolOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What to do when it fails. */
  readonly hint: string;
}

/**
 * Runs `command` to its end and returns its standard output.
 * @throws {K3slbError} code "build-tool" with the tool's last words
 */
export async function runTool(command: readonly string[], options: RunToolOptions): Promise<string> {
  const [program = "", ...args] = command;
  const { cwd, env, hint } = options;
  const process = new Deno.Command(program, {
    args,
    stdout: "piped",
    stderr: "piped",
    ...present({ cwd, env: env && { ...env } }),
  });
  let output: Deno.CommandOutput;
  try {
    output = await process.output();
  } catch (cause) {
    throw new K3slbError(`Cannot run "${program}"`, { code: "build-tool", hint, cause });
  }
  const [stdout, stderr] = [output.stdout, output.stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (output.success) return stdout ?? "";
  const words = (stderr || stdout || "").trim().split("\n").slice(-8).join("\n  ");
  throw new K3slbError(`"${program} ${args[0] ?? ""}" failed with exit code ${output.code}:\n  ${words}`, {
    code: "build-tool",
    hint,
  });
}
