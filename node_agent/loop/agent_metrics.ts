// The agent's numbers in Prometheus' format, and whether it is ready. Fed by the loop, served by `core/runtime/health.ts`.
import type { Clock } from "../../core/runtime/clock.ts";
import type { ServeHealth } from "../../core/runtime/health.ts";
import type { Counter, MetricRegistry } from "../../core/runtime/metrics.ts";
import { errorHint, errorMessage, isK3slbError } from "../../core/shared/errors.ts";
import { IP_FAMILIES } from "../../core/shared/ip.ts";
import type { Logger } from "../../core/shared/log.ts";
import type { ApplyReport, Dataplane } from "../dataplane_contract.ts";
import { ConnectionTotals } from "../rules/connection_counts.ts";

/** One reconcile of the loop, as metrics see it. */
export interface AgentReconcile {
  readonly durationMs: number;
  /** Since the first change that it was for was seen; absent: nothing had changed. */
  readonly latencyMs?: number;
  readonly ports: number;
  readonly pods: number;
  readonly report?: ApplyReport;
  /** Absent: the kernel has the plan. */
  readonly error?: unknown;
}

/** Where the loop reports to. */
export interface AgentMetrics {
  observe(outcome: AgentReconcile): void;
  /** Counts things that were repaired in the kernel. */
  countRepairs(repairs: number): void;
  /** Resolves when the server is closed; at once if there is none. */
  readonly done: Promise<void>;
}

/** What {@linkcode startAgentMetrics} takes. */
export interface AgentMetricsOptions {
  readonly registry: MetricRegistry;
  readonly dataplane: Pick<Dataplane, "connections" | "deletedFlows">;
  /** Absent: nobody can ask. */
  readonly serveHealth?: ServeHealth;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Starts to count, and lets others ask. Forwarding matters more: an address in use is logged, not thrown. */
export async function startAgentMetrics(options: AgentMetricsOptions): Promise<AgentMetrics> {
  const { registry, serveHealth, logger } = options;
  const ports = registry.gauge({ name: "k3slb_agent_ports", help: "Service ports that this node forwards." });
  const pods = registry.gauge({ name: "k3slb_agent_pods", help: "Load balancer pods on this node." });
  const rules = registry.gauge({ name: "k3slb_agent_rules", help: "Rules in the kernel by address family." });
  const chains = registry.counter({ name: "k3slb_agent_chains_written_total", help: "Chains written to the kernel." });
  const repairs = registry.counter({
    name: "k3slb_agent_repairs_total",
    help: "Things repaired that someone else had changed.",
  });
  const durations = registry.histogram({
    name: "k3slb_agent_reconcile_duration_seconds",
    help: "Time from the facts to the kernel having the rules.",
  });
  const latencies = registry.histogram({
    name: "k3slb_agent_programming_latency_seconds",
    help: "Time from the first sight of a change to the kernel having the rules that it asks for.",
  });
  const errors = registry.counter({
    name: "k3slb_agent_reconcile_errors_total",
    help: "Reconciliations that the kernel's tools refused, by error code.",
  });
  startAtZero(chains, repairs);
  registry.counterOf(
    { name: "k3slb_agent_deleted_flows_total", help: "Entries of connection tracking that were deleted as stale." },
    () => options.dataplane.deletedFlows,
  );
  const readConnections = countedConnections(options);
  let problem: string | undefined = "nothing has been reconciled yet";
  let done = Promise.resolve();
  if (serveHealth !== undefined) {
    const renderMetrics = async (): Promise<string> => {
      await readConnections();
      return registry.render();
    };
    try {
      const checks = [{ name: "kernel-rules", kind: "ready", problem: () => problem }] as const;
      done = (await serveHealth({ checks, renderMetrics })).done;
    } catch (error) {
      logger.error("Health and metrics can't be served; forwarding goes on", {
        error: errorMessage(error),
        hint: errorHint(error),
      });
    }
  }
  return {
    done,
    countRepairs: (count) => repairs.add({}, count),
    observe: (outcome) => {
      durations.observe(outcome.durationMs / 1000);
      ports.set(outcome.ports);
      pods.set(outcome.pods);
      if (outcome.error !== undefined) {
        problem = errorMessage(outcome.error);
        errors.add({ code: isK3slbError(outcome.error) ? outcome.error.code : "unknown" });
        return;
      }
      problem = undefined;
      if (outcome.latencyMs !== undefined) latencies.observe(outcome.latencyMs / 1000);
      chains.add({}, outcome.report?.chainsWritten ?? 0);
      for (const family of IP_FAMILIES) {
        const count = outcome.report?.ruleCounts[family];
        if (count === undefined) rules.remove({ family });
        else rules.set(count, { family });
      }
    },
  };
}

/** Registers the connections of each Service; returns what reads the kernel's counters, which is done for whoever asks and not without end. */
function countedConnections(
  { registry, dataplane, clock, logger }: AgentMetricsOptions,
): () => Promise<void> {
  const connections = new ConnectionTotals();
  let readMs = -Infinity;
  let reading = Promise.resolve();
  registry.counterOf(
    {
      name: "k3slb_agent_service_connections_total",
      help: "Connections, and flows of UDP, that this node took up for a Service's port.",
    },
    () =>
      connections.totals.map(({ namespace, service, protocol, port, family, count }) => [
        { namespace, service, protocol, port: String(port), family },
        count,
      ]),
  );
  const read = async (): Promise<void> => {
    try {
      connections.note(await dataplane.connections(AbortSignal.timeout(READ_TIMEOUT_MS)));
    } catch (error) {
      // The next one asks again; until then the numbers are those of the last reading.
      logger.debug("The rules' counters could not be read", { error: errorMessage(error) });
    }
  };
  return () => {
    if (clock.monotonicMs() - readMs >= READ_INTERVAL_MS) {
      readMs = clock.monotonicMs();
      reading = read();
    }
    return reading;
  };
}

/** So that the first event is a step of one and not a new series. */
function startAtZero(...counters: readonly Counter[]): void {
  for (const counter of counters) counter.add({}, 0);
}

const READ_INTERVAL_MS = 5_000;
/** Prometheus itself waits 10 s for an answer. */
const READ_TIMEOUT_MS = 5_000;
