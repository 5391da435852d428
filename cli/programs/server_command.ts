// `k3slb server`.
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { createSystemdNotifier } from "../../core/runtime/notify_systemd.ts";
import { buildInfo } from "../build_info.ts";
import { defineCommand } from "../command.ts";
import { EXIT_OK } from "../exit_codes.ts";
import type { Settings } from "../settings/flag.ts";
import { AGENT_FLAGS, COMMON_FLAGS, DATA_DIR_FLAG, SERVER_FLAGS } from "../settings/flags.ts";
import { givenIdentity } from "./given_identity.ts";
import { runServerProcess, type ServerProcessOptions } from "./server_process.ts";

const FLAGS = [...COMMON_FLAGS, DATA_DIR_FLAG, ...SERVER_FLAGS] as const;

/** Runs the control plane until a signal ends it. */
export const SERVER_COMMAND = defineCommand({
  path: ["server"],
  summary: "Run the control plane: load balancers, manifests folder, packaged parts, Helm charts",
  description: [
    "Gives Services of type LoadBalancer the addresses of the nodes that serve them, applies the files of the manifests",
    "folder, and deploys CoreDNS and Traefik. Needs an administrator's kubeconfig or the RBAC manifest that comes with",
    "the program. May run on several control plane nodes: one is active.",
  ].join("\n"),
  flags: FLAGS,
  examples: [
    { command: "k3slb server", note: "kubeconfig from the usual places" },
    { command: "k3slb server --disable traefik,coredns", note: "only load balancers and manifests" },
    { command: "k3slb server --dataplane pods", note: "no agent on the nodes, pods forward as in K3s" },
    { command: "k3slb server --agent --no-leader-elect", note: "everything for a single node" },
  ],
  pitfalls: [
    "--disable removes what was deployed before, on every start; it is not the same as leaving a file out.",
    "All servers of a cluster need the same flags: the active one decides.",
    "With --dataplane agent a node serves nothing until k3slb agent runs on it.",
    "With --agent the agent's own settings come from environment and config file.",
    "Not beside a running K3s server: turn its servicelb off or it will fight for the same objects.",
  ],
  run: async (settings, { host, log, signal, resolveOther }) => {
    const notifier = createSystemdNotifier({ env: host.env, logger: log });
    signal.addEventListener("abort", () => void notifier.stopping(), { once: true });
    const ending = new AbortController();
    const parts = {
      clock: SYSTEM_CLOCK,
      logger: log,
      signal: AbortSignal.any([signal, ending.signal]),
      env: host.env,
      version: buildInfo().version,
    };
    // Before the server runs, as nobody would look at its end meanwhile; only then, as a server without it need not hold it.
    const agent = settings.agent
      ? { ...await import("./agent_command.ts"), ...await import("./agent_process.ts") }
      : undefined;
    const server = runServerProcess(serverOptions(settings), {
      ...parts,
      notifyReady: (status) => void notifier.ready(status),
    });
    const programs = [server];
    if (agent !== undefined) {
      const options = agent.agentOptions({ ...settings, ...resolveOther(AGENT_FLAGS) });
      const isShared = options.metricsAddress === settings["metrics-address"];
      if (isShared) log.warn("The agent has no health and metrics of its own: its address is the server's");
      programs.push(agent.runAgentProcess(isShared ? { ...options, metricsAddress: "" } : options, parts));
    }
    try {
      await Promise.all(programs);
    } finally {
      // If one fails the other ends too, so that the process ends and is started again as a whole.
      ending.abort();
      await Promise.allSettled(programs);
    }
    return EXIT_OK;
  },
});

/** The server's options as its settings and the process's environment say. */
export function serverOptions(settings: Settings<typeof FLAGS>): ServerProcessOptions {
  return {
    ...givenIdentity(settings),
    dataDir: settings["data-dir"],
    disable: settings.disable,
    enable: settings.enable,
    dataplane: settings.dataplane,
    reservePorts: settings["reserve-ports"],
    servicelbNamespace: settings["servicelb-namespace"],
    lbImage: settings["lb-image"],
    pauseImage: settings["pause-image"],
    helmJobImage: settings["helm-job-image"],
    helmNamespaces: settings["helm-namespaces"],
    helmClusterRole: settings["helm-cluster-role"],
    systemDefaultRegistry: settings["system-default-registry"],
    lbClass: settings["lb-class"],
    lbDefault: settings["lb-default"],
    statusAddresses: settings["status-addresses"],
    ...nodePortRange(settings["service-node-port-range"]),
    ...publishedAddresses(settings["published-addresses"]),
    clusterDns: settings["cluster-dns"],
    clusterDomain: settings["cluster-domain"],
    dnsUpstreams: settings["dns-upstream"],
    dnsHosts: settings["dns-hosts"].map((entry) => {
      const [name = "", ip = ""] = entry.split("=");
      return { name, ip };
    }),
    pruneDeletedManifests: settings["prune-deleted-manifests"],
    repairManifests: settings["repair-manifests"],
    honorExcludeLabel: settings["honor-exclude-label"],
    askNodes: settings["ask-nodes"],
    leaderElect: settings["leader-elect"],
    metricsAddress: settings["metrics-address"],
  };
}

function nodePortRange(text: string): Pick<ServerProcessOptions, "nodePortRange"> {
  const [from, to] = text.split("-").map(Number);
  return to === undefined || from === undefined ? {} : { nodePortRange: { from, to } };
}

/** Entries `NODE=IP` by node. */
function publishedAddresses(entries: readonly string[]): Pick<ServerProcessOptions, "publishedAddresses"> {
  if (entries.length === 0) return {};
  const pairs = entries.map((entry) => entry.split("="));
  const byNode = Map.groupBy(pairs, ([node = ""]) => node.toLowerCase());
  return { publishedAddresses: new Map([...byNode].map(([node, own]) => [node, own.map(([, ip = ""]) => ip)])) };
}
