// The agent's loop: cluster and host facts -> forwarding plan -> kernel -> report, readiness gates and heartbeat. It decides nothing:
// `node_share.ts`, `forwarding_plan.ts`, `desired_gate.ts` and `heartbeat.ts` do. Rules outlive this program and the API server.
import type { KubeClient } from "../../core/kube/contract.ts";
import { isForbidden } from "../../core/kube/errors.ts";
import type { HostInterface } from "../../core/node_identity/host_facts.ts";
import type { BeginAsk } from "../../core/runtime/ask_nodes.ts";
import type { Clock } from "../../core/runtime/clock.ts";
import type { ServeHealth } from "../../core/runtime/health.ts";
import { createMetricRegistry, type MetricRegistry } from "../../core/runtime/metrics.ts";
import { createQueueMetrics, type ObserveQueue } from "../../core/runtime/queue_metrics.ts";
import { createWorkQueue, type WorkQueue } from "../../core/runtime/work_queue.ts";
import type { NodeReport, ReportAuthor } from "../../core/service/node_report.ts";
import { errorHint, errorMessage, isAbort, isK3slbError } from "../../core/shared/errors.ts";
import type { Logger } from "../../core/shared/log.ts";
import { type AgentCaches, startAgentCaches } from "./watches/agent_caches.ts";
import { type AgentMetrics, startAgentMetrics } from "./agent_metrics.ts";
import { cachedFacts } from "./watches/cached_facts.ts";
import type { AgentOptions } from "../agent_options.ts";
import type { ApplyReport, Dataplane } from "../dataplane_contract.ts";
import { type ApplyOutcome, desiredGate, failureReason } from "./report/desired_gate.ts";
import { desiredReport } from "./report/desired_report.ts";
import { type ForwardingDecision, forwardingDecision } from "./plan/forwarding_plan.ts";
import { createGateWriter, type GateWriter, SERVICE_GRACE_MS, ServiceGrace } from "./report/gate_writer.ts";
import { createHeartbeatWriter, type HeartbeatWriter } from "./report/heartbeat_writer.ts";
import type { HostPorts } from "../host/host_ports.ts";
import { HostWatch } from "./checks/host_watch.ts";
import { KernelCheck } from "./checks/kernel_check.ts";
import { LatePods } from "./report/late_pods.ts";
import { ReconcilePace } from "./reconcile_pace.ts";
import { PeerNodes } from "./checks/peer_nodes.ts";
import { answerProbes } from "./checks/probe_answerer.ts";
import { parseReservedPorts, type ReservedRange } from "./plan/reserved_ports.ts";
import { portKey } from "./plan/service_decision.ts";

/** The agent's surroundings, so that tests can replace each. */
export interface AgentParts {
  /** The API server. */
  readonly client: KubeClient;
  /** The kernel's rules. */
  readonly dataplane: Dataplane;
  /** Who listens on this host. */
  readonly hostPorts: HostPorts;
  /** Time, timers and randomness. */
  readonly clock: Clock;
  /** Where log lines go. */
  readonly logger: Logger;
  /** Ends the agent. Its rules stay. */
  readonly signal: AbortSignal;
  /** Name of this node. */
  readonly nodeName: string;
  /** Different for each run of the program. */
  readonly instanceId: string;
  /** Version of the program, for logs and signatures. */
  readonly version: string;
  /**
   * Where it counts.
   * @default {createMetricRegistry()}
   */
  readonly metrics?: MetricRegistry;
  /** Absent: nobody can ask for health and metrics. */
  readonly serveHealth?: ServeHealth;
  /** Called once, after the first reconcile. */
  readonly notifyReady?: () => void;
  /**
   * This host's interfaces.
   * @default the machine's own interfaces
   */
  readonly interfaces?: () => readonly HostInterface[];
  /**
   * How another node is asked whether it is there.
   * @default {askByTcp}
   */
  readonly beginAsk?: BeginAsk;
  /**
   * Milliseconds between two cheap checks of the kernel's state.
   * @default {5000}
   */
  readonly repairIntervalMs?: number;
}

/**
 * Runs the agent until `parts.signal` is aborted, then resolves with the rules in place.
 *
 * Touches no rule before all caches are filled: those of the previous run serve until then.
 *
 * @throws {K3slbError} code "usage" if an option has no meaning
 */
export async function runAgent(options: AgentOptions, parts: AgentParts): Promise<void> {
  await new ForwardingLoop(options, parts).run();
}

class ForwardingLoop {
  readonly #parts: AgentParts;
  readonly #options: AgentOptions;
  readonly #author: ReportAuthor;
  readonly #reserved: readonly ReservedRange[];
  readonly #registry: MetricRegistry;
  readonly #observeQueue: ObserveQueue;
  readonly #queue: WorkQueue;
  readonly #heartbeat: HeartbeatWriter;
  readonly #grace = new ServiceGrace();
  readonly #latePods: LatePods;
  #metrics: AgentMetrics | undefined;
  #caches: AgentCaches | undefined;
  #gates: GateWriter | undefined;
  #programmed: ReadonlySet<string> | undefined;
  readonly #host: HostWatch;
  readonly #kernel: KernelCheck;
  readonly #peers: PeerNodes;
  readonly #pace = new ReconcilePace();
  /** When the first change was seen that the rules don't have yet. */
  #changedMs: number | undefined;
  #isReady = false;
  #lastFailure = "";

