// `k3slb check`: whether this host can forward, and the cluster has what is needed.
import { SYSTEM_CLOCK } from "../core/runtime/clock.ts";
import { errorMessage, isK3slbError } from "../core/shared/errors.ts";
import { createExec } from "../node_agent/host/exec.ts";
import { agentNodeName, connectAgent } from "./agent_process.ts";
import { buildInfo } from "./build_info.ts";
import { checkRows, type ClusterFacts, failures, type NoCluster, renderChecks } from "./check/checks.ts";
import { readCluster, readHost } from "./check/read_facts.ts";
import { lineWidth } from "./answers.ts";
import { renderForm } from "./output/render_form.ts";
import { type CommandContext, defineCommand } from "./command.ts";
import {
  CONFIG_FLAG,
  DATAPLANE_FLAGS,
  KUBECONFIG_FLAG,
  LOG_FLAGS,
  NODE_NAME_FLAG,
  OUTPUT_FLAG,
  SERVER_FLAGS,
} from "./flags.ts";
import { type GivenIdentity, givenIdentity } from "./given_identity.ts";

/** Looks at this host and its cluster. */
export const CHECK_COMMAND = defineCommand({
  path: ["check"],
  summary: "Check whether this host can forward, and what the cluster says of it",
  description: [
    "Looks at what an agent needs of this host (iptables, forwarding, connection tracking, firewalls of others) and, with the",
    "agent's credentials or those given, at this host's Node and other load balancers. One line each: found well, failed with",
    "what to do, or skipped and why. The exit code is the number of failures, at most 99. Leaves nothing behind.",
  ].join("\n"),
  flags: [KUBECONFIG_FLAG, NODE_NAME_FLAG, OUTPUT_FLAG, CONFIG_FLAG, ...LOG_FLAGS, ...DATAPLANE_FLAGS],
  examples: [
    { command: "k3slb check", note: "before or after the install, as root on a node" },
    { command: "k3slb check -o json", note: "for programs" },
  ],
  run: async (settings, context) => {
    const { host, signal } = context;
    const found = await readHost({ exec: createExec(), host, mode: settings["iptables-mode"], signal });
    const rows = checkRows(found, await lookAtCluster(givenIdentity(settings), context));
    host.stdout(renderForm(rows, settings.output, () => renderChecks(rows, lineWidth(context))));
    return failures(rows);
  },
});

async function lookAtCluster(given: GivenIdentity, context: CommandContext): Promise<ClusterFacts | NoCluster> {
  const signal = AbortSignal.any([context.signal, AbortSignal.timeout(CLUSTER_TIMEOUT_MS)]);
  const logger = context.log;
  const parts = { clock: SYSTEM_CLOCK, logger, env: context.host.env, version: buildInfo().version, signal };
  try {
    const client = await connectAgent(given, parts);
    try {
      return await readCluster(client, {
        findNode: () => agentNodeName(given, { ...parts, client }),
        takesAll: context.resolveOther(SERVER_FLAGS)["lb-default"],
        signal,
      });
    } finally {
      client.close();
    }
  } catch (error) {
    context.signal.throwIfAborted();
    if (isK3slbError(error, "kubeconfig-not-found") && given.kubeconfig === undefined) {
      return { reason: "no credentials for a cluster were found", isFailure: false };
    }
    return { reason: signal.aborted ? "no answer in time" : errorMessage(error), isFailure: true };
  }
}

const CLUSTER_TIMEOUT_MS = 15_000;
