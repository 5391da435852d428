// `k3slb agent`.
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { createSystemdNotifier } from "../../core/runtime/notify_systemd.ts";
import { type AgentProcessOptions, runAgentProcess } from "./agent_process.ts";
import { buildInfo } from "../build_info.ts";
import { defineCommand } from "../command.ts";
import { EXIT_OK } from "../exit_codes.ts";
import type { Settings } from "../settings/flag.ts";
import { AGENT_FLAGS, COMMON_FLAGS } from "../settings/flags.ts";
import { givenIdentity } from "./given_identity.ts";

const FLAGS = [...COMMON_FLAGS, ...AGENT_FLAGS] as const;

/** Runs this node's forwarder until a signal ends it. */
export const AGENT_COMMAND = defineCommand({
  path: ["agent"],
  summary: "Run this node's forwarder: programs iptables for the Services that the node serves",
  description: [
    "Forwards a node's address and a Service's port to the Service's pods. Uses the kubelet's own credentials, so the API",
    "server holds it to its own node. Rules stay in the kernel when the agent stops.",
  ].join("\n"),
  flags: FLAGS,
  examples: [
    { command: "k3slb agent", note: "kubelet's kubeconfig from the usual places" },
    { command: "k3slb agent --node-name worker-1", note: "when the name cannot be found" },
    { command: "k3slb agent --reserved-ports 2222/tcp,6443/tcp", note: "SSH is elsewhere, so a Service may have 22" },
    { command: "k3slb agent cleanup", note: "remove all rules" },
  ],
  pitfalls: [
    "A port that a process of the host listens on is not taken; the Service says PortInUse and whose it is.",
    "Stopping the agent does not stop traffic. Use k3slb agent cleanup for that.",
    "Needs CAP_NET_ADMIN and a readable kubeconfig; the unit file that comes with the program gives it both.",
  ],
  run: async (settings, { host, log, signal }) => {
    const notifier = createSystemdNotifier({ env: host.env, logger: log });
    signal.addEventListener("abort", () => void notifier.stopping(), { once: true });
    await runAgentProcess(agentOptions(settings), {
      clock: SYSTEM_CLOCK,
      logger: log,
      signal,
      env: host.env,
      version: buildInfo().version,
      notifyReady: (status) => void notifier.ready(status),
    });
    return EXIT_OK;
  },
});

/** The agent's options as its settings and the process's environment say. */
export function agentOptions(settings: Settings<typeof FLAGS>): AgentProcessOptions {
  return {
    ...givenIdentity(settings),
    servicelbNamespace: settings["servicelb-namespace"],
    iptablesMode: settings["iptables-mode"],
    allowPortOverride: settings["allow-port-override"],
    reservedPorts: settings["reserved-ports"],
    maxServiceRules: Number(settings["max-service-rules"]),
    markBits: settings["mark-bits"],
    askNodes: settings["ask-nodes"],
    metricsAddress: settings["metrics-address"],
    removeRules: settings["remove-rules"],
  };
}
