// The agent's passes as metrics and as readiness.
import type { MetricRegistry } from "../core/runtime/metrics.ts";
import { errorMessage } from "../core/shared/errors.ts";
import { IP_FAMILIES } from "../core/shared/ip.ts";
import type { AgentPass } from "../node_agent/agent.ts";

/** Takes the agent's passes. */
export interface AgentMetrics {
  observe(pass: AgentPass): void;
  /** Why the kernel's rules are not as wanted; `undefined` if they are. */
  problem(): string | undefined;
}

/** Metrics in `metrics`, without any pass yet. */
export function createAgentMetrics(metrics: MetricRegistry): AgentMetrics {
  const passes = metrics.counter({ name: "k3slb_agent_passes_total", help: "Passes of the agent's loop by result" });
  const durations = metrics.histogram({
    name: "k3slb_agent_pass_duration_seconds",
    help: "Time of a pass from facts to the kernel",
  });
  const ports = metrics.gauge({ name: "k3slb_agent_ports", help: "Service ports that this node shall forward" });
  const pods = metrics.gauge({
    name: "k3slb_agent_pods",
    help: "Pods of the load balancer that are bound to this node",
  });
  const rules = metrics.gauge({ name: "k3slb_agent_rules", help: "Rules in the kernel by address family" });
  const failures = metrics.gauge({ name: "k3slb_agent_failed_ports", help: "Ports that could not be programmed" });
  const chains = metrics.counter({ name: "k3slb_agent_chains_written_total", help: "Chains written to the kernel" });
  let problem: string | undefined = "no pass has been made yet";
  return {
    problem: () => problem,
    observe: (pass) => {
      const { report, error, durationMs } = pass;
      problem = error === undefined ? undefined : errorMessage(error);
      passes.add({ result: error === undefined ? "ok" : "error" });
      durations.observe(durationMs / 1000);
      ports.set(pass.ports);
      pods.set(pass.pods);
      if (report === undefined) return;
      failures.set(report.failures.length);
      chains.add({}, report.chainsWritten);
      for (const family of IP_FAMILIES) {
        const count = report.ruleCounts[family];
        if (count === undefined) rules.remove({ family });
        else rules.set(count, { family });
      }
    },
  };
}
