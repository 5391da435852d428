// Completion scripts of shells, made from the commands and their flags. Pure. The scripts are complete in themselves, but for names of the
// cluster's objects: for those they start the program, when one is asked for.
import type { Command } from "../command.ts";
import type { Flag } from "../settings/flag.ts";

/** Shells that can be completed for. */
export type Shell = "bash" | "zsh" | "fish";

/** Every shell. */
export const SHELLS: readonly Shell[] = ["bash", "zsh", "fish"];

/** Objects of the cluster whose names can be completed. */
export const NAME_KINDS = ["services", "namespaces", "nodes"] as const;

/** Flags whose value is such a name. */
const NAMED_FLAGS: Readonly<Record<string, typeof NAME_KINDS[number]>> = {
  "namespace": "namespaces",
  "servicelb-namespace": "namespaces",
  "node-name": "nodes",
};

/** A shell's word for the names; a cluster that does not answer has none. */
function askNames(kind: typeof NAME_KINDS[number]): string {
  return `k3slb names ${kind} 2>/dev/null`;
}

/** The script for `shell`. */
export function renderCompletion(shell: Shell, commands: readonly Command[]): string {
  if (shell === "fish") return renderFish(commands);
  const bash = renderBash(commands);
  if (shell === "bash") return `${bash}complete -o default -F _k3slb k3slb\n`;
  return `#compdef k3slb\nautoload -U +X bashcompinit && bashcompinit\n${bash}complete -o default -F _k3slb k3slb\n`;
}

function renderBash(commands: readonly Command[]): string {
  const places = placesOf(commands);
  const cases = places.map(({ path, words, flags, takesPath, takesService }) => {
    const rest = [...flags.flatMap(flagWords), ...(path.length === 0 ? ["--help", "--version"] : ["--help"])];
    // A place for a path is left to the shell unless a flag has been begun.
    const begun = takesPath ? "[[ $current != -* ]] || " : "";
    const names = takesService ? `; [[ $current == -* ]] || words="$words $(${askNames("services")})"` : "";
    return `    ${quote(path.join(" "))}) ${begun}words=${quote([...words, ...rest].join(" "))}${names} ;;`;
  });
  const valued = distinctFlags(commands).filter((flag) => flag.type !== "switch");
  const values = valued.map((flag) => {
    const names = [`--${flag.name}`, ...(flag.short === undefined ? [] : [`-${flag.short}`])];
    const kind = NAMED_FLAGS[flag.name];
    const words = kind === undefined
      ? quote(flag.type === "choice" ? flag.values.join(" ") : "")
      : `"$(${askNames(kind)})"`;
    return `    ${names.join("|")}) words=${words} ;;`;
  });
  return `_k3slb() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} place= word words= before=
  # To zsh "path" is PATH, and a length that begins with a letter a modifier.
  # bash takes "=" for a word of its own, zsh does not.
  if [[ $current == = ]]; then current=
  elif [[ $previous == = ]]; then previous=\${COMP_WORDS[COMP_CWORD-2]}
  elif [[ $current == --*=* ]]; then previous=\${current%%=*} before=\${current%%=*}= current=\${current#*=}
  fi
  for word in "\${COMP_WORDS[@]:1:$((COMP_CWORD-1))}"; do
    case "\${place:+$place }$word" in
      ${wordsOf(places).map(quote).join("|")}) place="\${place:+$place }$word" ;;
    esac
  done
  case "$previous" in
${values.join("\n")}
    *) case "$place" in
${cases.join("\n")}
    esac ;;
  esac
  COMPREPLY=($(compgen -P "$before" -W "$words" -- "$current"))
}
`;
}

function renderFish(commands: readonly Command[]): string {
  const places = placesOf(commands);
  const known = wordsOf(places).map((words) => quote(` ${words}`)).join(" ");
  const lines = [
    "function __k3slb_at",
    "  set -l place ''",
    "  for word in (commandline -opc)[2..]",
    `    contains -- "$place $word" ${known}; and set place "$place $word"`,
    "  end",
    '  test "$place" = "$argv[1]"',
    "end",
    "complete -c k3slb -f",
  ];
  for (const { path, words, flags, takesPath, takesService } of places) {
    const start = `complete -c k3slb -n ${quote(`__k3slb_at "${path.map((word) => ` ${word}`).join("")}"`)}`;
    for (const word of words) {
      const summary = commands.find((command) => command.path.join(" ") === [...path, word].join(" "))?.summary;
      lines.push(`${start} -a ${word}${summary === undefined ? "" : ` -d ${quote(summary)}`}`);
    }
    if (takesPath) lines.push(`${start} -F`);
    if (takesService) lines.push(`${start} -a ${quote(`(${askNames("services")})`)}`);
    lines.push(`${start} -l help -s h -d ${quote("Show help")}`);
    for (const flag of flags) {
      const kind = NAMED_FLAGS[flag.name];
      const value = kind !== undefined
        ? ` -x -a ${quote(`(${askNames(kind)})`)}`
        : flag.type === "choice"
        ? ` -x -a ${quote(flag.values.join(" "))}`
        : flag.placeholder === "PATH"
        ? " -r -F"
        : flag.type === "switch"
        ? ""
        : " -x";
      const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
      lines.push(`${start} -l ${flag.name}${short}${value} -d ${quote(flag.help)}`);
      if (flag.type === "switch" && flag.default) {
        lines.push(`${start} -l no-${flag.name} -d ${quote(`Off: ${flag.help}`)}`);
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

/** Where one can be on a command line: at the program, at a word that only stands before commands, or at a command. */
interface Place {
  readonly path: readonly string[];
  /** Words that may come next: commands below, or what the command takes. */
  readonly words: readonly string[];
  readonly flags: readonly Flag[];
  readonly takesPath: boolean;
  /** Whether a Service of the cluster is named here. */
  readonly takesService: boolean;
}

function placesOf(commands: readonly Command[]): readonly Place[] {
  const all = [[], ...commands.flatMap(({ path }) => path.map((_, index) => path.slice(0, index + 1)))];
  const distinct = [...new Map(all.map((path) => [path.join(" "), path])).values()];
  return distinct.map((path) => {
    const command = commands.find((candidate) => candidate.path.join(" ") === path.join(" "));
    const usage = command?.operands?.usage ?? "";
    const operands = /^[a-z]+(?:\|[a-z]+)+$/.test(usage) ? usage.split("|") : [];
    const words = [...childWords(path, commands), ...operands];
    return {
      path,
      words,
      flags: command?.flags ?? [],
      takesPath: usage === "[PATH]",
      takesService: usage === SERVICE_USAGE,
    };
  });
}

/** The words of all places that have some, such as `manifests list`. */
function wordsOf(places: readonly Place[]): readonly string[] {
  return places.map(({ path }) => path.join(" ")).filter((words) => words !== "");
}

/** Next words of the commands that start with `path`. */
function childWords(path: readonly string[], commands: readonly Command[]): readonly string[] {
  const starts = commands.filter((command) =>
    command.path.length > path.length && path.every((word, index) => command.path[index] === word)
  );
  return [...new Set(starts.map((command) => command.path[path.length] ?? ""))];
}

function flagWords(flag: Flag): readonly string[] {
  const off = flag.type === "switch" && flag.default ? [`--no-${flag.name}`] : [];
  return [`--${flag.name}`, ...off];
}

function distinctFlags(commands: readonly Command[]): readonly Flag[] {
  return [...new Map(commands.flatMap((command) => command.flags).map((flag) => [flag.name, flag])).values()];
}

const SERVICE_USAGE = "[NAMESPACE/]NAME";

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
