// What may come next on a command line, from the commands and their flags; names of the cluster's objects are asked for. Pure.
import { type Command, commandAt, nextWords } from "./command.ts";
import type { Flag } from "./settings/flag.ts";

/** Objects of the cluster whose names can be completed. */
export type NameKind = "services" | "namespaces" | "nodes";

/** One word that may come next. */
export interface Completion {
  readonly word: string;
  /** What it means, as help says it; absent if it says itself. */
  readonly note?: string;
}

/** What words are completed from. */
export interface CompletionSources {
  readonly commands: readonly Command[];
  readonly namesOf: (kind: NameKind) => Promise<readonly string[]>;
}

/**
 * What may stand in place of the last of `words`, which may be begun; flags once a dash is there. Nothing where only the user or the shell knows:
 * values of their own, and paths.
 */
export async function completionsOf(
  words: readonly string[],
  sources: CompletionSources,
): Promise<readonly Completion[]> {
  const { current, previous, prefix } = lastWords(words);
  const path = words.slice(0, -1).reduce<readonly string[]>(
    (place, word) => nextWords(place, sources.commands).includes(word) ? [...place, word] : place,
    [],
  );
  const valued = commandAt(path, sources.commands)?.flags.find(({ name, short, type }) =>
    type !== "switch" && (previous === `--${name}` || previous === `-${short}`)
  );
  const found = valued === undefined ? await wordsAt(path, current, sources) : await valuesOf(valued, sources);
  return found.filter(({ word }) => word.startsWith(current)).map((one) => ({ ...one, word: `${prefix}${one.word}` }));
}

/** bash takes "=" for a word of its own, zsh does not. */
function lastWords(words: readonly string[]): Readonly<Record<"current" | "previous" | "prefix", string>> {
  const [current = "", previous = "", before = ""] = words.toReversed();
  const inOne = /^(?<flag>--[^=]+)=(?<value>.*)$/s.exec(current)?.groups;
  if (inOne !== undefined) {
    const { flag = "", value = "" } = inOne;
    return { current: value, previous: flag, prefix: `${flag}=` };
  }
  if (current === "=") return { current: "", previous, prefix: "" };
  return { current, previous: previous === "=" ? before : previous, prefix: "" };
}

async function wordsAt(
  path: readonly string[],
  current: string,
  { commands, namesOf }: CompletionSources,
): Promise<readonly Completion[]> {
  const command = commandAt(path, commands);
  if (current.startsWith("-")) {
    const root = path.length === 0 ? [{ word: "--version", note: "Show the version" }] : [];
    return [...(command?.flags ?? []).flatMap(flagWords), { word: "--help", note: "Show help" }, ...root];
  }
  const usage = command?.operands?.usage ?? "";
  // A place for a path is left to the shell.
  if (usage === "[PATH]") return [];
  const children = nextWords(path, commands).map((word) => {
    const note = commandAt([...path, word], commands)?.summary;
    return note === undefined ? { word } : { word, note };
  });
  const operands = usage === SERVICE_USAGE
    ? await namesOf("services")
    : /^[a-z]+(?:\|[a-z]+)+$/.test(usage)
    ? usage.split("|")
    : [];
  return [...children, ...operands.map((word) => ({ word }))];
}

function flagWords({ name, help, type, ...flag }: Flag): readonly Completion[] {
  const isOn = type === "switch" && flag.default === true;
  return [{ word: `--${name}`, note: help }, ...(isOn ? [{ word: `--no-${name}`, note: `Off: ${help}` }] : [])];
}

async function valuesOf(flag: Flag, { namesOf }: CompletionSources): Promise<readonly Completion[]> {
  const kind = NAMED_FLAGS[flag.name];
  const values = kind !== undefined ? await namesOf(kind) : flag.type === "choice" ? flag.values : [];
  return values.map((word) => ({ word }));
}

/** Flags whose value is a name. */
const NAMED_FLAGS: Readonly<Record<string, NameKind>> = {
  "namespace": "namespaces",
  "servicelb-namespace": "namespaces",
  "node-name": "nodes",
};
const SERVICE_USAGE = "[NAMESPACE/]NAME";
