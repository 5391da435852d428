// A whole cluster in one process, on a clock that stands still: the API server in memory with its DaemonSet controller and scheduler, the server, an
// agent a node with a kernel in memory, and kubelets that do what they are told.
import { startReflector } from "../../core/kube/reflector.ts";
import type { KubeClient } from "../../core/kube/contract.ts";
import { CONFIG_MAPS, ENDPOINT_SLICES, NODES, PODS, SERVICES } from "../../core/kube/resources.ts";
import type { EndpointSlice, Node, Pod, Service } from "../../core/kube/types.ts";
import type { PortReservationMode } from "../../core/service/cluster_facts.ts";
import { isAllowListMode } from "../../core/service/node_selection.ts";
import { PROGRAMMED_CONDITION, SERVED_CONDITION } from "../../core/service/labels.ts";
import { candidateNodes } from "../../core/service_lb/desired_service.ts";
import { startServiceLb } from "../../core/service_lb/service_lb_controller.ts";
import { K3slbError } from "../../core/shared/errors.ts";
import { SILENT_LOGGER } from "../../core/shared/log.ts";
import { runAgent } from "../../node_agent/loop/agent.ts";
import { createInProcess, type InProcess } from "../support/memory_api/in_process.ts";
import { SERVICE_OPTIONS } from "./core/service_lb/fixtures.ts";
import { AGENT_OPTIONS } from "./node_agent/_agent_bench.ts";
import { FakeDataplane } from "./node_agent/_fake_dataplane.ts";
import { createFakeClock } from "../support/fake_clock.ts";

/** Who decides: pods, as with agents of a version before reports; or the agents, with or without placeholder pods. */
export type WorldKind = "pods decide" | "agents decide, with pods" | "agents decide, no pods";

/** What a history may change: metadata and the fields of spec that matter. */
export interface NodeSketch {
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: NonNullable<NonNullable<Node["spec"]>["taints"]>;
}

/** Services, nodes, rules and statuses of one cluster. */
export class HistoryWorld {
  readonly clock = createFakeClock();
  readonly #api: InProcess;
  readonly #mode: PortReservationMode;
  readonly #agentsClient: KubeClient;
  readonly #kernels = new Map<string, FakeDataplane>();
  readonly #agents = new Map<string, { readonly stop: AbortController; readonly done: Promise<void> }>();
  readonly #end = new AbortController();
  #runs = 0;
  #server: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;

  constructor(kind: WorldKind) {
    const now = (): Date => new Date(this.clock.now());
    this.#api = createInProcess({ now, controllers: ["daemonSets", "scheduler", "garbageCollector"] });
    this.#mode = kind === "agents decide, no pods" ? "none" : "daemonset";
    this.#agentsClient = kind === "pods decide" ? withoutFacts(this.#api.client) : this.#api.client;
    this.#startKubelets();
  }

