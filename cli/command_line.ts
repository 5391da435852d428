// Words of the command line to command, flag values, operands. The runtime's `parseArgs` takes the words apart; values, help and messages are
// this program's own.
import { present } from "../core/shared/values.ts";
import { parseArgs } from "node:util";
import { K3slbError } from "../core/shared/errors.ts";
import { nearestName } from "../core/shared/nearest_name.ts";
import { type Command, commandAt, nextWords } from "./command.ts";
import type { Flag, SwitchFlag } from "./settings/flag.ts";
import { parseSwitchWord } from "./settings/resolve_settings.ts";

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

const HELP_FLAG: SwitchFlag = { name: "help", short: "h", type: "switch", default: false, help: "This text" };

/**
 * What `words` ask for.
 * @throws {K3slbError} code "usage" if a command, flag or operand is unknown, missing or too much
 */
export function readCommandLine(words: readonly string[], commands: readonly Command[]): Invocation {
  const given = words[0] === "help" ? [...words.slice(1), "--help"] : [...words];
  if (given[0] === "--version" || given[0] === "-v") given[0] = "version";
  const path = pathIn(given, commands);
  const command = commandAt(path, commands);
  const flags = [...(command?.flags ?? []), HELP_FLAG];
  const args = new Map<string, string[]>();
  const operands: string[] = [];
  const { tokens } = parseArgs({
    args: given.slice(path.length),
    options: parserOptions(flags),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind === "positional") operands.push(token.value);
    if (token.kind !== "option") continue;
    const flag = flags.find(({ name, aliases = [] }) => name === token.name || aliases.includes(token.name));
    const negated = flags.find(({ name, type }) => type === "switch" && token.name === `no-${name}`);
    const found = flag ?? negated;
    if (found === undefined) throw unknownFlagError(token.rawName, given, commands);
    const value = found.type === "switch"
      ? switchValue(found, token, found === flag)
      : textValue(token.rawName, token.value);
    args.set(found.name, [...(args.get(found.name) ?? []), value]);
  }
  const invocation = present({ command, path, args, operands, help: args.get("help")?.at(-1) === "true" });
  checkOperands(invocation, commands);
  return invocation;
}

/** The longest beginning of `words` that is one of a command's words. */
function pathIn(words: readonly string[], commands: readonly Command[]): readonly string[] {
  const end = words.findIndex((word, index) => !nextWords(words.slice(0, index), commands).includes(word));
  return end < 0 ? words : words.slice(0, end);
}

function nameOf(path: readonly string[]): string {
  return ["k3slb", ...path].join(" ");
}

type ParserOption = { readonly type: "boolean" | "string"; readonly short?: string };

function parserOptions(flags: readonly Flag[]): Record<string, ParserOption> {
  return Object.fromEntries(flags.flatMap(({ name, aliases = [], type, short }): [string, ParserOption][] => {
    const kind = type === "switch" ? "boolean" : "string";
    return [
      [name, { type: kind, ...(short === undefined ? {} : { short }) }],
      ...aliases.map((alias): [string, ParserOption] => [alias, { type: kind }]),
    ];
  }));
}

function textValue(flag: string, value: string | undefined): string {
  if (value === undefined) throw usageError(`Flag "${flag}" needs a value`, `Write "${flag} VALUE" or "${flag}=VALUE"`);
  // `-c=PATH` as `-cPATH`: of long flags the sign has been taken away.
  return flag.startsWith("--") ? value : value.replace(/^=/, "");
}

function switchValue(
  { name }: Flag,
  { rawName, value }: { readonly rawName: string; readonly value?: string | undefined },
  isPlain: boolean,
): string {
  if (value === undefined) return String(isPlain);
  const isOn = isPlain ? parseSwitchWord(value) : undefined;
  if (isOn !== undefined) return String(isOn);
  const wrong = isPlain ? `"${value}" is neither true nor false` : "it takes no value";
  throw usageError(
    `Cannot use flag ${rawName}: ${wrong}`,
    `Write "${rawName}" or "${isPlain ? `--no-${name}` : `--${name}`}"`,
  );
}

function checkOperands({ path, command, args, operands, help }: Invocation, commands: readonly Command[]): void {
  const name = nameOf(path);
  const known = nextWords(path, commands);
  const [first = ""] = operands;
  if (args.size > 0 && known.includes(first)) {
    throw usageError(
      `Flag "--${[...args.keys()][0]}" stands before "${first}"`,
      `Write flags behind the whole command: "${name} ${first} FLAGS"`,
    );
  }
  if (help && (command !== undefined || operands.length === 0)) return;
  const { min, max, usage } = command?.operands ?? { min: 0, max: 0, usage: "" };
  const extra = operands[max];
  if (extra !== undefined) {
    const near = nearestName(extra, known);
    throw usageError(
      command === undefined ? `Unknown command "${extra}"` : `"${name}" does not take "${extra}"`,
      near === undefined ? `Run "${name} --help" to see what there is` : `Did you mean "${name} ${near}"?`,
    );
  }
  if (operands.length < min) {
    throw usageError(`"${name}" needs ${usage}`, `Run "${name} --help" to see how it is called`);
  }
}

/** There is no such flag at this place: it may be too early, mistyped, or another command's. */
function unknownFlagError(flag: string, words: readonly string[], commands: readonly Command[]): K3slbError {
  const path = pathIn(words.filter((word) => !word.startsWith("-")), commands);
  const name = nameOf(path);
  const own = commandAt(path, commands)?.flags ?? [];
  if (own.some((each) => spellings(each).includes(flag))) {
    return usageError(
      `Flag "${flag}" stands before the command`,
      `Write flags behind the whole command: "${name} ${flag}"`,
    );
  }
  const near = nearestName(flag, [...own.flatMap(spellings), "--help", ...(path.length === 0 ? ["--version"] : [])]);
  const owner = commands.find(({ flags }) => flags.some((each) => spellings(each).includes(flag)));
  return usageError(
    `"${name}" has no flag "${flag}"`,
    near !== undefined
      ? `Did you mean "${near}"?`
      : owner === undefined
      ? `Run "${name} --help" to see its flags`
      : path.length === 0
      ? `Write it behind a command, such as "${nameOf(owner.path)} ${flag}"`
      : `"${flag}" is a flag of "${nameOf(owner.path)}"`,
  );
}

/** Every way to write a flag's name. */
function spellings({ name, short, type, aliases = [] }: Flag): readonly string[] {
  return [
    `--${name}`,
    ...(type === "switch" ? [`--no-${name}`] : []),
    ...(short === undefined ? [] : [`-${short}`]),
    ...aliases.map((alias) => `--${alias}`),
  ];
}

function usageError(message: string, hint: string): K3slbError {
  return new K3slbError(message, { code: "usage", hint });
}
