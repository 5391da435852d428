// An agent on a cluster in memory and a fake kernel, host and clock, ready to be watched.
import type { BeginAsk } from "../../../core/runtime/ask_nodes.ts";
import { K3slbError } from "../../../core/shared/errors.ts";
import { type HealthEndpoint, startHealthServer } from "../../../core/runtime/health.ts";
import { createLogger } from "../../../core/shared/log.ts";
import { type ClusterFacts, FACTS_CONFIG_MAP, FACTS_KEY, renderFacts } from "../../../core/service/cluster_facts.ts";
import { FORWARDING_CONDITION, PROGRAMMED_CONDITION } from "../../../core/service/labels.ts";
import { lastReport, type ServiceReport } from "../../../core/service/node_report.ts";
import type { KubeClient, ResourceType } from "../../../core/kube/contract.ts";
import { CONFIG_MAPS, ENDPOINT_SLICES, EVENTS, NODES, PODS, SERVICES } from "../../../core/kube/resources.ts";
import type { Condition, KubeEvent, KubeObject, Node } from "../../../core/kube/types.ts";
import { runAgent } from "../../../node_agent/loop/agent.ts";
import type { ForwardingPlan } from "../../../node_agent/dataplane_contract.ts";
import type { AgentOptions } from "../../../node_agent/agent_options.ts";
import type { ListeningSocket } from "../../../node_agent/host/listening_sockets.ts";
import { createInProcess, type InProcess, type Objects } from "../../support/memory_api/in_process.ts";
import { StatusError } from "../../support/memory_api/status_error.ts";
import { FakeDataplane } from "./_fake_dataplane.ts";
import { CLUSTER_FACTS } from "../../support/cluster_facts.ts";
import { createFakeClock } from "../../support/fake_clock.ts";
import { endpoint, NODE, node, pod, service, slice } from "./_objects.ts";

export const AGENT_OPTIONS: AgentOptions = {
  servicelbNamespace: "kube-system",
  allowPortOverride: false,
  reservedPorts: ["22", "10250"],
  maxServiceRules: 10_000,
};

const KINDS: Readonly<Record<string, ResourceType<KubeObject>>> = Object.fromEntries(
  [SERVICES, PODS, NODES, ENDPOINT_SLICES, CONFIG_MAPS, EVENTS].map((type) => [type.plural, type]),
);

/** The cluster of one test: kinds by their plural names, objects by `namespace/name`. */
class BenchCluster {
  readonly client: KubeClient;
  /** What was written, such as `pods/status`. */
  readonly writes: string[] = [];
  /** What was listed, such as `pods`. */
  readonly lists: string[] = [];
  /** Requests (`VERB RESOURCE`) that fail, and how often still; `Infinity` for always. */
  readonly failures = new Map<string, { left: number; readonly httpStatus: number }>();
  readonly #api: InProcess;

  constructor(now: () => Date) {
    this.#api = createInProcess({
      now,
      onRequest: ({ verb, resource }) => {
        const failure = this.failures.get(`${verb} ${resource}`);
        if (failure && failure.left-- > 0) throw new StatusError(failure.httpStatus, "", { message: "On order" });
        if (verb === "patch") this.writes.push(resource);
        if (verb === "list") this.lists.push(resource);
      },
    });
    this.client = this.#api.client;
  }

  put(plural: string, object: KubeObject): void {
    this.#objects(plural).put(object);
  }

  remove(plural: string, key: string): void {
    this.#objects(plural).remove(key);
  }

  get<T extends KubeObject>(plural: string, key: string): T | undefined {
    return this.#objects<T>(plural).get(key);
  }

  list<T extends KubeObject>(plural: string): readonly T[] {
    return this.#objects<T>(plural).values();
  }

  condition(plural: string, key: string, type: string): Condition | undefined {
    const object = this.get<KubeObject & { readonly status?: { readonly conditions?: readonly Condition[] } }>(
      plural,
      key,
    );
    return object?.status?.conditions?.find((one) => one.type === type);
  }

  #objects<T extends KubeObject>(plural: string): Objects<T> {
    return this.#api.objects(KINDS[plural] as ResourceType<T>);
  }
}

/** What a test of the loop works with. */
export class AgentBench {
  readonly dataplane = new FakeDataplane();
  readonly clock = createFakeClock();
  readonly cluster = new BenchCluster(() => new Date(this.clock.now()));
  readonly lines: string[] = [];
  listeners: ListeningSocket[] = [];
  interfaces = [{ name: "eth0", addresses: ["192.0.2.1"] }];
  readyCalls = 0;
  /** How other nodes answer. */
  beginAsk: BeginAsk | undefined;
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
      client: this.cluster.client,
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
      ...(this.beginAsk === undefined ? {} : { beginAsk: this.beginAsk }),
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

  /** What the agent says of a Service on its Node. */
  reported(name: string): ServiceReport | undefined {
    return lastReport(this.cluster.get<Node>("nodes", NODE))?.services.get(`uid-${name}`);
  }

  /** Publishes facts as a server does. */
  publish(change: Partial<ClusterFacts> = {}): void {
    const metadata = { name: FACTS_CONFIG_MAP, namespace: "kube-system" };
    const data = { [FACTS_KEY]: renderFacts({ ...CLUSTER_FACTS, ...change }) };
    this.cluster.put("configmaps", { metadata, data } as KubeObject);
  }

  /** Events about the object called `name`. */
  events(name: string): readonly KubeEvent[] {
    return this.cluster.list<KubeEvent>("events").filter((event) => event.involvedObject.name === name);
  }

  /** Number of lists of one kind. */
  lists(plural: string): number {
    return this.cluster.lists.filter((one) => one === plural).length;
  }

  /** Number of writes to one kind of object. */
  writes(plural: string): number {
    return this.cluster.writes.filter((one) => one === `${plural}/status`).length;
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

/** Service `web` and its endpoint, without a pod. */
export function putService(bench: AgentBench): void {
  bench.cluster.put("services", service("web"));
  bench.cluster.put("endpointslices", slice("web", [endpoint("10.42.1.5")]));
}

/** The Service's addresses as the server writes them. */
export function putStatus(bench: AgentBench, ...ips: readonly string[]): void {
  const status = { loadBalancer: { ingress: ips.map((ip) => ({ ip })) } };
  bench.cluster.put("services", { ...service("web"), status } as KubeObject);
}

/** For each plan that the kernel gets from now on: what `see` sees then. */
export function onPlans<T>(bench: AgentBench, see: (plan: ForwardingPlan) => T): readonly T[] {
  const seen: T[] = [];
  bench.dataplane.onApply = (plan) => void seen.push(see(plan));
  return seen;
}

/** Whether the plan has the port of Service `web`. */
export const hasWeb = (plan: ForwardingPlan): boolean => plan.ports.some((one) => one.port === 80);

/** What the kernel has, as `SERVICE PORT`. */
export const served = (bench: AgentBench): readonly string[] | undefined =>
  bench.dataplane.plan?.ports.map((one) => `${one.service} ${one.port}`);
