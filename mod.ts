/**
 * k3slb as a library: K3s's service load balancer, manifests folder and Helm controller for any Kubernetes cluster.
 *
 * What is decided is decided by pure functions: facts in, wanted state out, no cluster and no kernel needed. There are three steps.
 *
 * {@linkcode readService} says what a Service asks for, with every fault in it:
 *
 * ```ts
 * import assert from "node:assert/strict";
 * import { readService } from "./mod.ts";
 *
 * const reading = readService({
 *   metadata: { name: "web", namespace: "default", annotations: { "k3slb.io/match-addresses": "127.0.0.1" } },
 *   spec: { type: "LoadBalancer", ipFamilies: ["IPv4"], ports: [{ port: 80 }] },
 * });
 * assert.ok(reading.ports[0]?.protocol === "TCP");
 * assert.ok(reading.unknownAccess?.reason === "InvalidMatchAddress");
 * ```
 *
 * {@linkcode desiredService} says what it should have in a cluster: its DaemonSet, its addresses, and for each node why it does not serve:
 *
 * ```ts
 * import assert from "node:assert/strict";
 * import { desiredService } from "./mod.ts";
 *
 * const service = {
 *   metadata: { name: "web", namespace: "default", uid: "5f3c9a10-0000-4000-8000-000000000000" },
 *   spec: { type: "LoadBalancer", ipFamilies: ["IPv4"], ports: [{ port: 80 }] },
 * };
 * const node = { metadata: { name: "n1", labels: { "kubernetes.io/os": "windows" } } };
 * const { daemonSet, ingress, verdicts } = desiredService(service, {
 *   dataplane: "agent",
 *   servicelbNamespace: "kube-system",
 *   lbImage: "",
 *   pauseImage: "rancher/mirrored-pause:3.6",
 *   systemDefaultRegistry: "",
 *   statusAddresses: "cluster",
 *   honorExcludeLabel: false,
 *   serviceRanges: [],
 *   facts: {
 *     nodes: new Map([["n1", node]]),
 *     allowList: false,
 *     pods: [],
 *     slices: [],
 *     conflicts: new Map(),
 *     silentNodes: new Set(),
 *   },
 * });
 * assert.ok(daemonSet.action === "apply" && ingress.length === 0);
 * assert.ok(verdicts[0]?.serves === false && verdicts[0].reason === "NotLinux");
 * ```
 *
 * {@linkcode forwardingDecision} says what one node forwards, {@linkcode desiredRuleSet} with which rules, {@linkcode renderRuleSet} as text for
 * `iptables-restore`:
 *
 * ```ts
 * import assert from "node:assert/strict";
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
 *   { marks: parseMarkBits(DEFAULT_MARK_BITS), features: { randomFully: true, sctp: true, recent: true, bridgeFilter: true } },
 * );
 * assert.ok(renderRuleSet(ruleSet).includes("10.42.0.7:8080"));
 * ```
 *
 * {@linkcode runServer} and {@linkcode runAgent} are the two programs. API client, kernel, clock, log, signal and whoever serves health are handed
 * to them; what the server takes from its host beside that is its manifests folder. This runs a server until it is told to stop:
 *
 * ```ts
 * import { createKubeClient, createLogger, runServer, SYSTEM_CLOCK } from "./mod.ts";
 * import type { ClusterAccess, ServerOptions } from "./mod.ts";
 *
 * export async function serve(access: ClusterAccess, options: ServerOptions, signal: AbortSignal): Promise<void> {
 *   const client = createKubeClient({ access, clock: SYSTEM_CLOCK });
 *   const logger = createLogger({ level: "info", format: "text", write: (line) => console.error(line), now: () => Date.now() });
 *   try {
 *     await runServer(options, { client, clock: SYSTEM_CLOCK, logger, signal, env: {}, version: "1.0.0" });
 *   } finally {
 *     client.close();
 *   }
 * }
 * ```
 *
 * @module
 */

// What a Service says.
export * from "./core/service/labels.ts";
export * from "./core/service/reading.ts";
export type { IpMode } from "./core/service/wishes.ts";
export type { PodResources } from "./core/service/pod_wishes.ts";
export * from "./core/service/claim.ts";
export type { LateClaim, NodePortRange } from "./core/service/foreign_ports.ts";
export { byAge, objectKey, type ServiceKey } from "./core/service/keys.ts";
export {
  type GivenPorts,
  type PortConflict,
  type PortConflicts,
  portConflicts,
  type PortFacts,
  type Presence,
} from "./core/service/port_owners.ts";
export { hasLastGoodRecord, keepLastGood, lastGoodRecord } from "./core/service/last_good.ts";
export {
  chooseNode,
  isAllowListMode,
  type NodeChoice,
  type NodeWish,
  type NotSelectedReason,
  type SelectionFacts,
} from "./core/service/node_selection.ts";
export type { ServiceShare } from "./core/service/node_share.ts";
export * from "./core/service/address_match.ts";
export type { AddressFacts } from "./core/service/address_rules.ts";
export type { NodeAddressFacts } from "./core/service/node_addresses.ts";
export { type EndpointChoice, type ServiceEndpoint, serviceEndpoints } from "./core/service/endpoints.ts";

