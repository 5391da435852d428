// What the program needs of the process it runs in, so that tests can stand in for it. The real one is `processHost`.
import { readdir, readFile } from "node:fs/promises";
import process from "node:process";

/** The process as commands see it. */
export interface ProgramHost {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes to standard output as it is. */
  stdout(text: string): void;
  /** Writes to standard error as it is. */
  stderr(text: string): void;
  /** Current time in milliseconds since 1970. */
  now(): number;
  /** Text of a file; `undefined` if there is none. */
  readTextFile(path: string): Promise<string | undefined>;
  /** Names in a folder, in no order; empty if there is none. */
  listFolder(path: string): Promise<readonly string[]>;
  /** Calls `handler` for each SIGTERM and SIGINT; the returned function stops that. */
  onTermination(handler: (signal: string) => void): () => void;
  /** Ends the process at once. */
  exit(code: number): never;
}

/** The process that this code runs in. */
export function processHost(): ProgramHost {
  return {
    env: process.env,
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    now: () => Date.now(),
    readTextFile: (path) => orIfMissing(readFile(path, "utf8"), undefined),
    listFolder: (path) => orIfMissing(readdir(path), []),
    onTermination: (handler) => {
      const signals = ["SIGTERM", "SIGINT"] as const;
      for (const signal of signals) process.on(signal, handler);
      return () => {
        for (const signal of signals) process.off(signal, handler);
      };
    },
    exit: (code) => process.exit(code),
  };
}

async function orIfMissing<T, U>(work: Promise<T>, other: U): Promise<T | U> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return other;
    throw error;
  }
}
