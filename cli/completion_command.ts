// `k3slb completion`, and `k3slb complete`, which its scripts call when a key is pressed.
import type { KubeClient, ResourceType } from "../core/kube/contract.ts";
import { objectKey } from "../core/kube/request_path.ts";
import { NAMESPACES, NODES, SERVICES } from "../core/kube/resources.ts";
import type { KubeObject } from "../core/kube/types.ts";

import { readService } from "../core/service/reading.ts";
import { K3slbError } from "../core/shared/errors.ts";
import { didYouMean } from "../core/shared/nearest_name.ts";
import { withCluster } from "./answers/connect_cluster.ts";
import { type Command, defineCommand } from "./command.ts";
import { completionsOf, type NameKind } from "./completions.ts";
import { EXIT_OK } from "./exit_codes.ts";
import { renderCompletion, SHELLS } from "./output/render_completion.ts";
import { COMMAND_LOG_FLAGS, CONFIG_FLAG, KUBECONFIG_FLAG } from "./settings/flags.ts";

/** Prints completion scripts. */
export const COMPLETION_COMMAND = defineCommand({
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
    if (shell === undefined) {
      throw new K3slbError(`There is no completion for "${wanted}"`, {
        code: "usage",
        hint: didYouMean(wanted, SHELLS, `There is one for ${SHELLS.join(", ")}`),
      });
    }
    host.stdout(renderCompletion(shell));
    return Promise.resolve(EXIT_OK);
  },
});

/** Prints what may come next; itself is added to `commands`. */
export function completeCommand(commands: () => readonly Command[]): Command {
  return defineCommand({
    path: ["complete"],
    summary: "List what may come next on a command line, for completion",
    description: [
      "Prints what may stand in place of the last word, one a line with what it means. The scripts of k3slb completion call it. Names of",
      "Services, namespaces and nodes come from the cluster by one request, which is given up after 3 seconds.",
    ].join("\n"),
    operands: { usage: "-- WORD...", min: 1, max: Infinity },
    flags: [KUBECONFIG_FLAG, CONFIG_FLAG, ...COMMAND_LOG_FLAGS],
    examples: [{ command: "k3slb complete -- explain ''", note: "flags, and Services of the cluster" }],
    run: async (settings, context) => {
      const signal = AbortSignal.any([context.signal, AbortSignal.timeout(PATIENCE_MS)]);
      const found = await completionsOf(context.operands, {
        commands: commands(),
        namesOf: (kind) => withCluster(settings, context, (client) => namesIn(client, kind, signal)),
      });
      for (const { word, note } of found) context.host.stdout(`${note === undefined ? word : `${word}\t${note}`}\n`);
      return EXIT_OK;
    },
  });
}

/** Names in the order of the alphabet; Services as `NAMESPACE/NAME`. */
async function namesIn(client: KubeClient, kind: NameKind, signal: AbortSignal): Promise<readonly string[]> {
  if (kind === "services") {
    const { items } = await client.list(SERVICES, { fieldSelector: "spec.type=LoadBalancer", signal });
    return items.filter((service) => readService(service).isLoadBalancer).map(objectKey).sort();
  }
  const type: ResourceType<KubeObject> = kind === "nodes" ? NODES : NAMESPACES;
  const { items } = await client.list(type, { isMetadataOnly: true, signal });
  return items.map(objectKey).sort();
}

const PATIENCE_MS = 3_000;
