// What a command of the program is, and how its words lead to it. Each command is one file that exports one value of this kind; commands.ts lists
// them. Pure.
import type { Logger } from "../core/shared/log.ts";
import type { Flag, Settings } from "./settings/flag.ts";
import type { ProgramHost } from "./program_host.ts";

/** What a running command has beside its settings. */
export interface CommandContext {
  readonly host: ProgramHost;
  readonly log: Logger;
  /** Aborted by SIGTERM or SIGINT. */
  readonly signal: AbortSignal;
  /** Words after the command's name that are no flags. */
  readonly operands: readonly string[];
  /** Settings of flags that are another command's: from environment and config file, without the command line. */
  resolveOther<const Flags extends readonly Flag[]>(flags: Flags): Settings<Flags>;
}

/** A line of help with an example. */
export interface CommandExample {
  readonly command: string;
  readonly note: string;
}

/** One command of the program. */
export interface Command<Flags extends readonly Flag[] = readonly Flag[]> {
  /** Words that call it, such as `["agent", "cleanup"]`. */
  readonly path: readonly string[];
  /** One line for the list of commands; no final period. */
  readonly summary: string;
  /** What it does and needs, a few short lines. */
  readonly description: string;
  /** Names of operands for help, such as `[FILE]`; absent means none are taken. */
  readonly operands?: { readonly usage: string; readonly min: number; readonly max: number };
  readonly flags: Flags;
  readonly examples: readonly CommandExample[];
  /** What goes wrong easily, a sentence each. */
  readonly pitfalls?: readonly string[];
  /** Does the work; the result is the exit code. */
  run(settings: Settings<Flags>, context: CommandContext): Promise<number>;
}

/** The command that `path` calls. */
export function commandAt(path: readonly string[], commands: readonly Command[]): Command | undefined {
  return commands.find((command) => command.path.join(" ") === path.join(" "));
}

/** Commands whose words start with `path`, but for that one itself. */
export function commandsBelow(path: readonly string[], commands: readonly Command[]): readonly Command[] {
  return commands.filter((command) =>
    command.path.length > path.length && path.every((word, index) => command.path[index] === word)
  );
}

/** Words that may follow `path` in a command's name. */
export function nextWords(path: readonly string[], commands: readonly Command[]): readonly string[] {
  return [...new Set(commandsBelow(path, commands).map((command) => command.path[path.length] ?? ""))];
}

/** Checks that `run` fits the flags, and forgets their types so that commands can stand in one list. */
export function defineCommand<const Flags extends readonly Flag[]>(command: Command<Flags>): Command {
  return command;
}
