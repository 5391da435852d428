// What a flag is: one value that a command can be told by flag, environment variable or config file, and the type of its result.
// The flags themselves are in flags.ts; how sources are put in order is in resolve_settings.ts. Pure.

interface FlagBase {
  /** Name in kebab-case; also the key in config files, and `K3SLB_` plus this name in capitals is its environment variable. */
  readonly name: string;
  readonly short?: string;
  /** One line for help and docs/flags.md; no final period. */
  readonly help: string;
  /** Further environment variables, K3s's own first; ours wins over them. */
  readonly otherEnv?: readonly string[];
  /** Older names that are accepted as flag and config key. */
  readonly aliases?: readonly string[];
  /** Only on the command line: no environment variable and no config key. */
  readonly commandLineOnly?: boolean;
  /** Stands for the value in help, such as `PATH`. */
  readonly placeholder?: string;
}

/** Says what is wrong with a value as the end of a sentence ("is not a port"), or nothing if it is right. */
export type ValueCheck = (value: string) => string | undefined;

/** A flag with any text as value. */
export interface TextFlag extends FlagBase {
  readonly type: "text";
  readonly default?: string;
  readonly check?: ValueCheck;
}

/** A flag with one of a few values. */
export interface ChoiceFlag extends FlagBase {
  readonly type: "choice";
  readonly values: readonly string[];
  readonly default: string;
}

/** A flag with several values, by commas or repetition. */
export interface ListFlag extends FlagBase {
  readonly type: "list";
  readonly default: readonly string[];
  /** Applied to each value. */
  readonly check?: ValueCheck;
}

/** A flag that is on or off; `--no-NAME` and `--NAME=false` turn it off. */
export interface SwitchFlag extends FlagBase {
  readonly type: "switch";
  readonly default: boolean;
}

/** One value that a command can be told. */
export type Flag = TextFlag | ChoiceFlag | ListFlag | SwitchFlag;

/** What a flag has beside its name and help. */
type More<F extends Flag> = Omit<F, "name" | "type" | "help">;

/** A flag with any text as value. */
export function textFlag<const N extends string, const M extends More<TextFlag>>(
  name: N,
  help: string,
  more: M,
): TextFlag & { readonly name: N } & M {
  return { name, type: "text", help, ...more };
}

/** A flag with one of a few values. */
export function choiceFlag<const N extends string, const M extends More<ChoiceFlag>>(
  name: N,
  help: string,
  more: M,
): ChoiceFlag & { readonly name: N } & M {
  return { name, type: "choice", help, ...more };
}

/** A flag with several values; none unless `more` says which. */
export function listFlag<const N extends string>(
  name: N,
  help: string,
  more: Partial<More<ListFlag>> = {},
): ListFlag & { readonly name: N } {
  return { name, type: "list", default: [], help, ...more };
}

/** A flag that is on or off; off unless `more` says otherwise. */
export function switchFlag<const N extends string>(
  name: N,
  help: string,
  more: Partial<More<SwitchFlag>> = {},
): SwitchFlag & { readonly name: N } {
  return { name, type: "switch", default: false, help, ...more };
}

/** The type of a flag's value after all sources were read. */
export type FlagValue<F extends Flag> = F extends { readonly type: "switch" } ? boolean
  : F extends { readonly type: "list" } ? readonly string[]
  : F extends { readonly type: "choice"; readonly values: readonly (infer V)[] } ? V
  : F extends { readonly type: "text"; readonly default: string } ? string
  : string | undefined;

/** Values of all flags of a command, by flag name. */
export type Settings<Flags extends readonly Flag[]> = {
  readonly [F in Flags[number] as F["name"]]: FlagValue<F>;
};

/** The environment variable of a flag that is this program's own. */
export function ownEnvName(flagName: string): string {
  return `K3SLB_${flagName.replaceAll("-", "_").toUpperCase()}`;
}

/** Every environment variable that sets a flag, strongest first. */
export function envNames(flag: Flag): readonly string[] {
  return flag.commandLineOnly ? [] : [ownEnvName(flag.name), ...(flag.otherEnv ?? [])];
}
