/**
 * k3slb as a library: K3s's service load balancer, manifests folder and Helm controller for any Kubernetes cluster.
 *
 * The decisions are pure functions: facts in, wanted state out. What they say can be looked at without a cluster and without a
 * kernel. This prints the rules with which a node forwards its port 80 to one pod:
 *
 * ```ts
 * import { DEFAULT_MARK_BITS, desiredRuleSet, parseMarkBits, renderRuleSet } from "./mod.ts";
 *
 * const { ruleSet } = desiredRuleSet(
 *   {
 *     podCidrs: ["10.42.0.0/24"],
 *     ports: [{
 *       namespace: "default",
 *       service: "web",
 *       portName: "http",
 *       protocol: "TCP",
 *       port: 80,
 *       families: ["IPv4"],
 *       trafficPolicy: "Cluster",
 *       endpoints: [{ ip: "10.42.0.7", port: 8080, local: true }],
 *     }],
 *   },
 *   "IPv4",
 *   { marks: parseMarkBits(DEFAULT_MARK_BITS), features: { randomFully: true, sctp: true, recent: true } },
 * );
 * console.log(renderRuleSet(ruleSet));
 * ```
 *
 * {@linkcode runServer} and {@linkcode runAgent} are the two programs; everything that they touch (API server, kernel, clock,
 * log, signal) is handed to them.
 *
 * @module
 */

export { type ComponentName, type ServerOptions } from "./core/server_options.ts";
export { runServer, type ServerParts } from "./core/server.ts";
export * from "./core/shared/errors.ts";
export * from "./core/shared/ip.ts";
export * from "./core/shared/log.ts";
export * from "./core/shared/systemd_unit.ts";
export * from "./core/runtime/clock.ts";
export * from "./core/service/labels.ts";

export { createKubeClient, type KubeClientOptions } from "./core/kube/client.ts";
export * from "./core/kube/contract.ts";
export { isConflict, isForbidden, isNotFound } from "./core/kube/errors.ts";
export { loadKubeconfig, type LoadKubeconfigOptions } from "./core/kube/kubeconfig.ts";

export { type AgentParts, runAgent } from "./node_agent/loop/agent.ts";
export { type AgentOptions } from "./node_agent/agent_options.ts";
export { cleanUp, type CleanUpOptions, type CleanUpReport } from "./node_agent/rules/cleanup.ts";
export { createDataplane, type DataplaneHost, type DataplaneOptions } from "./node_agent/rules/dataplane.ts";
export * from "./node_agent/dataplane_contract.ts";
export { desiredRuleSet } from "./node_agent/rules/desired_ruleset.ts";
export {
  type ForwardingDecision,
  forwardingDecision,
  type ForwardingFacts,
} from "./node_agent/loop/forwarding_plan.ts";
export { createHostPorts, type HostPorts, type HostPortsOptions } from "./node_agent/host/host_ports.ts";
export { DEFAULT_MARK_BITS, parseMarkBits } from "./node_agent/rules/parse_mark_bits.ts";
export { renderRuleSet } from "./node_agent/rules/render_restore.ts";