  constructor(options: AgentOptions, parts: AgentParts) {
    this.#options = options;
    this.#parts = parts;
    this.#author = { instance: parts.instanceId, namespace: options.servicelbNamespace };
    this.#reserved = parseReservedPorts(options.reservedPorts);
    this.#registry = parts.metrics ?? createMetricRegistry();
    this.#observeQueue = createQueueMetrics(this.#registry);
    this.#host = new HostWatch(parts);
    this.#kernel = new KernelCheck({
      ...parts,
      onChange: () => this.#trigger(),
      countRepairs: (count) => this.#metrics?.countRepairs(count),
    });
    const { askNodes: isOn = true } = options;
    this.#peers = new PeerNodes({ ...parts, isOn, registry: this.#registry, onChange: () => this.#trigger() });
    this.#queue = createWorkQueue({ clock: parts.clock, observer: this.#observeQueue("node") });
    this.#latePods = new LatePods({ ...parts, uidOf: (pod) => this.#caches?.hostPods.uidOf(pod) });
    this.#heartbeat = createHeartbeatWriter({
      ...parts,
      observeQueue: this.#observeQueue,
      signature: { version: parts.version, backend: parts.dataplane.backend, instanceId: parts.instanceId },
      node: () => this.#caches?.nodes.objects.get(parts.nodeName),
      nodeCount: () => this.#caches?.facts()?.nodes.size ?? 0,
    });
  }

  async run(): Promise<void> {
    const { signal, logger, nodeName, instanceId } = this.#parts;
    const heartbeats = this.#heartbeat.run();
    this.#metrics = await startAgentMetrics({ ...this.#parts, registry: this.#registry });
    try {
      logger.info("Agent starts", { node: nodeName, instance: instanceId });
      this.#caches = await startAgentCaches({
        ...this.#parts,
        servicelbNamespace: this.#options.servicelbNamespace,
        programmed: () => this.#programmed,
        onChange: (namespace) => this.#trigger(namespace),
        // In many steps, from its making on, and nobody waits for its gate.
        onPlaceholder: () => this.#queue.addAfter("program", PLACEHOLDER_DELAY_MS),
        onNode: () => this.#heartbeat.notice(),
        onBlocked: (error, report) => this.#reportBlocked(error, report),
      });
    } catch (error) {
      if (!signal.aborted) throw error;
      await Promise.all([heartbeats, this.#metrics.done]);
      return;
    }
    this.#gates = createGateWriter({
      ...this.#parts,
      observeQueue: this.#observeQueue,
      pods: this.#caches.pods,
    });
    for (const key of ["program", "host", "repair"]) this.#queue.add(key);
    await Promise.all([
      heartbeats,
      this.#metrics.done,
      this.#gates.run(),
      this.#caches.done,
      answerProbes({ ...this.#parts, caches: this.#caches }),
      this.#queue.run({
        signal,
        reconcile: (key) => this.#work(key),
        onFailure: (key, error) => this.#reportFailure(key, error),
      }),
    ]);
    logger.info("Agent stops; the rules stay", { node: nodeName });
  }

  /** Something of a namespace, or of this node, may have changed: the first reconcile is at once, later ones are apart, so that a burst costs few. */
  #trigger(namespace = ""): void {
    this.#pace.note(namespace);
    this.#changedMs ??= this.#parts.clock.monotonicMs();
    this.#queue.addAfter("program", this.#pace.dueMs - this.#parts.clock.monotonicMs());
  }

  /** One worker does all work on the kernel, one thing at a time. */
  async #work(key: string): Promise<number | void> {
    if (key === "program") return await this.#program();
    if (key === "repair") return this.#programmed ? await this.#kernel.look() : this.#kernel.intervalMs;
    if (await this.#host.look()) this.#trigger();
    return HOST_INTERVAL_MS;
  }

  async #program(): Promise<void> {
    const { dataplane, clock, signal } = this.#parts;
    const startMs = clock.monotonicMs();
    this.#pace.begin(startMs);
    const changedMs = this.#changedMs;
    this.#changedMs = undefined;
    const decision = await this.#decide();
    let outcome: ApplyOutcome;
    try {
      const report = await dataplane.apply(decision.plan, signal);
      this.#programmed = programmedKeys(decision, report);
      outcome = { report };
      this.#lastFailure = "";
      const health = {
        plan: decision.plan,
        report,
        warnings: [...this.#kernel.warnings, ...this.#kernel.remarks, ...this.#peers.remarks],
      };
      this.#heartbeat.report(health, this.#reportOf(decision, outcome));
    } catch (error) {
      if (isAbort(error) && signal.aborted) throw error;
      outcome = { error, programmed: this.#programmed ?? new Set() };
      this.#changedMs = changedMs;
      this.#observe(startMs, decision, outcome);
      // A tool that waited for a lock in vain is asked again before anybody is alarmed.
      const isAlarming = !(isK3slbError(error) && error.retriable) || this.#queue.failures("program") >= CALM_FAILURES;
      if (isAlarming) this.#publish(decision, outcome);
      throw error;
    }
    this.#observe(startMs, decision, outcome, changedMs);
    // What came meanwhile may be due earlier than was known then.
    if (this.#changedMs !== undefined) this.#queue.addAfter("program", this.#pace.dueMs - clock.monotonicMs());
    this.#publish(decision, outcome);
    this.#latePods.tell(decision.services ?? []);
    this.#setReady();
  }

  async #decide(): Promise<ForwardingDecision> {
    const caches = this.#caches;
    if (!caches) throw new TypeError("The caches are not filled yet");
    const { facts, wanted } = cachedFacts(caches, {
      nodeName: this.#parts.nodeName,
      programmed: this.#programmed ?? caches.servedBefore,
    });
    await this.#host.lookFor(wanted);
    return forwardingDecision({
      ...facts,
      deadNodes: this.#peers.among(facts.slices, caches.facts()),
      interfaces: this.#host.interfaces,
      listeners: this.#host.listeners,
      reserved: this.#reserved,
      maxServiceRules: this.#options.maxServiceRules,
      allowPortOverride: this.#options.allowPortOverride,
    });
  }

  #reportOf({ services }: ForwardingDecision, outcome: ApplyOutcome): NodeReport | undefined {
    return services && desiredReport(services, { outcome, author: this.#author });
  }

  #publish(decision: ForwardingDecision, outcome: ApplyOutcome): void {
    if ("error" in outcome) {
      const message = errorMessage(outcome.error);
      const health = { reason: failureReason(outcome.error), message };
      this.#heartbeat.report(health, this.#reportOf(decision, outcome));
      this.#setReady();
    }
    const { due, waits } = this.#grace.due(decision.verdicts, this.#parts.clock.monotonicMs());
    if (waits) this.#queue.addAfter("program", SERVICE_GRACE_MS);
    this.#gates?.publish(due.map((verdict) => {
      const state = desiredGate({ ...verdict, notes: [...verdict.notes, ...this.#kernel.warnings] }, outcome);
      return { pod: verdict.pod, state };
    }));
  }

  #setReady(): void {
    if (this.#isReady) return;
    this.#isReady = true;
    this.#parts.notifyReady?.();
  }

  #observe(startMs: number, decision: ForwardingDecision, outcome: ApplyOutcome, changedMs?: number): void {
    const { clock, logger } = this.#parts;
    const nowMs = clock.monotonicMs();
    const durationMs = nowMs - startMs;
    const isWritten = "report" in outcome && outcome.report.chainsWritten > 0;
    this.#pace.end(nowMs, { isIdle: !isWritten && "report" in outcome });
    const counts = { ports: decision.plan.ports.length, pods: decision.verdicts.length };
    if ("report" in outcome && isWritten) {
      logger.info("Rules written", { ...counts, chains: outcome.report.chainsWritten, ms: Math.round(durationMs) });
    }
    const ending = "report" in outcome ? { report: outcome.report } : { error: outcome.error };
    const latency = isWritten && changedMs !== undefined ? { latencyMs: nowMs - changedMs } : {};
    this.#metrics?.observe({ durationMs, ...latency, ...counts, ...ending });
  }

  #reportBlocked(error: unknown, report: NodeReport | undefined): void {
    const reason = isForbidden(error) ? "EndpointSlicesForbidden" : failureReason(error);
    this.#heartbeat.report({ reason, message: errorMessage(error) }, report && { ...report, ...this.#author });
  }

  #reportFailure(key: string, error: unknown): void {
    const message = errorMessage(error);
    const level = message === this.#lastFailure ? "debug" : "error";
    this.#lastFailure = message;
    this.#parts.logger[level](`Cannot ${FAILED_WORK[key] ?? key}; it is tried again`, {
      error: message,
      hint: errorHint(error),
    });
    // The rules may be in any state now: bring them to the plan as a whole.
    if (key === "repair") this.#trigger();
  }
}

const FAILED_WORK: Readonly<Record<string, string>> = {
  program: "program the kernel's rules",
  repair: "check the kernel's rules",
  host: "read the host's sockets",
};

const HOST_INTERVAL_MS = 10_000;
const PLACEHOLDER_DELAY_MS = 500;
const CALM_FAILURES = 2;

function programmedKeys(decision: ForwardingDecision, report: ApplyReport): ReadonlySet<string> {
  const failed = new Set(report.failures.map((one) => portKey(one.port)));
  return new Set(decision.plan.ports.map(portKey).filter((key) => !failed.has(key)));
}
