// `k3slb completion`.
import { K3slbError } from "../core/shared/errors.ts";
import { type Command, defineCommand } from "./command.ts";
import { EXIT_OK } from "./exit_codes.ts";
import { didYouMean } from "../core/shared/nearest_name.ts";
import { renderCompletion, SHELLS } from "./output/render_completion.ts";

/** The command that prints completion scripts for `commands`; itself is added to them. */
export function completionCommand(commands: () => readonly Command[]): Command {
  return defineCommand({
    path: ["completion"],
    summary: "Print the completion script of a shell: bash, zsh, fish",
    description:
      "Prints a script that completes commands, flags and their values in a shell, and from the cluster names of Services and nodes.",
    operands: { usage: SHELLS.join("|"), min: 1, max: 1 },
    flags: [],
    examples: [
      { command: "source <(k3slb completion bash)", note: "in ~/.bashrc; the same with zsh in ~/.zshrc" },
      { command: "k3slb completion fish | source", note: "in ~/.config/fish/config.fish" },
    ],
    run: (_settings, { host, operands }) => {
      const [wanted = ""] = operands;
      const shell = SHELLS.find((known) => known === wanted);
      if (shell === undefined) throw unknownShell(wanted);
      host.stdout(renderCompletion(shell, commands()));
      return Promise.resolve(EXIT_OK);
    },
  });
}

function unknownShell(name: string): K3slbError {
  return new K3slbError(`There is no completion for "${name}"`, {
    code: "usage",
    hint: didYouMean(name, SHELLS, `There is one for ${SHELLS.join(", ")}`),
  });
}
