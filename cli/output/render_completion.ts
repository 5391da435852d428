// Completion scripts of shells. Pure. The shell says what has been typed, `k3slb complete` what may come next, and where it knows nothing the
// shell offers files.

/** Shells that can be completed for. */
export type Shell = "bash" | "zsh" | "fish";

/** Every shell. */
export const SHELLS: readonly Shell[] = ["bash", "zsh", "fish"];

/** The script for `shell`. */
export function renderCompletion(shell: Shell): string {
  if (shell === "fish") return FISH;
  return shell === "bash" ? BASH : `#compdef k3slb\nautoload -U +X bashcompinit && bashcompinit\n${BASH}`;
}

/** Also for zsh, to which `path` is PATH. */
const BASH = `_k3slb() {
  local IFS=$'\\n'
  COMPREPLY=($(k3slb complete -- "\${COMP_WORDS[@]:1:$COMP_CWORD}" 2>/dev/null | cut -f 1))
}
complete -o default -F _k3slb k3slb
`;

const FISH = `function __k3slb
  set -l found (k3slb complete -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c k3slb -f -a '(__k3slb)'
`;
