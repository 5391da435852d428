// Words of the command line to command, flag values, operands. The only file that imports commander.
// Commander finds commands, flags and operands; values, help and messages are this program's own.
import { Command as CommanderCommand, CommanderError, Option } from "commander";
import { K3slbError } from "../core/shared/errors.ts";
import type { Command } from "./command.ts";
import type { Flag } from "./settings/flag.ts";
import { nearestName } from "../core/shared/nearest_name.ts";

/** What the command line asks for. */
export interface Invocation {
  /** Absent if no command was named. */
  readonly command?: Command;
  /** Words of the command or group that was named, for help. */
  readonly path: readonly string[];
  /** Values by flag name; `true` and `false` for switches. */
  readonly args: ReadonlyMap<string, readonly string[]>;
  readonly operands: readonly string[];
  readonly help: boolean;
}

interface ParserNode {
  readonly parser: CommanderCommand;
  readonly path: readonly string[];
  readonly command: Command | undefined;
  readonly args: Map<string, string[]>;
}

/**
 * What `words` ask for.
 * @throws {K3slbError} code "usage" if a command, flag or operand is unknown, missing or too much
 */
export function readCommandLine(words: readonly string[], commands: readonly Command[]): Invocation {
  let invocation: Invocation | undefined;
  const nodes = buildParsers(commands, (node, operands) => {
    const above = nodes.filter((other) =>
      other !== node && other.path.every((word, index) => node.path[index] === word)
    );
    invocation = invocationOf(node, above, operands);
  });
  const root = nodes[0];
  if (root === undefined) throw new TypeError("no parser was built");
  try {
    root.parser.parse([...normalizeWords(words, commands)], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) throw usageError(error, words, nodes);
    throw error;
  }
  if (invocation === undefined) throw new TypeError("commander ran no action");
  return invocation;
}

/** Rewrites what commander does not know: `-c=PATH`, `--switch=false`, `--version`, `help COMMAND`, older names of flags. */
function normalizeWords(words: readonly string[], commands: readonly Command[]): readonly string[] {
  const flags = commands.flatMap((command) => command.flags);
  const switches = new Set(flags.filter((flag) => flag.type === "switch").map((flag) => flag.name));
  const aliases = new Map(flags.flatMap((flag) => (flag.aliases ?? []).map((alias) => [alias, flag.name] as const)));
  const end = words.indexOf("--");
  const known = end < 0 ? words : words.slice(0, end);
  const normalized = known.map((word) => {
    const short = /^-(?<letter>[^-])=(?<value>.*)$/s.exec(word);
    const long = flags.find((flag) => flag.short !== undefined && flag.short === short?.groups?.letter);
    if (long !== undefined) return `--${long.name}=${short?.groups?.value ?? ""}`;
    const match = /^--(?<name>[^=]+)(?<value>=.*)?$/s.exec(word);
    const name = match?.groups?.name;
    if (name === undefined) return word;
    const value = match?.groups?.value ?? "";
    const alias = aliases.get(name);
    if (alias !== undefined) return `--${alias}${value}`;
    if (!switches.has(name) || value === "") return word;
    if (/^=(?:true|t|1|yes|on)$/i.test(value)) return `--${name}`;
    return /^=(?:false|f|0|no|off)$/i.test(value) ? `--no-${name}` : word;
  });
  if (normalized[0] === "--version" || normalized[0] === "-v") normalized[0] = "version";
  if (normalized[0] === "help") {
    normalized.shift();
    normalized.push("--help");
  }
  return [...normalized, ...words.slice(known.length)];
}

function buildParsers(
  commands: readonly Command[],
  act: (node: ParserNode, operands: readonly string[]) => void,
): readonly ParserNode[] {
  const nodes: ParserNode[] = [];
  const nodeAt = (path: readonly string[]): ParserNode => {
    const present = nodes.find((node) => node.path.join(" ") === path.join(" "));
    if (present !== undefined) return present;
    const name = path.at(-1) ?? "k3slb";
    const parent = path.length === 0 ? undefined : nodeAt(path.slice(0, -1)).parser;
    const parser = parent?.command(name) ?? new CommanderCommand(name);
    const command = commands.find((candidate) => candidate.path.join(" ") === path.join(" "));
    const node: ParserNode = { parser, path, command, args: new Map() };
    nodes.push(node);
    setUpParser(node, act);
    return node;
  };
  nodeAt([]);
  for (const command of commands) nodeAt(command.path);
  return nodes;
}

function setUpParser(node: ParserNode, act: (node: ParserNode, operands: readonly string[]) => void): void {
  const { parser, command, args } = node;
  parser.helpOption(false).helpCommand(false).exitOverride().enablePositionalOptions()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} }).showSuggestionAfterError(false)
    .allowExcessArguments(true).argument("[operands...]").action((operands: string[]) => act(node, operands));
  parser.option("-h, --help");
  parser.on("option:help", () => args.set("help", ["true"]));
  for (const flag of command?.flags ?? []) addFlag(parser, flag, args);
}

function addFlag(parser: CommanderCommand, flag: Flag, args: Map<string, string[]>): void {
  const add = (value: string): void => {
    args.set(flag.name, [...(args.get(flag.name) ?? []), value]);
  };
  const names = flag.short === undefined ? `--${flag.name}` : `-${flag.short}, --${flag.name}`;
  if (flag.type !== "switch") {
    parser.addOption(new Option(`${names} <value>`));
    parser.on(`option:${flag.name}`, add);
    return;
  }
  parser.addOption(new Option(names)).addOption(new Option(`--no-${flag.name}`));
  parser.on(`option:${flag.name}`, () => add("true"));
  parser.on(`option:no-${flag.name}`, () => add("false"));
}

