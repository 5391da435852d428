// `k3slb agent cleanup`.
import type { KubeClient } from "../../core/kube/contract.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { errorMessage } from "../../core/shared/errors.ts";
import { cleanUp, type CleanUpOptions } from "../../node_agent/loop/cleanup.ts";
import { createDataplane } from "../../node_agent/rules/dataplane.ts";
import { agentNodeName, connectAgent } from "./agent_process.ts";
import { buildInfo } from "../build_info.ts";
import { type CommandContext, defineCommand } from "../command.ts";
import { EXIT_OK } from "../exit_codes.ts";
import { COMMAND_LOG_FLAGS, CONFIG_FLAG, DATAPLANE_FLAGS, KUBECONFIG_FLAG, NODE_NAME_FLAG } from "../settings/flags.ts";
import { type GivenIdentity, givenIdentity } from "./given_identity.ts";

/** Removes everything that the agent made on this node. */
export const AGENT_CLEANUP_COMMAND = defineCommand({
  path: ["agent", "cleanup"],
  summary: "Remove all rules that the agent made on this node",
  description: [
    "Removes every chain and jump that the agent made, in both iptables backends, then closes the gates of this node's",
    "pods and takes the node's condition away if the API server answers. Safe to run twice.",
  ].join("\n"),
  flags: [KUBECONFIG_FLAG, NODE_NAME_FLAG, CONFIG_FLAG, ...COMMAND_LOG_FLAGS, ...DATAPLANE_FLAGS],
  examples: [{ command: "k3slb agent cleanup", note: "after the agent was stopped for good" }],
  pitfalls: ["A running agent puts its rules back within seconds: stop it first."],
  run: async (settings, context) => {
    const { host, log, signal } = context;
    const { "iptables-mode": iptablesMode, "mark-bits": markBits } = settings;
    const dataplane = await createDataplane({ iptablesMode, markBits, log, signal });
    const cluster = await findCluster(givenIdentity(settings), context);
    const connected = cluster === undefined ? {} : { cluster };
    try {
      const { removed, warnings } = await cleanUp({ dataplane, ...connected, clock: SYSTEM_CLOCK, signal });
      for (const line of removed) host.stdout(`${line}\n`);
      if (removed.length === 0) host.stdout("Nothing to remove\n");
      for (const warning of warnings) log.warn("Cannot clean up in the cluster", { why: warning });
    } finally {
      cluster?.client.close();
    }
    return EXIT_OK;
  },
});

/** The cluster and this node's name in it; nothing if the cluster can't be asked: the kernel is cleaned all the same. */
async function findCluster(
  given: GivenIdentity,
  { host, log, signal }: CommandContext,
): Promise<CleanUpOptions["cluster"]> {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(CLUSTER_TIMEOUT_MS)]);
  const parts = { clock: SYSTEM_CLOCK, logger: log, env: host.env, version: buildInfo().version, signal: limited };
  let client: KubeClient | undefined;
  try {
    client = await connectAgent(given, parts);
    return { client, nodeName: await agentNodeName(given, { ...parts, client }) };
  } catch (error) {
    client?.close();
    signal.throwIfAborted();
    log.warn("The cluster cannot be asked; only the kernel is cleaned", { why: errorMessage(error) });
    return undefined;
  }
}

const CLUSTER_TIMEOUT_MS = 10_000;
