// Puts the sources of settings in order: flag, then environment, then config file, then default. Pure.
// Rules of lists and of `key+` are K3s's (k3s docs "installation/configuration").
import { K3slbError } from "../../core/shared/errors.ts";
import { envNames, type Flag, type Settings } from "./flag.ts";
import { didYouMean } from "../../core/shared/nearest_name.ts";

/** One key of a config file. */
export interface ConfigEntry {
  /** Key without a `+`. */
  readonly key: string;
  /** Whether the key had a `+`: the values are added to those before. */
  readonly append: boolean;
  readonly values: readonly string[];
  /** File and line, such as `/etc/rancher/k3slb/config.yaml:3`. */
  readonly position: string;
}

/** Where settings come from. */
export interface SettingSources {
  /** Values by flag name, in the order of the command line. */
  readonly args: ReadonlyMap<string, readonly string[]>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Keys in the order of the files; they were checked before. */
  readonly config: readonly ConfigEntry[];
}

/** Values of one flag from the strongest source, and the source's name for messages. */
interface FoundValues {
  readonly values: readonly string[];
  readonly source: string;
}

/**
 * Values of all `flags`.
 * @throws {K3slbError} code "flag-value" if a value is not what its flag takes
 */
export function resolveSettings<const Flags extends readonly Flag[]>(
  flags: Flags,
  sources: SettingSources,
): Settings<Flags> {
  const settings = flags.map((flag) => [flag.name, resolveFlag(flag, sources)] as const);
  // Each flag's value has the type that FlagValue says: resolveFlag branches on the same `type`.
  return Object.fromEntries(settings) as Settings<Flags>;
}

function resolveFlag(flag: Flag, sources: SettingSources): string | boolean | readonly string[] | undefined {
  const found = findValues(flag, sources);
  if (found === undefined) return flag.default;
  switch (flag.type) {
    case "switch":
      return parseSwitch(flag, found);
    case "list":
      return parseList(flag, found);
    default:
      return parseText(flag, found);
  }
}

function findValues(flag: Flag, sources: SettingSources): FoundValues | undefined {
  const args = sources.args.get(flag.name);
  if (args !== undefined) return { values: args, source: `flag --${flag.name}` };
  for (const name of envNames(flag)) {
    const value = sources.env[name];
    // An empty variable counts as unset: unit files often hold `NAME=`.
    if (value !== undefined && value !== "") return { values: [value], source: `environment variable ${name}` };
  }
  return findConfigValues(flag, sources.config);
}

function findConfigValues(flag: Flag, config: readonly ConfigEntry[]): FoundValues | undefined {
  const names = flag.commandLineOnly ? [] : [flag.name, ...(flag.aliases ?? [])];
  let found: FoundValues | undefined;
  for (const entry of config.filter(({ key }) => names.includes(key))) {
    const before = entry.append && flag.type === "list" ? found?.values ?? [] : [];
    found = { values: [...before, ...entry.values], source: `"${entry.key}" in ${entry.position}` };
  }
  return found;
}

function parseSwitch(flag: Flag, { values, source }: FoundValues): boolean {
  const value = values.at(-1) ?? "";
  const isOn = parseSwitchWord(value);
  if (isOn === undefined) throw valueError(flag, source, { value, wrong: "is neither true nor false" });
  return isOn;
}

/** What a word says of a switch; `undefined` if it says nothing. */
export function parseSwitchWord(word: string): boolean | undefined {
  if (/^(?:true|t|1|yes|on)$/i.test(word)) return true;
  return /^(?:false|f|0|no|off)$/i.test(word) ? false : undefined;
}

function parseList(flag: Flag & { readonly type: "list" }, { values, source }: FoundValues): readonly string[] {
  const items = values.flatMap((value) => value.split(",")).map((item) => item.trim()).filter((item) => item !== "");
  for (const value of items) {
    const wrong = flag.check?.(value);
    if (wrong !== undefined) throw valueError(flag, source, { value, wrong });
  }
  return [...new Set(items)];
}

function parseText(flag: Flag & { readonly type: "text" | "choice" }, { values, source }: FoundValues): string {
  // `mark-bits` may be written as a list in a config file.
  const value = source.startsWith('"') ? values.join(",") : values.at(-1) ?? "";
  if (flag.type === "text") {
    const wrong = flag.check?.(value);
    if (wrong !== undefined) throw valueError(flag, source, { value, wrong });
    return value;
  }
  if (flag.values.includes(value)) return value;
  throw valueError(flag, source, { value, wrong: `is not one of ${flag.values.join(", ")}`, allowed: flag.values });
}

function valueError(
  flag: Flag,
  source: string,
  fault: { readonly value: string; readonly wrong: string; readonly allowed?: readonly string[] },
): K3slbError {
  return new K3slbError(`Cannot use ${source}: "${fault.value}" ${fault.wrong}`, {
    code: "flag-value",
    hint: didYouMean(fault.value, fault.allowed ?? [], `--${flag.name}: ${flag.help}`),
  });
}
