// `k3slb server`.
import type { ServerOptions } from "../core/server_options.ts";
import { defineCommand, EXIT_OK } from "./command.ts";
import type { Settings } from "./flag.ts";
import { COMMON_FLAGS, SERVER_FLAGS } from "./flags.ts";

const FLAGS = [...COMMON_FLAGS, ...SERVER_FLAGS] as const;

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
  run: async (settings, { log, signal }) => {
    log.info("server is starting", { dataplane: serverOptions(settings).dataplane });
    await untilAborted(signal);
    return EXIT_OK;
  },
});

/** The server's options as its settings say. */
export function serverOptions(settings: Settings<typeof FLAGS>): ServerOptions {
  return {
    ...optional("kubeconfig", settings.kubeconfig),
    ...optional("nodeName", settings["node-name"]),
    dataDir: settings["data-dir"],
    disable: settings.disable,
    dataplane: settings.dataplane,
    servicelbNamespace: settings["servicelb-namespace"],
    lbImage: settings["lb-image"],
    pauseImage: settings["pause-image"],
    helmJobImage: settings["helm-job-image"],
    systemDefaultRegistry: settings["system-default-registry"],
    lbClass: settings["lb-class"],
    lbDefault: settings["lb-default"],
    statusAddresses: settings["status-addresses"],
    clusterDns: settings["cluster-dns"],
    clusterDomain: settings["cluster-domain"],
    pruneDeletedManifests: settings["prune-deleted-manifests"],
    leaderElect: settings["leader-elect"],
    metricsAddress: settings["metrics-address"],
  };
}

function optional<K extends string>(key: K, value: string | undefined): { readonly [P in K]?: string } {
  return value === undefined ? {} : { [key]: value } as { readonly [P in K]: string };
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const keepAlive = setInterval(() => {}, 60_000);
    signal.addEventListener("abort", () => {
      clearInterval(keepAlive);
      resolve();
    }, { once: true });
  });
}
