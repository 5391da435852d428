// The agent's wiring: kubeconfig, client, node name and data plane for `runAgent`. Nothing is decided here.
import { randomBytes } from "node:crypto";
import { createKubeClient, type KubeClientOptions } from "../../core/kube/client.ts";
import type { KubeClient } from "../../core/kube/contract.ts";
import { loadKubeconfig } from "../../core/kube/access/kubeconfig.ts";
import { AGENT_KUBECONFIG_PATHS } from "../../core/kube/access/kubeconfig_paths.ts";
import { createRequestMetrics } from "../../core/kube/request_metrics.ts";
import { findNodeName } from "../../core/node_identity/find_node_name.ts";
import { readHostFacts } from "../../core/node_identity/host_facts.ts";
import { givenAs } from "../../core/node_identity/resolve_node_name.ts";
import type { Clock } from "../../core/runtime/clock.ts";
import { type ServeHealth, startHealthEarly } from "../../core/runtime/health.ts";
import { createMetricRegistry } from "../../core/runtime/metrics.ts";
import { addProcessMetrics } from "../../core/runtime/process_metrics.ts";
import { isAbort } from "../../core/shared/errors.ts";
import type { Logger } from "../../core/shared/log.ts";
import { runAgent } from "../../node_agent/loop/agent.ts";
import { leaveNode } from "../../node_agent/loop/cleanup.ts";
import type { AgentOptions } from "../../node_agent/agent_options.ts";
import { createDataplane, type DataplaneOptions } from "../../node_agent/rules/dataplane.ts";
import { createHostPorts } from "../../node_agent/host/host_ports.ts";

/** What the process is told beside the agent's own settings. */
export interface AgentProcessOptions extends AgentOptions, Pick<DataplaneOptions, "iptablesMode" | "markBits"> {
  /** Path of the kubeconfig; absent: the kubelet's own in the usual places, then in-cluster. */
  readonly kubeconfig?: string;
  /** Absent: found out. */
  readonly nodeName?: string;
  /** Address and port of health and metrics, such as `127.0.0.1:10261`; empty: none. */
  readonly metricsAddress: string;
  /**
   * Take everything back and wait for the end, in place of the agent's work.
   * @default {false}
   */
  readonly removeRules?: boolean;
}

/** The agent's surroundings. */
export interface AgentProcessParts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends the agent. Its rules stay. */
  readonly signal: AbortSignal;
  /** The process's environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly version: string;
  /** Called once, after the first reconcile. */
  readonly notifyReady?: (status: string) => void;
}

/**
 * Runs the agent until `parts.signal` is aborted; rules stay.
 * @throws {K3slbError} if the tools of the data plane, the kubeconfig, the node's name or the metrics address cannot be used
 */
export async function runAgentProcess(options: AgentProcessOptions, parts: AgentProcessParts): Promise<void> {
  const { clock, logger, signal, version } = parts;
  const { iptablesMode, markBits, metricsAddress: address } = options;
  // Ends what still runs when the loop fails by itself.
  const ending = new AbortController();
  const running = AbortSignal.any([signal, ending.signal]);
  let client: KubeClient | undefined;
  const metrics = createMetricRegistry();
  addProcessMetrics(metrics, { program: "agent", version, nowMs: clock.now() });
  // Before the tools and the API server are waited for.
  const health: { readonly serveHealth?: ServeHealth } = address === ""
    ? {}
    : { serveHealth: await startHealthEarly({ address, signal: running, renderMetrics: () => metrics.render() }) };
  try {
    const dataplane = await createDataplane({ iptablesMode, markBits, log: logger, clock, signal });
    client = await connectAgent(options, parts, createRequestMetrics(metrics));
    const nodeName = await agentNodeName(options, { ...parts, client, signal: running });
    if (options.removeRules === true) {
      const onDone = (): void => {
        void health.serveHealth?.({ checks: [], renderMetrics: () => metrics.render() });
        parts.notifyReady?.(`Rules removed from node ${nodeName}`);
      };
      return await leaveNode({ dataplane, cluster: { client, nodeName }, clock, logger, signal: running, onDone });
    }
    await runAgent(options, {
      client,
      dataplane,
      hostPorts: createHostPorts("/proc", { signal: running }),
      clock,
      logger,
      signal: running,
      nodeName,
      metrics,
      instanceId: randomBytes(INSTANCE_BYTES).toString("hex"),
      version,
      ...health,
      notifyReady: () => parts.notifyReady?.(`Forwarding on node ${nodeName}`),
    });
  } catch (error) {
    // A signal during the start is an ordinary end.
    if (!(isAbort(error) && signal.aborted)) throw error;
  } finally {
    ending.abort();
    client?.close();
  }
}

/** A client with the kubelet's own credentials, or with those that were given. */
export async function connectAgent(
  options: Pick<AgentProcessOptions, "kubeconfig">,
  parts: Pick<AgentProcessParts, "clock" | "logger" | "env" | "version">,
  observers: Pick<KubeClientOptions, "onRequest" | "onWatchEnd"> = {},
): Promise<KubeClient> {
  const { clock, logger, env, version } = parts;
  const path = options.kubeconfig === undefined ? {} : { path: options.kubeconfig };
  const access = await loadKubeconfig({ ...path, env, defaultPaths: AGENT_KUBECONFIG_PATHS, clock });
  logger.info("Credentials found", { cluster: access.server, kubeconfig: access.source });
  return createKubeClient({ access, clock, userAgent: `k3slb/${version} agent`, ...observers });
}

/** This node's name, by the chain of `core/node_identity`. */
export async function agentNodeName(
  options: Pick<AgentProcessOptions, "nodeName">,
  parts: Pick<AgentProcessParts, "clock" | "logger" | "signal" | "env"> & { readonly client: KubeClient },
): Promise<string> {
  const { clock, logger, signal, client, env } = parts;
  const given = givenAs(options.nodeName, env);
  const host = await readHostFacts();
  return (await findNodeName({ role: "agent", client, ...given, host, clock, logger, signal })).name;
}

const INSTANCE_BYTES = 4;
