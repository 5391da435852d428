// What the program needs of the process it runs in, so that tests can stand in for it. The real one is `processHost`.
import { readdir, readFile } from "node:fs/promises";
import process from "node:process";
import { errorMessage } from "../core/shared/errors.ts";
import { visibleText } from "../core/shared/visible_text.ts";
import { EXIT_FAILURE } from "./exit_codes.ts";

/** The process as commands see it. */
export interface ProgramHost {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes to standard output; control characters are shown instead of sent. */
  stdout(text: string): void;
  /** Writes to standard error, likewise. */
  stderr(text: string): void;
  /** Size of the terminal now; `undefined`: standard output is none. */
  terminal(): { readonly columns: number; readonly rows: number } | undefined;
  /** Writes `text`, control characters shown, over what the terminal shows from its top on. */
  redraw(text: string): void;
  /** Current time in milliseconds since 1970. */
  now(): number;
  /** Text of a file; `undefined` if there is none. */
  readTextFile(path: string): Promise<string | undefined>;
  /** Names of the files in a folder, in no order; empty if there is none. */
  listFolder(path: string): Promise<readonly string[]>;
  /** Calls `handler` for each SIGTERM and SIGINT; the returned function stops that. */
  onTermination(handler: (signal: string) => void): () => void;
  /** Ends the process at once. */
  exit(code: number): never;
  /** Ends it within a second, with the exit code that is set by then, whatever connections still wait for somebody who is gone. */
  endSoon(): void;
}

/** The process that this code runs in. Called once: it listens for failed writes. */
export function processHost(): ProgramHost {
  process.stdout.on("error", endAfterFailedWrite);
  // A log that nobody reads any more, as when journald is started again, is no reason to stop forwarding.
  process.stderr.on("error", () => {});
  return {
    env: process.env,
    terminal: () => {
      const { isTTY, columns, rows } = process.stdout;
      return isTTY ? { columns, rows } : undefined;
    },
    redraw: (text) => {
      // In one write and over the old text, so that nothing flickers.
      const lines = visibleText(text).replaceAll("\n", `${ERASE_LINE_END}\n`);
      writeRaw(process.stdout, `${CURSOR_HOME}${lines}${ERASE_BELOW}`, endAfterFailedWrite);
    },
    stdout: (text) => write(process.stdout, text, endAfterFailedWrite),
    stderr: (text) => write(process.stderr, text, () => {}),
    now: () => Date.now(),
    readTextFile: (path) => orIfMissing(readFile(path, "utf8"), undefined),
    listFolder: async (path) => {
      const entries = await orIfMissing(readdir(path, { withFileTypes: true }), []);
      return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
    },
    onTermination: (handler) => {
      const signals = ["SIGTERM", "SIGINT"] as const;
      for (const signal of signals) process.on(signal, handler);
      return () => {
        for (const signal of signals) process.off(signal, handler);
      };
    },
    exit: (code) => process.exit(code),
    endSoon: () => void setTimeout(() => process.exit(), LAST_WORDS_MS).unref(),
  };
}

const LAST_WORDS_MS = 1000;

function write(stream: NodeJS.WriteStream, text: string, onFailure: (error: unknown) => void): void {
  writeRaw(stream, visibleText(text), onFailure);
}

/** Runtimes differ: one throws what another tells by an event. */
function writeRaw(stream: NodeJS.WriteStream, text: string, onFailure: (error: unknown) => void): void {
  try {
    stream.write(text);
  } catch (error) {
    onFailure(error);
  }
}

/** Whoever reads a pipe may stop when it has enough (`| head`), which is nothing to talk about; a full disk is. */
function endAfterFailedWrite(error: unknown): void {
  const isPipe = error instanceof Error && "code" in error && error.code === "EPIPE";
  if (!isPipe) {
    process.stderr.write(`error: Cannot write the result: ${visibleText(errorMessage(error))}\n  code: output\n`);
  }
  process.exit(EXIT_FAILURE);
}

async function orIfMissing<T, U>(work: Promise<T>, other: U): Promise<T | U> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return other;
    throw error;
  }
}

// ECMA-48: CUP, EL, ED.
const CURSOR_HOME = "\u001b[H";
const ERASE_LINE_END = "\u001b[K";
const ERASE_BELOW = "\u001b[J";