function invocationOf(node: ParserNode, ancestors: readonly ParserNode[], operands: readonly string[]): Invocation {
  const { command, path, args } = node;
  const early = ancestors.find((other) => other.args.size > 0);
  if (early !== undefined && path.length > 0) {
    const name = ["k3slb", ...path].join(" ");
    throw new K3slbError(`Flag "--${[...early.args.keys()][0]}" stands before "${path.at(-1)}"`, {
      code: "usage",
      hint: `Write flags behind the whole command: "${name} FLAGS"`,
    });
  }
  const help = args.has("help");
  const base = { path, args, operands, help, ...(command === undefined ? {} : { command }) };
  if (help && (command !== undefined || operands.length === 0)) return base;
  const min = command?.operands?.min ?? 0;
  const max = command?.operands?.max ?? 0;
  const name = ["k3slb", ...path].join(" ");
  if (operands.length > max) {
    const known = node.parser.commands.map((child) => child.name());
    throw unknownWordError(operands[max] ?? "", { name, known, group: command === undefined });
  }
  if (operands.length < min) {
    throw new K3slbError(`"${name}" needs ${command?.operands?.usage ?? "an operand"}`, {
      code: "usage",
      hint: `Run "${name} --help" to see how it is called`,
    });
  }
  return base;
}

function unknownWordError(
  word: string,
  where: { readonly name: string; readonly known: readonly string[]; readonly group: boolean },
): K3slbError {
  const near = nearestName(word, where.known);
  const what = where.group ? `Unknown command "${word}"` : `"${where.name}" does not take "${word}"`;
  return new K3slbError(what, {
    code: "usage",
    hint: near === undefined
      ? `Run "${where.name} --help" to see what there is`
      : `Did you mean "${where.name} ${near}"?`,
  });
}

/** Commander's failure in this program's words. Its text is used for nothing but the flag that it names. */
function usageError(error: CommanderError, words: readonly string[], nodes: readonly ParserNode[]): K3slbError {
  const named = /'(?<quoted>[^']+)'/.exec(error.message)?.groups?.quoted ?? "";
  const node = nodeOfWords(words, nodes);
  const name = ["k3slb", ...(node?.path ?? [])].join(" ");
  const flag = named.split(/[ ,]+/).find((part) => part.startsWith("--")) ?? named;
  if (error.code === "commander.unknownOption") return unknownFlagError(flag, { name, node, nodes });
  if (error.code === "commander.optionMissingArgument") {
    return new K3slbError(`Flag "${flag}" needs a value`, {
      code: "usage",
      hint: `Write "${flag} VALUE" or "${flag}=VALUE"`,
    });
  }
  return new K3slbError(`Cannot read the command line: ${error.message.replace(/^error: /, "")}`, {
    code: "usage",
    hint: `Run "${name} --help" to see how it is called`,
  });
}

interface FlagPlace {
  readonly name: string;
  readonly node: ParserNode | undefined;
  readonly nodes: readonly ParserNode[];
}

/** Commander knows no such flag at this place: it may be mistyped, another command's, too early, or have a value that it takes none of. */
function unknownFlagError(flag: string, { name, node, nodes }: FlagPlace): K3slbError {
  const [bare = flag] = flag.split("=");
  const value = flag.includes("=") ? flag.slice(bare.length + 1) : undefined;
  const fail = (message: string, hint: string): K3slbError => new K3slbError(message, { code: "usage", hint });
  const options = node?.parser.options ?? [];
  if (hasFlag(node, bare)) {
    if (value === undefined) {
      return fail(
        `Flag "${bare}" stands before the command`,
        `Write flags behind the whole command: "${name} ${bare}"`,
      );
    }
    const other = bare.startsWith("--no-") ? `--${bare.slice("--no-".length)}` : `--no-${bare.slice(2)}`;
    const wrong = bare.startsWith("--no-") ? "it takes no value" : `"${value}" is neither true nor false`;
    return fail(`Cannot use flag ${bare}: ${wrong}`, `Write "${bare}" or "${other}"`);
  }
  const isRoot = node === undefined || node.path.length === 0;
  const near = nearestName(bare, [...options.map((option) => option.long ?? ""), ...(isRoot ? ["--version"] : [])]);
  if (near !== undefined) return fail(`"${name}" has no flag "${bare}"`, `Did you mean "${near}"?`);
  const owner = nodes.find((other) => hasFlag(other, bare));
  if (owner === undefined) return fail(`"${name}" has no flag "${bare}"`, `Run "${name} --help" to see its flags`);
  const ownerName = ["k3slb", ...owner.path].join(" ");
  const hint = isRoot
    ? `Write it behind a command, such as "${ownerName} ${bare}"`
    : `"${bare}" is a flag of "${ownerName}"`;
  return fail(`"${name}" has no flag "${bare}"`, hint);
}

function hasFlag(node: ParserNode | undefined, flag: string): boolean {
  return node?.parser.options.some(({ long, short }) => long === flag || short === flag) ?? false;
}

/** The command whose words the command line starts with. */
function nodeOfWords(words: readonly string[], nodes: readonly ParserNode[]): ParserNode | undefined {
  const plain = words.filter((word) => !word.startsWith("-"));
  const fits = (node: ParserNode): boolean => node.path.every((word, index) => plain[index] === word);
  return nodes.filter(fits).sort((a, b) => b.path.length - a.path.length)[0];
}
