// `k3slb check`: whether this host can forward, and the cluster has what is needed.
import type { KubeClient } from "../../core/kube/contract.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { errorMessage, isK3slbError } from "../../core/shared/errors.ts";
import { createExec } from "../../node_agent/host/exec.ts";
import { agentNodeName, connectAgent } from "../programs/agent_process.ts";
import { buildInfo } from "../build_info.ts";
import { checkRows, failures, type NoCluster, renderChecks } from "./checks.ts";
import type { ClusterFacts } from "./cluster_checks.ts";
import { readCluster } from "./read_cluster.ts";
import { readHost } from "./read_host.ts";
import { lineWidth } from "../answers/answers.ts";
import { renderForm } from "../output/render_form.ts";
import { type CommandContext, defineCommand } from "../command.ts";
import { withCluster } from "../answers/connect_cluster.ts";
import {
  CLUSTER_FLAGS,
  COMMAND_LOG_FLAGS,
  CONFIG_FLAG,
  DATAPLANE_FLAGS,
  NODE_NAME_FLAG,
  OUTPUT_FLAG,
  SERVER_FLAGS,
} from "../settings/flags.ts";
import { choiceFlag, type Flag, type Settings, switchFlag } from "../settings/flag.ts";
import { givenIdentity } from "../programs/given_identity.ts";

const FLAGS = [
  choiceFlag("program", "Whose credentials are looked at, and whose rights: agent, server", {
    values: ["agent", "server"],
    default: "agent",
    commandLineOnly: true,
    placeholder: "NAME",
  }),
  switchFlag("pre", "Before the install: what the first server brings along need not be there", {
    commandLineOnly: true,
  }),
  ...CLUSTER_FLAGS,
  NODE_NAME_FLAG,
  OUTPUT_FLAG,
  CONFIG_FLAG,
  ...COMMAND_LOG_FLAGS,
  ...DATAPLANE_FLAGS,
] as const satisfies readonly Flag[];

/** Looks at this host and its cluster. */
export const CHECK_COMMAND = defineCommand({
  path: ["check"],
  summary: "Check whether this host can forward, and what the cluster says of it",
  description: [
    "Looks at what an agent needs of this host (iptables, forwarding, connection tracking, firewalls of others, kube-proxy) and,",
    "with the agent's credentials or those given, at this host's Node, what these credentials may do, ports that processes of this",
    "host have, other load balancers and the versions of server and agents. One line each: passed, failed with what to do, or",
    "skipped and why. The exit code is the number of failures, at most 99. Leaves nothing behind.",
  ].join("\n"),
  flags: FLAGS,
  examples: [
    { command: "k3slb check", note: "after the install, as root on a node" },
    { command: "k3slb check --pre", note: "before it" },
    { command: "k3slb check --program server", note: "what the server's credentials may do" },
    { command: "k3slb check -o json", note: "for programs" },
  ],
  run: async (settings, context) => {
    const { host, signal } = context;
    const found = await readHost({ exec: createExec(), host, mode: settings["iptables-mode"], signal });
    const rows = checkRows(found, await lookAtCluster(settings, context));
    host.stdout(renderForm(rows, settings.output, () => renderChecks(rows, lineWidth(context))));
    return failures(rows);
  },
});

async function lookAtCluster(
  settings: Settings<typeof FLAGS>,
  context: CommandContext,
): Promise<ClusterFacts | NoCluster> {
  const { program, pre, kubeconfig } = settings;
  const given = givenIdentity(settings);
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(CLUSTER_TIMEOUT_MS)]);
  const logger = context.log;
  const parts = { clock: SYSTEM_CLOCK, logger, env: context.host.env, version: buildInfo().version, signal };
  const server = context.resolveOther(SERVER_FLAGS);
  try {
    const read = (client: KubeClient): Promise<ClusterFacts> =>
      readCluster(client, {
        findNode: () => agentNodeName(given, { ...parts, client }),
        program,
        isBefore: pre,
        claim: { lbClass: server["lb-class"], lbDefault: server["lb-default"] },
        servicelbNamespace: settings["servicelb-namespace"],
        version: parts.version,
        host: context.host,
        signal,
      });
    if (program === "server") return await withCluster({ kubeconfig, asServer: true }, context, read);
    const client = await connectAgent(given, parts);
    try {
      return await read(client);
    } finally {
      client.close();
    }
  } catch (error) {
    context.signal.throwIfAborted();
    if (isK3slbError(error, "kubeconfig-not-found") && given.kubeconfig === undefined) {
      return { reason: "no credentials were found; --kubeconfig names some", isFailure: false };
    }
    if (signal.aborted) return { reason: "no answer in time", isFailure: true };
    const { hint } = isK3slbError(error) ? error : {};
    return { reason: errorMessage(error), isFailure: true, ...(hint === undefined ? {} : { remedy: hint }) };
  }
}

const CLUSTER_TIMEOUT_MS = 15_000;
