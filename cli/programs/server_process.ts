// The server's wiring: kubeconfig, client, metrics and health for `runServer`. Nothing is decided here.
import { createKubeClient } from "../../core/kube/client.ts";
import { loadKubeconfig } from "../../core/kube/access/kubeconfig.ts";
import { SERVER_KUBECONFIG_PATHS } from "../../core/kube/access/kubeconfig_paths.ts";
import { createRequestMetrics } from "../../core/kube/request_metrics.ts";
import { startHealthServer } from "../../core/runtime/health.ts";
import { createMetricRegistry } from "../../core/runtime/metrics.ts";
import { addProcessMetrics } from "../../core/runtime/process_metrics.ts";
import { runServer, type ServerParts } from "../../core/server.ts";
import type { ServerOptions } from "../../core/server_options.ts";

/** What the process is told beside the server's own settings. */
export interface ServerProcessOptions extends ServerOptions {
  /** Path of the kubeconfig; absent: the usual places, then in-cluster. */
  readonly kubeconfig?: string;
  /** Address and port of health and metrics, such as `127.0.0.1:10260`; empty: none. */
  readonly metricsAddress: string;
}

/** The server's surroundings that the process has. */
export type ServerProcessParts = Pick<ServerParts, "clock" | "logger" | "signal" | "env" | "version" | "notifyReady">;

/**
 * Runs the server until `parts.signal` is aborted.
 *
 * @throws {K3slbError} if the kubeconfig, the node name or the metrics address can't be used
 */
export async function runServerProcess(options: ServerProcessOptions, parts: ServerProcessParts): Promise<void> {
  const { clock, logger, signal, env, version } = parts;
  const { kubeconfig, metricsAddress: address, ...settings } = options;
  const path = kubeconfig === undefined ? {} : { path: kubeconfig };
  const access = await loadKubeconfig({ ...path, env, defaultPaths: SERVER_KUBECONFIG_PATHS, clock });
  logger.info("Credentials found", { cluster: access.server, kubeconfig: access.source });
  const metrics = createMetricRegistry();
  addProcessMetrics(metrics, { program: "server", version, nowMs: clock.now() });
  const client = createKubeClient({
    access,
    clock,
    userAgent: `k3slb/${version} server`,
    ...createRequestMetrics(metrics),
  });
  try {
    await runServer(settings, {
      ...parts,
      client,
      metrics,
      ...(address === "" ? {} : { serveHealth: (endpoint) => startHealthServer({ address, signal, ...endpoint }) }),
    });
  } finally {
    client.close();
  }
}
