// Completion scripts of shells, made from the commands and their flags. Pure. The scripts are complete in themselves: they never start
// the program, so a key press costs nothing.
import type { Command } from "../command.ts";
import type { Flag } from "../flag.ts";

/** Shells that can be completed for. */
export type Shell = "bash" | "zsh" | "fish";

/** Every shell. */
export const SHELLS: readonly Shell[] = ["bash", "zsh", "fish"];

/** The script for `shell`. */
export function renderCompletion(shell: Shell, commands: readonly Command[]): string {
  if (shell === "fish") return renderFish(commands);
  const bash = renderBash(commands);
  if (shell === "bash") return `${bash}complete -o default -F _k3slb k3slb\n`;
  return `#compdef k3slb\nautoload -U +X bashcompinit && bashcompinit\n${bash}complete -o default -F _k3slb k3slb\n`;
}

function renderBash(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const words = [...childWords(command.path, commands), ...command.flags.flatMap(flagWords), "--help"];
    return `    ${quote(command.path.join(" "))}) words=${quote(words.join(" "))} ;;`;
  });
  const choices = distinctFlags(commands).filter((flag) => flag.type === "choice").map((flag) =>
    `    --${flag.name}) words=${quote(flag.values.join(" "))} ;;`
  );
  const paths = distinctFlags(commands).filter((flag) => flag.placeholder === "PATH").map((flag) => `--${flag.name}`);
  return `_k3slb() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} path= word words=
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "\${path:+$path }$word" in
      ${commands.map((command) => quote(command.path.join(" "))).join("|")}) path="\${path:+$path }$word" ;;
    esac
  done
  case "$previous" in
    ${paths.join("|")}) return ;;
${choices.join("\n")}
  esac
  [ -n "$words" ] || case "$path" in
    '') words=${quote([...childWords([], commands), "--help", "--version"].join(" "))} ;;
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
`;
}

function renderFish(commands: readonly Command[]): string {
  const lines = ["complete -c k3slb -f"];
  for (const command of commands) {
    const [name = "", sub] = command.path;
    const seen = sub === undefined ? "__fish_use_subcommand" : `__fish_seen_subcommand_from ${name}`;
    lines.push(`complete -c k3slb -n ${quote(seen)} -a ${sub ?? name} -d ${quote(command.summary)}`);
    if (sub !== undefined) continue;
    for (const flag of command.flags) {
      const value = flag.type === "choice"
        ? ` -x -a ${quote(flag.values.join(" "))}`
        : flag.placeholder === "PATH"
        ? " -r -F"
        : flag.type === "switch"
        ? ""
        : " -x";
      const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
      const condition = quote(`__fish_seen_subcommand_from ${name}`);
      lines.push(`complete -c k3slb -n ${condition} -l ${flag.name}${short}${value} -d ${quote(flag.help)}`);
    }
  }
  return `${lines.join("\n")}\n`;
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

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
