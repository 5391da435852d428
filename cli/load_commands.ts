// Commands by import when they are called. What a program does not load takes no time at its start and no memory while it runs: the two
// that run for long, and what scripts ask most, are found without the others.
import type { Command } from "./command.ts";

/** The command that the first of `words` names, if it can be loaded without the others. */
export async function loadAlone(words: readonly string[]): Promise<Command | undefined> {
  switch (words[0]) {
    case "agent":
      return (await import("./programs/agent_command.ts")).AGENT_COMMAND;
    case "server":
      return (await import("./programs/server_command.ts")).SERVER_COMMAND;
    case "version":
      return (await import("./version_command.ts")).VERSION_COMMAND;
    default:
      return undefined;
  }
}

/** Every command. */
export async function loadCommands(): Promise<readonly Command[]> {
  return (await import("./commands.ts")).COMMANDS;
}
