// An agent on a fake cluster, kernel, host and clock, ready to be watched.
import { K3slbError } from "../../../core/shared/errors.ts";
import { type HealthEndpoint, startHealthServer } from "../../../core/runtime/health.ts";
import { createLogger } from "../../../core/shared/log.ts";
import { FORWARDING_CONDITION, PROGRAMMED_CONDITION } from "../../../core/service/labels.ts";
import type { Condition } from "../../../core/kube/types.ts";
import { runAgent } from "../../../node_agent/loop/agent.ts";
import type { AgentOptions } from "../../../node_agent/agent_options.ts";
import type { ListeningSocket } from "../../../node_agent/host/listening_sockets.ts";
import { FakeCluster } from "./_fake_cluster.ts";
import { FakeDataplane } from "./_fake_dataplane.ts";
import { ManualClock } from "./_manual_clock.ts";
import { endpoint, NODE, node, pod, service, slice } from "./_objects.ts";

export const AGENT_OPTIONS: AgentOptions = {
  servicelbNamespace: "kube-system",
  allowPortOverride: false,
  reservedPorts: ["22", "10250"],
  maxServiceRules: 10_000,
};

/** What a test of the loop works with. */
export class AgentBench {
  readonly cluster = new FakeCluster();
  readonly dataplane = new FakeDataplane();
  readonly clock = new ManualClock();
  readonly lines: string[] = [];
  listeners: ListeningSocket[] = [];
  interfaces = [{ name: "eth0", addresses: ["192.0.2.1"] }];
  readyCalls = 0;
  /** Where health and metrics are served; empty: nowhere. */
  metricsAddress = "";
  #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor() {
    this.cluster.put("nodes", node());
  }

  start(options: Partial<AgentOptions> = {}, instanceId = "one"): void {
    this.#stop = new AbortController();
    this.#running = runAgent({ ...AGENT_OPTIONS, ...options }, {
      client: this.cluster.client(),
      dataplane: this.dataplane,
      hostPorts: { listeners: () => Promise.resolve(structuredClone(this.listeners)) },
      interfaces: () => structuredClone(this.interfaces),
      clock: this.clock,
      logger: createLogger({
        level: "debug",
        format: "text",
        write: (line) => this.lines.push(line),
        now: () => this.clock.now(),
      }),
      signal: this.#stop.signal,
      nodeName: NODE,
      instanceId,
      version: "0.1.0",
      ...(this.metricsAddress === "" ? {} : {
        serveHealth: (endpoint: HealthEndpoint) =>
          startHealthServer({ address: this.metricsAddress, signal: this.#stop.signal, ...endpoint }),
      }),
      notifyReady: () => void this.readyCalls++,
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** Runs `test` on a running agent and stops that afterwards. */
  static async run(test: (bench: AgentBench) => Promise<void>): Promise<void> {
    const bench = new AgentBench();
    try {
      await test(bench);
    } finally {
      await bench.stop();
    }
  }

  gate(podName: string): Condition | undefined {
    return this.cluster.condition("pods", `kube-system/${podName}`, PROGRAMMED_CONDITION);
  }

  /** Number of writes to one kind of object. */
  writes(plural: string): number {
    return this.cluster.patches.filter((one) => one.plural === plural).length;
  }
}

/** One named story of the loop. */
export interface LoopCase {
  readonly name: string;
  readonly test: (bench: AgentBench) => Promise<void>;
}

/** Puts Service `web` with one endpoint and its pod into the cluster. */
export function putWeb(bench: AgentBench): void {
  bench.cluster.put("services", service("web"));
  bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
  bench.cluster.put("pods", pod("web"));
}

/** The agent's heartbeat. */
export function heartbeat(
  bench: AgentBench,
): { status?: string; reason?: string; message?: string; lastHeartbeatTime?: string } {
  return bench.cluster.condition("nodes", NODE, FORWARDING_CONDITION) ?? {};
}

/** An error as the kernel's tools make it. */
export function failed(retriable = false): K3slbError {
  return new K3slbError("iptables-restore: line 4 failed", { code: "iptables-failed", retriable });
}
