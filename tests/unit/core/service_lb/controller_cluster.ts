// The in-memory API server with its DaemonSet controller and scheduler, nodes, and agents that set every gate at once: what the
// controller's tests run it against.
import { createKubeClient } from "../../../../core/kube/client.ts";
import type { KubeClient } from "../../../../core/kube/contract.ts";
import { startReflector } from "../../../../core/kube/reflector.ts";
import { NODES, PODS, SERVICES } from "../../../../core/kube/resources.ts";
import type { Node, Pod, Service } from "../../../../core/kube/types.ts";
import type { BeginAsk } from "../../../../core/runtime/ask_nodes.ts";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import type { ServiceEvent } from "../../../../core/service_lb/status/status_step.ts";
import type { ServiceLb, StartServiceLbOptions } from "../../../../core/service_lb/running_service_lb.ts";
import { startServiceLb } from "../../../../core/service_lb/service_lb_controller.ts";
import type { ServiceLbOptions } from "../../../../core/service_lb/service_lb_options.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { type Fault } from "../../../support/memory_api/faults.ts";
import { startMemoryApi } from "../../../support/memory_api/memory_api.ts";
import { SERVICE_OPTIONS } from "./fixtures.ts";
import { parseKubeconfigText } from "./kubeconfig_text.ts";

/** A cluster of simulated nodes whose agents set every gate at once. */
export interface Cluster {
  readonly admin: KubeClient;
  /** For a program of its own. */
  kubeconfig(): Promise<string>;
  readonly events: ServiceEvent[];
  /** Starts the controller; the returned function stops it. */
  startController(overrides?: Partial<ServiceLbOptions>, beginAsk?: BeginAsk): () => Promise<void>;
  /** Makes requests go wrong, the test's own too; the returned function ends that. */
  addFault(fault: Fault): () => void;
  /** Writes by the controller so far. */
  writes(): number;
  service(name: string): Promise<Service>;
  ips(name: string): Promise<string>;
  /** Moves the server's clock on, which objects have their age from. */
  advance(ms: number): void;
  stop(): Promise<void>;
}

const CONTROLLER = "k3slb";

async function startCluster(nodes: number): Promise<Cluster> {
  let aheadMs = 0;
  const api = await startMemoryApi({
    controllers: ["daemonSets", "scheduler", "garbageCollector", "nodeLifecycle"],
    now: () => new Date(Date.now() + aheadMs),
  });
  const open = async (user: string): Promise<KubeClient> =>
    createKubeClient({ access: await parseKubeconfigText(await api.kubeconfig(user)), clock: SYSTEM_CLOCK });
  const admin = await open("admin");
  const client = await open("admin");
  let writes = 0;
  const counted = new Proxy(client, {
    get: (target, name): unknown => {
      const method: unknown = Reflect.get(target, name);
      if (typeof method !== "function") return method;
      return (...args: unknown[]): unknown => {
        if (name === "apply" || name === "patch" || name === "delete" || name === "create") writes++;
        return Reflect.apply(method, target, args);
      };
    },
  });
  for (let index = 1; index <= nodes; index++) await addNode(admin, index);
  const agents = new AbortController();
  const pods = startReflector<Pod>({
    client: admin,
    type: PODS,
    clock: SYSTEM_CLOCK,
    logger: SILENT_LOGGER,
    signal: agents.signal,
    onChange: ({ after }) => {
      if (!after?.spec?.nodeName) return;
      if (after.metadata?.deletionTimestamp !== undefined) void endPod(admin, after);
      else if (!after.status?.conditions?.some(({ type }) => type === GATE)) void setGate(admin, after);
    },
  });
  await pods.synced;
  const events: ServiceEvent[] = [];
  const service = (name: string): Promise<Service> => admin.get(SERVICES, { namespace: "default", name });
  return {
    admin,
    kubeconfig: () => api.kubeconfig("admin"),
    events,
    startController: (overrides = {}, beginAsk = undefined) => {
      const stop = new AbortController();
      const running = startServiceLb({
        client: counted,
        options: {
          ...SERVICE_OPTIONS,
          lbClass: `${CONTROLLER}.io/x`,
          lbDefault: true,
          // Their addresses are nobody's, or somebody else's.
          askNodes: beginAsk !== undefined,
          ...overrides,
        },
        ...(beginAsk === undefined ? {} : { beginAsk }),
        clock: SYSTEM_CLOCK,
        logger: SILENT_LOGGER,
        events: { record: (_target, event) => void events.push(event) },
        signal: stop.signal,
      });
      return async () => {
        stop.abort();
        await running.done;
      };
    },
    addFault: (fault) => api.faults.add(fault),
    writes: () => writes,
    advance: (ms) => void (aheadMs += ms),
    service,
    ips: async (name) => ((await service(name)).status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip).join(" "),
    stop: async () => {
      agents.abort();
      await pods.done;
      admin.close();
      client.close();
      await api.stop();
    },
  };
}

const GATE = "k3slb.io/Programmed";

async function setGate(admin: KubeClient, pod: Pod): Promise<void> {
  const { namespace = "", name = "" } = pod.metadata ?? {};
  const body = { status: { conditions: [{ type: GATE, status: "True", reason: "Programmed", message: "" }] } };
  await admin.patch(PODS, { namespace, name }, { type: "strategic", body }, { subresource: "status" }).catch(() => {
    // The pod is gone already.
  });
}

async function endPod(admin: KubeClient, pod: Pod): Promise<void> {
  const { namespace = "", name = "" } = pod.metadata ?? {};
  await admin.delete(PODS, { namespace, name }, { gracePeriodSeconds: 0 }).catch(() => {
    // The pod is gone already.
  });
}

async function addNode(admin: KubeClient, index: number): Promise<void> {
  const name = `n${index}`;
  const metadata = { name, labels: { "kubernetes.io/os": "linux", "kubernetes.io/hostname": name } };
  await admin.create(NODES, { apiVersion: "v1", kind: "Node", metadata } as Node);
  const status = {
    addresses: [{ type: "InternalIP", address: `10.0.0.${index}` }],
    allocatable: { cpu: "4", memory: "8Gi", pods: "100" },
    conditions: [{ type: "Ready", status: "True" }, { type: "k3slb.io/Forwarding", status: "True" }],
  };
  await admin.patch(NODES, { name }, { type: "merge", body: { status } }, { subresource: "status" });
}

/** A Service of type LoadBalancer in namespace `default`. */
export function loadBalancer(name: string, port: number, spec: Partial<NonNullable<Service["spec"]>> = {}): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { type: "LoadBalancer", selector: { app: name }, ports: [{ port, protocol: "TCP" }], ...spec },
  };
}

/** Runs `run` on a fresh cluster of `nodes` nodes and ends it. */
export async function withCluster(nodes: number, run: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = await startCluster(nodes);
  try {
    await run(cluster);
  } finally {
    await cluster.stop();
  }
}

/** The controller, with nobody to hear of it. */
export function startQuietly(parts: Pick<StartServiceLbOptions, "client" | "clock" | "signal">): ServiceLb {
  return startServiceLb({
    ...parts,
    options: { ...SERVICE_OPTIONS, lbClass: `${CONTROLLER}.io/x`, lbDefault: true, askNodes: false },
    logger: SILENT_LOGGER,
    events: { record: () => {} },
  });
}
