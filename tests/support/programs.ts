// Child processes of tests: output goes to a log file, and none outlives the test process.
// Programs are stopped by their own process id only.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import process from "node:process";

/** What {@linkcode startProgram} needs. */
export interface ProgramOptions {
  /** Name in messages. */
  readonly name: string;
  /** Program and arguments. */
  readonly command: readonly string[];
  /** File that takes both output streams; it is appended to. */
  readonly logFile: string;
  /** Variables on top of this process's own; `undefined` takes one away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

/** A running child process. */
export interface Program {
  readonly name: string;
  readonly pid: number;
  /** Exit code, or the signal's name, once it ended. */
  readonly exited: Promise<number | string>;
  readonly running: boolean;
  /** The exit code or signal; `undefined` while it runs. */
  readonly exitStatus: number | string | undefined;
  /** SIGTERM, after `graceMs` (default 5000) SIGKILL; resolves when it is gone. Safe to call twice. */
  stop(graceMs?: number): Promise<number | string>;
  /** SIGKILL; resolves when it is gone. Safe to call twice. */
  kill(): Promise<number | string>;
  /** SIGSTOP: it keeps its sockets and answers nothing. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
  /** The last lines that it wrote. */
  logTail(lines?: number): string;
}

const running = new Set<ChildProcess>();

/** Starts a program. */
export function startProgram(options: ProgramOptions): Program {
  const [file = "", ...args] = options.command;
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries({ ...process.env, ...options.env })) {
    if (value !== undefined) env[name] = value;
  }
  const log = openSync(options.logFile, "a");
  const child = spawn(file, args, {
    stdio: ["ignore", log, log],
    env,
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  closeSync(log);
  endWithThisProcess(child);
  let status: number | string | undefined;
  const exited = new Promise<number | string>((resolve) => {
    const end = (value: number | string): void => {
      status = value;
      running.delete(child);
      resolve(value);
    };
    child.once("exit", (code, signal) => end(code ?? signal ?? "unknown"));
    child.once("error", (error) => end(`cannot start ${file}: ${error.message}`));
  });
  const send = (signal: NodeJS.Signals): void => {
    if (status === undefined) sendSignal(child, signal);
  };
  const kill = (): Promise<number | string> => {
    send("SIGKILL");
    return exited;
  };
  return {
    name: options.name,
    pid: child.pid ?? 0,
    exited,
    get running() {
      return status === undefined;
    },
    get exitStatus() {
      return status;
    },
    stop: async (graceMs = 5_000) => {
      send("SIGTERM");
      const timer = setTimeout(kill, graceMs);
      const value = await exited;
      clearTimeout(timer);
      return value;
    },
    kill,
    pause: () => send("SIGSTOP"),
    resume: () => send("SIGCONT"),
    logTail: (lines = 40) => tail(options.logFile, lines),
  };
}

/** The result of {@linkcode runProgram}. */
export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end. A program that cannot be started has code 127. */
export function runProgram(
  command: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string; readonly input?: string } = {},
): Promise<RunResult> {
  const [file = "", ...args] = command;
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => stdout += text);
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text);
    child.stdin.on("error", () => {
      // The program ended without reading its input; its exit code says what that means.
    });
    child.stdin.end(options.input ?? "");
    child.once("error", (error) => resolve({ code: 127, stdout, stderr: `${stderr}${error.message}` }));
    child.once(
      "close",
      (code, signal) => resolve({ code: code ?? 128, stdout, stderr: signal ? `${stderr}${signal}` : stderr }),
    );
  });
}

/** Runs a program to its end and returns what it wrote; throws if it failed. */
export async function runToEnd(
  command: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string; readonly input?: string } = {},
): Promise<string> {
  const result = await runProgram(command, options);
  if (result.code !== 0) {
    throw new Error(
      `"${command.join(" ")}" ended with ${result.code}: ${result.stderr.trim() || result.stdout.trim()}`,
    );
  }
  return result.stdout;
}

/** The last lines of a file; a note if it cannot be read. */
export function tail(file: string, lines: number): string {
  try {
    return readFileSync(file, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  } catch (error) {
    return `(no log: ${error instanceof Error ? error.message : error})`;
  }
}

/**
 * Sends a signal to a child that is not known to have ended. One that is gone, but whose end was not yet told, is left alone.
 * Not `child.kill`: on Deno it sends nothing once it has sent anything, SIGCONT included.
 */
function sendSignal(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(child.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

let watching = false;

function endWithThisProcess(child: ChildProcess): void {
  running.add(child);
  if (watching) return;
  watching = true;
  process.on("exit", () => {
    for (const each of running) sendSignal(each, "SIGKILL");
  });
}
