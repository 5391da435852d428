// The agent's numbers in Prometheus' format, and whether it is ready. Fed by the loop, served by `core/runtime/health.ts`.
import type { ServeHealth } from "../../core/runtime/health.ts";
import { createMetricRegistry } from "../../core/runtime/metrics.ts";
import { errorMessage, isK3slbError } from "../../core/shared/errors.ts";
import { IP_FAMILIES } from "../../core/shared/ip.ts";
import type { Logger } from "../../core/shared/log.ts";
import type { ApplyReport } from "../dataplane_contract.ts";

/** One reconcile of the loop, as metrics see it. */
export interface AgentReconcile {
  readonly durationMs: number;
  readonly ports: number;
  readonly pods: number;
  readonly report?: ApplyReport;
  /** Absent: the kernel has the plan. */
  readonly error?: unknown;
}

/** Where the loop reports to. */
export interface AgentMetrics {
  observe(outcome: AgentReconcile): void;
  /** Counts one thing that was mended in the kernel. */
  countRepairs(repairs: number): void;
  /** Resolves when the server is closed; at once if there is none. */
  readonly done: Promise<void>;
}

/** What {@linkcode startAgentMetrics} takes. */
export interface AgentMetricsOptions {
  /** Absent: nobody can ask. */
  readonly serveHealth?: ServeHealth;
  readonly logger: Logger;
}

/** Starts to count, and lets others ask. Forwarding matters more: an address in use is logged, not thrown. */
export async function startAgentMetrics({ serveHealth, logger }: AgentMetricsOptions): Promise<AgentMetrics> {
  const registry = createMetricRegistry();
  const ports = registry.gauge({ name: "k3slb_agent_ports", help: "Service ports that this node forwards" });
  const pods = registry.gauge({ name: "k3slb_agent_pods", help: "Load balancer pods on this node" });
  const rules = registry.gauge({ name: "k3slb_agent_rules", help: "Rules in the kernel by address family" });
  const chains = registry.counter({ name: "k3slb_agent_chains_written_total", help: "Chains written to the kernel" });
  const repairs = registry.counter({
    name: "k3slb_agent_repairs_total",
    help: "Things mended that someone else had changed",
  });
  const durations = registry.histogram({
    name: "k3slb_agent_reconcile_duration_seconds",
    help: "Time from the facts to the kernel having the rules",
  });
  const errors = registry.counter({
    name: "k3slb_agent_reconcile_errors_total",
    help: "Reconciliations that the kernel's tools refused",
  });
  let problem: string | undefined = "nothing has been reconciled yet";
  let done = Promise.resolve();
  if (serveHealth !== undefined) {
    try {
      const checks = [{ name: "kernel-rules", kind: "ready", problem: () => problem }] as const;
      done = (await serveHealth({ checks, renderMetrics: () => registry.render() })).done;
    } catch (error) {
      const hint = isK3slbError(error) ? error.hint : undefined;
      logger.error("Health and metrics can't be served; forwarding goes on", { error: errorMessage(error), hint });
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
      chains.add({}, outcome.report?.chainsWritten ?? 0);
      for (const family of IP_FAMILIES) {
        const count = outcome.report?.ruleCounts[family];
        if (count === undefined) rules.remove({ family });
        else rules.set(count, { family });
      }
    },
  };
}
