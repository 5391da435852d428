// Running other programs: the one place that starts processes for the data plane. Output is collected, time is limited, the process is
// killed when time is up or the caller stops.
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import process from "node:process";
import { type BunRuntime, bunRuntime } from "../../core/runtime/bun.ts";
import { abortError, K3slbError } from "../../core/shared/errors.ts";

/** Options of one run. */
export interface ExecOptions {
  /** Text for its standard input. */
  readonly stdin?: string | undefined;
  /** Time in milliseconds after which the program is killed. */
  readonly timeoutMs: number;
  /** Ends the process. */
  readonly signal?: AbortSignal | undefined;
}

/** What a program left when it ended by itself. */
export interface ExecResult {
  /** How it ended; 0 is well. */
  readonly code: number;
  /** What it said. */
  readonly stdout: string;
  /** What it complained of. */
  readonly stderr: string;
}

/** Runs programs. */
export interface Exec {
  /**
   * Runs `command`; any exit code is an answer.
   * @throws {K3slbError} code "command-missing", "command-failed" (it can't be started, or a signal ended it) or "command-timeout"
   * @throws {DOMException} "AbortError" when `options.signal` is aborted
   */
  run(command: string, args: readonly string[], options: ExecOptions): Promise<ExecResult>;
}

/** Runs programs of this machine. `prefix` is put in front of every command, for example to enter a network namespace. */
export function createExec(options: { readonly prefix?: readonly string[]; readonly path?: string } = {}): Exec {
  const env = environment(options.path);
  const bun = bunRuntime();
  return {
    run: (command, args, runOptions) => {
      const [name = command, ...rest] = [...(options.prefix ?? []), command, ...args];
      const program = { program: name, args: rest, env };
      // Bun keeps what it gives a program to read in a file, which stays open until it looks for garbage.
      if (bun === undefined || runOptions.stdin !== undefined) return runProgram(program, runOptions);
      return runWithBun(bun, program, runOptions);
    },
  };
}

interface Program {
  readonly program: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
}

function runProgram(program: Program, options: ExecOptions): Promise<ExecResult> {
  return new Promise((resolve, reject) => {
    if (options.signal?.aborted) return reject(abortError());
    const input = options.stdin === undefined ? "ignore" : "pipe";
    const child = spawn(program.program, [...program.args], {
      env: program.env,
      stdio: [input, "pipe", "pipe"],
    }) as ChildProcessByStdio<Writable | null, Readable, Readable>;
    const text = { stdout: "", stderr: "" };
    let failure: Error | undefined;
    const kill = (error: Error): void => {
      failure ??= error;
      child.kill("SIGKILL");
      // A grandchild may hold the pipes open; the caller must not wait for it.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const timer = setTimeout(() => kill(timeoutError(program, options.timeoutMs)), options.timeoutMs);
    const onAbort = (): void => kill(abortError());
    options.signal?.addEventListener("abort", onAbort, { once: true });
    const finish = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
    };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8");
      child[name].on("data", (chunk: string) => text[name] += chunk);
    }
    child.on("error", (error: NodeJS.ErrnoException) => {
      finish();
      reject(failure ?? startError(program, error));
    });
    child.on("close", (code, signal) => {
      finish();
      if (failure) reject(failure);
      else if (code === null) reject(signalError(program, String(signal)));
      else resolve({ code, ...text });
    });
    // A program may end without reading all of its input; its exit code says whether that is an error.
    child.stdin?.on("error", () => {});
    child.stdin?.end(options.stdin);
  });
}

/** The same by the runtime's own means, at half the cost, for programs that need no input. */
async function runWithBun(bun: BunRuntime, program: Program, options: ExecOptions): Promise<ExecResult> {
  if (options.signal?.aborted) throw abortError();
  const child = (() => {
    try {
      const command = [program.program, ...program.args];
      return bun.spawn(command, { env: program.env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
    } catch (error) {
      throw startError(program, error as NodeJS.ErrnoException);
    }
  })();
  let failure: Error | undefined;
  const { promise: killed, resolve } = Promise.withResolvers<void>();
  const kill = (error: Error): void => {
    failure ??= error;
    child.kill("SIGKILL");
    resolve();
  };
  const timer = setTimeout(() => kill(timeoutError(program, options.timeoutMs)), options.timeoutMs);
  const onAbort = (): void => kill(abortError());
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const code = await child.exited;
    // A grandchild may hold the pipes open; the caller must not wait for it longer than for the program.
    const texts = await Promise.race([killed, Promise.all([child.stdout.text(), child.stderr.text()])]);
    if (failure !== undefined) throw failure;
    if (child.signalCode !== null) throw signalError(program, child.signalCode);
    const [stdout = "", stderr = ""] = texts ?? [];
    return { code, stdout, stderr };
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", onAbort);
  }
}

/** The tools' own language must not depend on the machine's, and service managers often leave the sbin folders out. */
function environment(path: string | undefined): NodeJS.ProcessEnv {
  const own = path ?? `${process.env["PATH"] ?? "/usr/bin:/bin"}:/usr/sbin:/sbin`;
  return { ...process.env, PATH: own, LC_ALL: "C" };
}

function startError(program: Program, error: NodeJS.ErrnoException): K3slbError {
  const missing = error.code === "ENOENT";
  return new K3slbError(`Cannot start "${program.program}": ${missing ? "there is no such program" : error.message}`, {
    code: missing ? "command-missing" : "command-failed",
    hint: `Install "${program.program}" or put its folder into PATH`,
    cause: error,
  });
}

function timeoutError(program: Program, timeoutMs: number): K3slbError {
  return new K3slbError(`"${commandLine(program)}" did not end within ${timeoutMs} ms and was killed`, {
    code: "command-timeout",
    hint: "See whether the machine is overloaded or another program holds the firewall's lock",
    retriable: true,
  });
}

function signalError(program: Program, signal: string): K3slbError {
  return new K3slbError(`"${commandLine(program)}" was ended by ${signal}`, {
    code: "command-failed",
    hint: "See the system's log for who ended it, for example for lack of memory",
    retriable: true,
  });
}

function commandLine(program: Program): string {
  return [program.program, ...program.args].join(" ");
}
