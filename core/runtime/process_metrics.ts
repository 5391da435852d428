// The process itself as metrics, under the names that Prometheus' own client libraries use. Adapter.
// Names: https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics.
import process from "node:process";
import type { MetricRegistry } from "./metrics.ts";

/** Registers `k3slb_build_info` and the `process_*` metrics. @param nowMs Milliseconds since 1970. */
export function addProcessMetrics(
  registry: MetricRegistry,
  { program, version, nowMs }: {
    readonly program: "server" | "agent";
    readonly version: string;
    readonly nowMs: number;
  },
): void {
  registry.gauge({ name: "k3slb_build_info", help: "1; the labels say what runs." }).set(1, { program, version });
  registry.gauge({ name: "process_start_time_seconds", help: "Start of the process since 1970, in seconds." })
    .set(Math.round(nowMs / 1000 - process.uptime()));
  registry.counterOf(
    { name: "process_cpu_seconds_total", help: "User and system time that the process has used." },
    () => Object.values(process.cpuUsage()).reduce((sum, microseconds) => sum + microseconds, 0) / 1_000_000,
  );
  registry.gaugeOf(
    { name: "process_resident_memory_bytes", help: "Memory that the process holds." },
    () => process.memoryUsage().rss,
  );
}
