// From the command line to an exit code: finds the command, resolves its settings, runs it, prints what failed.
import { isAbort, isK3slbError } from "../core/shared/errors.ts";
import { createLogger, type LogFormat, type Logger, type LogLevel } from "../core/shared/log.ts";
import { type Command, commandsBelow } from "./command.ts";
import { EXIT_FAILURE, EXIT_OK, EXIT_USAGE } from "./exit_codes.ts";
import { envNames, type Flag, ownEnvName, type Settings } from "./settings/flag.ts";
import { CONFIG_FILE_FLAGS } from "./settings/flags.ts";
import { type Invocation, readCommandLine } from "./command_line.ts";
import { loadAlone, loadCommands } from "./load_commands.ts";
import { nearestName } from "../core/shared/nearest_name.ts";
import { renderError } from "./output/print_error.ts";
import type { ProgramHost } from "./program_host.ts";
import { renderCommandHelp, renderGroupHelp, renderProgramHelp } from "./output/render_help.ts";
import { type ConfigEntry, resolveSettings } from "./settings/resolve_settings.ts";

/** Runs the program with the words after its name and returns its exit code. Never throws. */
export async function runProgram(words: readonly string[], host: ProgramHost): Promise<number> {
  let debug = words.includes("--debug") || host.env.K3SLB_LOG_LEVEL === "debug" || asksForDebug(words);
  try {
    const { invocation, commands } = await invocationOf(words);
    const { command } = invocation;
    if (command === undefined) return explainUsage(invocation, commands, host);
    if (invocation.help) {
      host.stdout(renderCommandHelp(command, commandsBelow(command.path, commands)));
      return EXIT_OK;
    }
    const resolved = await settingsOf(command, invocation, host);
    debug ||= logLevelOf(resolved.settings) === "debug";
    return await runCommand(command, { ...resolved, invocation, host });
  } catch (error) {
    host.stderr(renderError(error, debug));
    return isK3slbError(error) && USAGE_CODES.includes(error.code) ? EXIT_USAGE : EXIT_FAILURE;
  }
}

/** What is asked for. All commands are known where more than one may be talked of: in help, and where the words are wrong. */
async function invocationOf(
  words: readonly string[],
): Promise<{ readonly invocation: Invocation; readonly commands: readonly Command[] }> {
  const alone = await loadAlone(words);
  const plain = alone === undefined ? undefined : plainInvocation(words, alone);
  if (plain !== undefined) return { invocation: plain, commands: [] };
  const commands = await loadCommands();
  return { invocation: readCommandLine(words, commands), commands };
}

function plainInvocation(words: readonly string[], command: Command): Invocation | undefined {
  try {
    const invocation = readCommandLine(words, [command]);
    return invocation.help ? undefined : invocation;
  } catch (error) {
    if (!isK3slbError(error, "usage")) throw error;
    return undefined;
  }
}

interface Resolved {
  readonly settings: Settings<readonly Flag[]>;
  /** Keys of config files that belong to K3s. */
  readonly ignored: readonly string[];
  readonly config: readonly ConfigEntry[];
}

async function settingsOf(command: Command, invocation: Invocation, host: ProgramHost): Promise<Resolved> {
  const sources = { args: invocation.args, env: host.env, config: [] };
  const configFlag = command.flags.find((flag) => flag.name === "config");
  if (configFlag === undefined) return { settings: resolveSettings(command.flags, sources), ignored: [], config: [] };
  const required = invocation.args.has("config") || envNames(configFlag).some((name) => (host.env[name] ?? "") !== "");
  const path = String(resolveSettings([configFlag], sources).config);
  const { readConfig } = await import("./settings/read_config.ts");
  const { entries, ignored } = await readConfig(path, { host, required, flags: CONFIG_FILE_FLAGS });
  return { settings: resolveSettings(command.flags, { ...sources, config: entries }), ignored, config: entries };
}

async function runCommand(
  command: Command,
  run: Resolved & { readonly invocation: Invocation; readonly host: ProgramHost },
): Promise<number> {
  const { settings, ignored, config, invocation, host } = run;
  const log = loggerOf(settings, host);
  if (ignored.length > 0) log.warn("Config keys of K3s that mean nothing here are ignored", { keys: ignored });
  for (const [name, near] of mistypedVariables(host.env)) {
    log.warn("Unknown environment variable is ignored", { name, hint: `Did you mean ${near}?` });
  }
  const ending = new AbortController();
  const stopListening = host.onTermination((signal) => {
    if (ending.signal.aborted) {
      log.warn("Stopping at once", { signal });
      host.exit(EXIT_FAILURE);
    }
    log.info("Stopping; a second signal stops at once", { signal });
    ending.abort();
  });
  try {
    return await command.run(settings, {
      host,
      log,
      signal: ending.signal,
      operands: invocation.operands,
      resolveOther: (flags) => resolveSettings(flags, { args: new Map(), env: host.env, config }),
    });
  } catch (error) {
    if (!(isAbort(error) && ending.signal.aborted)) throw error;
    log.warn("Stopped before the end");
    return EXIT_FAILURE;
  } finally {
    stopListening();
    if (ending.signal.aborted) host.endSoon();
  }
}

/** Variables that look like a mistyped one of ours, with that one. Others may be anybody's: a Service named k3slb makes some in pods. */
function mistypedVariables(env: ProgramHost["env"]): readonly (readonly [string, string])[] {
  const prefix = ownEnvName("");
  const known = new Set(CONFIG_FILE_FLAGS.map(({ name }) => ownEnvName(name).slice(prefix.length)));
  const given = Object.keys(env).filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  return given.filter((name) => !known.has(name)).flatMap((name) => {
    const near = nearestName(name, [...known]);
    return near === undefined ? [] : [[`${prefix}${name}`, `${prefix}${near}`] as const];
  });
}

function explainUsage(invocation: Invocation, commands: readonly Command[], host: ProgramHost): number {
  const { path } = invocation;
  const text = path.length === 0 ? renderProgramHelp(commands) : renderGroupHelp(path, commandsBelow(path, commands));
  if (invocation.help) {
    host.stdout(text);
    return EXIT_OK;
  }
  host.stderr(text);
  return EXIT_USAGE;
}

function loggerOf(settings: Settings<readonly Flag[]>, host: ProgramHost): Logger {
  return createLogger({
    level: logLevelOf(settings),
    format: settings["log-format"] === "json" ? "json" satisfies LogFormat : "text",
    write: (line) => host.stderr(`${line}\n`),
    now: () => host.now(),
  });
}

function logLevelOf(settings: Settings<readonly Flag[]>): LogLevel {
  if (settings.debug === true) return "debug";
  const level = settings["log-level"];
  return level === "debug" || level === "warn" || level === "error" ? level : "info";
}

/** Whether causes are to be printed even if the command line turns out to be wrong. */
function asksForDebug(words: readonly string[]): boolean {
  return words.some((word, index) =>
    word === "--log-level=debug" || (word === "--log-level" && words[index + 1] === "debug")
  );
}

/** Codes of failures that say "called wrongly". */
const USAGE_CODES: readonly string[] = [
  "usage",
  "flag-value",
  "config-invalid",
  "config-missing",
  "mark-bits-invalid",
  "metrics-address-invalid",
  "node-name-unknown",
];
