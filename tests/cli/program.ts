// Runs the program as its users do and keeps what it says: from source, and as the compiled binary if there is one
// (`K3SLB_BINARY`, else dist/k3slb), so that both run the same tests.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** One way to run the program. */
export interface ProgramKind {
  readonly name: string;
  readonly command: readonly string[];
}

/** What a run of the program said. */
export interface ProgramResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a run of the program gets. */
export interface ProgramInput {
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The program from source and, if it was built, as a binary. */
export function programKinds(): readonly ProgramKind[] {
  const source = { name: "source", command: [Deno.execPath(), "run", "-A", "--quiet", `${ROOT}cli/main.ts`] };
  const binary = Deno.env.get("K3SLB_BINARY") ?? `${ROOT}dist/k3slb`;
  if (existsSync(binary)) return [source, { name: "binary", command: [binary] }];
  return [source];
}

/** Starts the program with nothing of the tests' own environment but what processes need. */
export function spawnProgram(kind: ProgramKind, input: ProgramInput): Deno.ChildProcess {
  const [program = "", ...first] = kind.command;
  return new Deno.Command(program, {
    args: [...first, ...input.args],
    env: { ...baseEnv(), ...input.env },
    clearEnv: true,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Runs the program to its end. */
export async function runProgram(kind: ProgramKind, input: ProgramInput): Promise<ProgramResult> {
  const output = await spawnProgram(kind, input).output();
  const decoder = new TextDecoder();
  return { code: output.code, stdout: decoder.decode(output.stdout), stderr: decoder.decode(output.stderr) };
}

function baseEnv(): Record<string, string> {
  const names = ["PATH", "HOME", "DENO_DIR", "XDG_CACHE_HOME"];
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = Deno.env.get(name);
      return value === undefined ? [] : [[name, value]];
    }),
  );
}