  putNode(name: string, { labels, taints }: NodeSketch): void {
    const present = this.#api.objects<Node>(NODES).get(name);
    const index = Number(name.slice(1));
    this.#api.objects<Node>(NODES).put({
      metadata: {
        ...(present?.metadata?.annotations === undefined ? {} : { annotations: present.metadata.annotations }),
        name,
        labels: { "kubernetes.io/os": "linux", "kubernetes.io/hostname": name, ...labels },
      },
      spec: { podCIDRs: [`10.42.${index}.0/24`], taints: [...taints] },
      status: present?.status ?? {
        addresses: [{ type: "InternalIP", address: `10.0.0.${index}` }],
        allocatable: { cpu: "4", memory: "8Gi", pods: "110" },
        conditions: [{ type: "Ready", status: "True" }],
      },
    });
  }

  async createService(name: string, spec: Partial<NonNullable<Service["spec"]>>): Promise<void> {
    const metadata = { name, namespace: "default" };
    await this.#api.client.create(SERVICES, {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: { type: "LoadBalancer", selector: { app: name }, ...spec },
    });
    // Two pods, so that Local means a choice.
    this.#api.objects<EndpointSlice>(ENDPOINT_SLICES).put({
      metadata: { ...metadata, name: `${name}-x`, labels: { "kubernetes.io/service-name": name } },
      addressType: "IPv4",
      ports: [80, 443, 8080].map((port) => ({ name: `p${port}`, port, protocol: "TCP" })),
      endpoints: ["n1", "n2"].map((nodeName, at) => ({
        addresses: [`10.42.${at + 1}.9`],
        nodeName,
        conditions: { ready: true },
      })),
    });
  }

  async patchService(name: string, body: object): Promise<void> {
    await this.#api.client.patch(SERVICES, { namespace: "default", name }, { type: "merge", body });
  }

  async deleteService(name: string): Promise<void> {
    await this.#api.client.delete(SERVICES, { namespace: "default", name });
  }

  startServer(): void {
    if (this.#server !== undefined) return;
    const stop = new AbortController();
    const { done } = startServiceLb({
      client: this.#api.client,
      options: {
        ...SERVICE_OPTIONS,
        lbClass: "k3slb.io/node-addresses",
        lbDefault: true,
        reservePorts: this.#mode,
        askNodes: false,
      },
      clock: this.clock,
      logger: SILENT_LOGGER,
      events: { record: () => {} },
      signal: stop.signal,
    });
    this.#server = { stop, done };
  }

  async stopServer(): Promise<void> {
    this.#server?.stop.abort();
    await this.#server?.done;
    this.#server = undefined;
  }

  startAgent(name: string): void {
    if (this.#agents.has(name)) return;
    const stop = new AbortController();
    const dataplane = this.#kernels.get(name) ?? new FakeDataplane();
    this.#kernels.set(name, dataplane);
    const done = runAgent(AGENT_OPTIONS, {
      client: this.#agentsClient,
      dataplane,
      hostPorts: { listeners: () => Promise.resolve([]) },
      interfaces: () => [{ name: "eth0", addresses: [`10.0.0.${name.slice(1)}`] }],
      clock: this.clock,
      logger: SILENT_LOGGER,
      signal: stop.signal,
      nodeName: name,
      instanceId: `${name}-${++this.#runs}`,
      version: "0.1.0",
    });
    this.#agents.set(name, { stop, done });
  }

  async stopAgent(name: string): Promise<void> {
    const agent = this.#agents.get(name);
    this.#agents.delete(name);
    agent?.stop.abort();
    await agent?.done;
  }

  /** What clients get: by node the ports that its kernel forwards and where to; by Service addresses and condition. */
  outcome(): {
    readonly rules: Readonly<Record<string, readonly string[]>>;
    readonly statuses: Readonly<Record<string, string>>;
    /** Where a Service is served that must not be, or is not although nobody else has its ports. */
    readonly faults: readonly string[];
  } {
    const rules = [...this.#kernels].toSorted(([a], [b]) => a < b ? -1 : 1).map(([node, { plan }]) => [
      node,
      (plan?.ports ?? []).map((port) =>
        `${port.namespace}/${port.service} ${port.port} -> ${port.endpoints.map(({ ip }) => ip).join(" ")}`
      ).toSorted(),
    ]);
    const statuses = this.#api.objects<Service>(SERVICES).values().filter(({ spec }) => spec?.type === "LoadBalancer")
      .map(({ metadata, status }) => {
        const ips = (status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip).join(" ");
        const { status: served, reason } = status?.conditions?.find(({ type }) => type === SERVED_CONDITION) ?? {};
        return [metadata?.name, `${ips} ${served} ${reason}`];
      });
    return { rules: Object.fromEntries(rules), statuses: Object.fromEntries(statuses), faults: this.#faults() };
  }

  #faults(): readonly string[] {
    const services = this.#api.objects<Service>(SERVICES).values();
    const nodes = this.#api.objects<Node>(NODES).values();
    const selection = { ...SERVICE_OPTIONS, nodes, allowList: isAllowListMode(nodes) };
    return services.flatMap((service) => {
      const name = `default/${service.metadata?.name}`;
      const wanted = service.spec?.ports?.map(({ port }) => port) ?? [];
      const chosen = candidateNodes(service, selection);
      return [...this.#kernels].flatMap(([node, { plan }]) => {
        const forwarded = plan?.ports ?? [];
        const own = forwarded.filter((port) => `${port.namespace}/${port.service}` === name).map(({ port }) => port);
        const others = forwarded.filter((port) => `${port.namespace}/${port.service}` !== name).map(({ port }) => port);
        if (!chosen.includes(node)) return own.length === 0 ? [] : [`${node} is not chosen for ${name} and serves it`];
        const twice = own.filter((port) => others.includes(port));
        if (twice.length > 0) return [`${node} serves ${name} and another at ${twice}`];
        if (own.length > 0) return own.length === wanted.length ? [] : [`${node} serves a part of ${name}`];
        return wanted.some((port) => others.includes(port))
          ? []
          : [`${node} does not serve ${name}: nobody else has its ports`];
      });
    });
  }

  async stop(): Promise<void> {
    await this.stopServer();
    for (const name of [...this.#agents.keys()]) await this.stopAgent(name);
    this.#end.abort();
    this.#api.stop();
  }

  /** Pods run at once, are Ready when their gate says so, and end when they are told to. */
  #startKubelets(): void {
    const { client } = this.#api;
    startReflector<Pod>({
      client,
      type: PODS,
      clock: this.clock,
      logger: SILENT_LOGGER,
      signal: this.#end.signal,
      onChange: ({ after }) => {
        if (!after?.spec?.nodeName) return;
        const { namespace = "", name = "", deletionTimestamp } = after.metadata ?? {};
        const key = { namespace, name };
        // What is gone already needs nothing more.
        const ignore = (): void => {};
        if (deletionTimestamp !== undefined) {
          void client.delete(PODS, key, { gracePeriodSeconds: 0 }).catch(ignore);
          return;
        }
        const conditions = after.status?.conditions ?? [];
        const programmed = conditions.find(({ type }) => type === PROGRAMMED_CONDITION)?.status ?? "False";
        if (conditions.find(({ type }) => type === "Ready")?.status === programmed) return;
        const status = { phase: "Running", conditions: [{ type: "Ready", status: programmed }] };
        void client.patch(PODS, key, { type: "strategic", body: { status } }, { subresource: "status" }).catch(ignore);
      },
    });
  }
}

/** As an agent sees the API server that knows nothing of facts, or lets it read none. */
function withoutFacts(client: KubeClient): KubeClient {
  return new Proxy(client, {
    get: (target, name): unknown => {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== "function") return method;
      return (...args: readonly unknown[]): unknown => {
        if (args[0] === CONFIG_MAPS) return Promise.reject(FORBIDDEN);
        return Reflect.apply(method, target, args);
      };
    },
  });
}

const FORBIDDEN = new K3slbError("configmaps is forbidden", { code: "kube-forbidden" });