// What it should have in a cluster.
export * from "./core/service_lb/desired_service.ts";
export {
  type DaemonSetOptions,
  type DaemonSetWish,
  type DesiredDaemonSet,
  desiredDaemonSet,
} from "./core/service_lb/daemonset/desired_daemonset.ts";
export {
  type DesiredStatus,
  desiredStatus,
  type IngressAddress,
  type StatusOptions,
} from "./core/service_lb/status/desired_status.ts";
export type { NodeVerdict, Unreserved, VerdictFacts, VerdictReason } from "./core/service_lb/nodes/node_verdicts.ts";
export type { Reported } from "./core/service_lb/nodes/node_reports.ts";
export type { PortReservationMode } from "./core/service/cluster_facts.ts";
export type { PodObstacles, PortHolder } from "./core/service_lb/daemonset/port_holder.ts";
export type { PodReason } from "./core/service_lb/daemonset/pod_state.ts";
export type { RememberedNode, RememberedNodes, ReplacementFacts } from "./core/service_lb/nodes/replaced_pods.ts";
export type { WaitsFor } from "./core/service_lb/status/status_timing.ts";
export type { ServedSummary } from "./core/service_lb/status/served_condition.ts";

// What a node forwards, and with which rules.
export * from "./node_agent/dataplane_contract.ts";
export {
  type ForwardingDecision,
  forwardingDecision,
  type ForwardingFacts,
  type PodVerdict,
  type ServiceVerdict,
} from "./node_agent/loop/plan/forwarding_plan.ts";
export type { LocalFacts, SeenListener, ServiceDecision } from "./node_agent/loop/plan/service_decision.ts";
export type { DepartedService } from "./node_agent/loop/plan/contenders.ts";
export { parseReservedPorts, type ReservedRange } from "./node_agent/loop/plan/reserved_ports.ts";
export * from "./node_agent/rules/desired_ruleset.ts";
export type { ServiceChains } from "./node_agent/rules/desired_service_chains.ts";
export * from "./node_agent/rules/ruleset.ts";
export { DEFAULT_MARK_BITS, parseMarkBits } from "./node_agent/rules/parse_mark_bits.ts";
export { renderRuleSet } from "./node_agent/rules/render_restore.ts";

// The programs, and what they are handed.
export { runServer, type ServerParts } from "./core/server.ts";
export type { ServerOptions } from "./core/server_options.ts";
export { type AgentParts, runAgent } from "./node_agent/loop/agent.ts";
export type { AgentOptions } from "./node_agent/agent_options.ts";
export { cleanUp, type CleanUpOptions, type CleanUpReport } from "./node_agent/loop/cleanup.ts";
export { createDataplane, type DataplaneHost, type DataplaneOptions } from "./node_agent/rules/dataplane.ts";
export type { Exec, ExecOptions, ExecResult } from "./node_agent/host/exec.ts";
export {
  createHostPorts,
  type HostPorts,
  type HostPortsOptions,
  type WantedPort,
} from "./node_agent/host/host_ports.ts";
export type { ListeningSocket } from "./node_agent/host/listening_sockets.ts";
export type { HostInterface } from "./core/node_identity/host_facts.ts";
export type { AskEnd, BeginAsk } from "./core/runtime/ask_nodes.ts";
export type { Ask } from "./core/runtime/node_life.ts";
export { type Clock, SYSTEM_CLOCK } from "./core/runtime/clock.ts";
export {
  type HealthCheck,
  type HealthEndpoint,
  type HealthServer,
  type HealthServerOptions,
  type PageHandler,
  type ServeHealth,
  startHealthServer,
} from "./core/runtime/health.ts";
export {
  type Counter,
  createMetricRegistry,
  type Gauge,
  type Histogram,
  type HistogramOptions,
  type MetricLabels,
  type MetricOptions,
  type MetricRegistry,
  type ReadSamples,
} from "./core/runtime/metrics.ts";

// The Kubernetes client.
export { createKubeClient, type KubeClientOptions } from "./core/kube/client.ts";
export type { ClusterAccess, CredentialOptions, Credentials } from "./core/kube/access/cluster_access.ts";
export type { RequestObservation } from "./core/kube/transport/transport.ts";
export * from "./core/kube/contract.ts";
export { isConflict, isForbidden, isNotFound } from "./core/kube/errors.ts";
export { loadKubeconfig, type LoadKubeconfigOptions } from "./core/kube/access/kubeconfig.ts";
export type * from "./core/kube/types.ts";

// Addresses, errors, log lines.
export * from "./core/shared/errors.ts";
export * from "./core/shared/ip.ts";
export type { IpRange } from "./core/shared/ip_ranges.ts";
export * from "./core/shared/log.ts";
