// The controller against the in-memory API server with its DaemonSet controller and scheduler; the test plays the agents.
import assert from "node:assert/strict";
import { createKubeClient } from "../../../../core/kube/client.ts";
import type { KubeClient } from "../../../../core/kube/contract.ts";
import { parseKubeconfigText } from "./kubeconfig_text.ts";
import { startReflector } from "../../../../core/kube/reflector.ts";
import { DAEMON_SETS, ENDPOINT_SLICES, NODES, PODS, SERVICES } from "../../../../core/kube/resources.ts";
import type { Node, Pod, Service } from "../../../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { removeServiceLb } from "../../../../core/service_lb/remove_service_lb.ts";
import type { ServiceEvent } from "../../../../core/service_lb/pass_context.ts";
import { startServiceLb } from "../../../../core/service_lb/service_lb_controller.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { startMemoryApi } from "../../../support/memory_api/memory_api.ts";
import { staysTrue, waitUntil } from "../../../support/wait.ts";
import { SERVICE_OPTIONS } from "./fixtures.ts";

interface Cluster {
  readonly admin: KubeClient;
  readonly events: ServiceEvent[];
  /** Starts the controller; the returned function stops it. */
  startController(): () => Promise<void>;
  /** Writes by the controller so far. */
  writes(): number;
  service(name: string): Promise<Service>;
  ips(name: string): Promise<string>;
  stop(): Promise<void>;
}

const CONTROLLER = "k3slb";

async function startCluster(nodes: number): Promise<Cluster> {
  const api = await startMemoryApi({ controllers: ["daemonSets", "scheduler", "garbageCollector", "nodeLifecycle"] });
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
    events,
    startController: () => {
      const stop = new AbortController();
      const running = startServiceLb({
        client: counted,
        options: {
          ...SERVICE_OPTIONS,
          servicelbNamespace: "kube-system",
          lbClass: `${CONTROLLER}.io/x`,
          lbDefault: true,
        },
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
    writes: () => writes,
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

function loadBalancer(name: string, port: number, spec: Partial<NonNullable<Service["spec"]>> = {}): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { type: "LoadBalancer", selector: { app: name }, ports: [{ port, protocol: "TCP" }], ...spec },
  };
}

async function withCluster(nodes: number, run: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = await startCluster(nodes);
  try {
    await run(cluster);
  } finally {
    await cluster.stop();
  }
}

Deno.test("startServiceLb() serves, is quiet, survives a restart without a word and takes all back", () =>
  withCluster(3, async ({ admin, events, startController, writes, service, ips }) => {
    const stop = startController();
    await waitUntil("prerequisites", () => writes() === 3);
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("all addresses", async () => await ips("web") === "10.0.0.1 10.0.0.2 10.0.0.3");
    assert.ok(writes() - 3 <= 4, String(writes()));
    assert.deepEqual(events.map(({ reason }) => reason), ["UpdatedLoadBalancer"]);
    const before = writes();
    await staysTrue("no writes", () => writes() === before, 500);
    await stop();
    const stopAgain = startController();
    await waitUntil("prerequisites again", () => writes() === before + 3);
    await staysTrue("no writes after a restart", () => writes() === before + 3, 500);
    await admin.delete(SERVICES, { namespace: "default", name: "web" });
    await waitUntil("the DaemonSet to go", async () => (await admin.list(DAEMON_SETS)).items.length === 0);
    await waitUntil("the Service to go", () => service("web").then(() => false, () => true));
    await stopAgain();
  }));

Deno.test("startServiceLb() follows labels there and back", () =>
  withCluster(2, async ({ admin, startController, ips }) => {
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("both", async () => await ips("web") === "10.0.0.1 10.0.0.2");
    const label = (value: string | null): Promise<Node> =>
      admin.patch(NODES, { name: "n2" }, {
        type: "merge",
        body: { metadata: { labels: { "svccontroller.k3s.cattle.io/enablelb": value } } },
      });
    await label("true");
    await waitUntil("only n2", async () => await ips("web") === "10.0.0.2");
    await label(null);
    await waitUntil("both again", async () => await ips("web") === "10.0.0.1 10.0.0.2");
    await stop();
  }));

Deno.test("startServiceLb() follows the endpoints of a Service that is or becomes Local", () =>
  withCluster(2, async ({ admin, startController, ips }) => {
    const addSlice = (name: string, nodeName: string): Promise<unknown> =>
      admin.create(ENDPOINT_SLICES, {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: { name: `${name}-x`, namespace: "default", labels: { "kubernetes.io/service-name": name } },
        addressType: "IPv4",
        endpoints: [{ addresses: ["10.42.0.5"], nodeName }],
        ports: [{ port: 80, protocol: "TCP" }],
      });
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("one", 80, { externalTrafficPolicy: "Local" }));
    await addSlice("one", "n2");
    await waitUntil("the node of the endpoint", async () => await ips("one") === "10.0.0.2");
    await admin.create(SERVICES, loadBalancer("two", 81));
    await addSlice("two", "n1");
    await waitUntil("both nodes", async () => await ips("two") === "10.0.0.1 10.0.0.2");
    const body = { spec: { externalTrafficPolicy: "Local" } };
    await admin.patch(SERVICES, { namespace: "default", name: "two" }, { type: "merge", body });
    await waitUntil("the node of the older slice", async () => await ips("two") === "10.0.0.1");
    await admin.delete(ENDPOINT_SLICES, { namespace: "default", name: "two-x" });
    await waitUntil("no node", async () => await ips("two") === "");
    await stop();
  }));

Deno.test("startServiceLb() gives a port to the next Service when the owner changes its type", () =>
  withCluster(1, async ({ admin, startController, service, ips }) => {
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("a", 80));
    await waitUntil("the owner", async () => await ips("a") === "10.0.0.1");
    await admin.create(SERVICES, loadBalancer("b", 80));
    await waitUntil(
      "the loser's reason",
      async () =>
        (await service("b")).status?.conditions?.some(({ reason, message }) =>
          reason === "PortTaken" && message.includes("default/a")
        ),
    );
    await admin.patch(SERVICES, { namespace: "default", name: "a" }, {
      type: "merge",
      body: { spec: { type: "ClusterIP" } },
    });
    await waitUntil("the next", async () => await ips("b") === "10.0.0.1");
    await waitUntil("the old owner to be released", async () => {
      const { metadata, status } = await service("a");
      return (metadata?.finalizers ?? []).length === 0 && (status?.conditions ?? []).length === 0;
    });
    await stop();
  }));

Deno.test("startServiceLb() collects DaemonSets without a Service, and only its own", () =>
  withCluster(1, async ({ admin, startController, ips }) => {
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("the address", async () => await ips("web") === "10.0.0.1");
    await stop();
    const [own] = (await admin.list(DAEMON_SETS)).items;
    const { "k3slb.io/dataplane": _mark, ...labels } = own?.metadata?.labels ?? {};
    const selector = { matchLabels: { app: "k3s" } };
    const template = { metadata: { labels: { app: "k3s" } }, spec: { containers: [{ name: "x", image: "x" }] } };
    await admin.create(DAEMON_SETS, {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "svclb-k3s", namespace: "kube-system", labels },
      spec: { selector, template },
    });
    await admin.patch(SERVICES, { namespace: "default", name: "web" }, {
      type: "merge",
      body: { metadata: { finalizers: null } },
    });
    await admin.delete(SERVICES, { namespace: "default", name: "web" });
    const stopAgain = startController();
    const names = async (): Promise<string> =>
      (await admin.list(DAEMON_SETS)).items.map(({ metadata }) => metadata?.name).join();
    await waitUntil("the orphan to go", async () => await names() === "svclb-k3s");
    await stopAgain();
  }));

Deno.test("removeServiceLb() takes back what was made, twice without harm", () =>
  withCluster(1, async ({ admin, startController, service, ips }) => {
    const stop = startController();
    await admin.create(SERVICES, loadBalancer("web", 80));
    await waitUntil("the address", async () => await ips("web") === "10.0.0.1");
    await stop();
    const options = {
      client: admin,
      namespace: "kube-system",
      logger: SILENT_LOGGER,
      signal: new AbortController().signal,
    };
    assert.deepEqual(await removeServiceLb(options), { daemonSets: 1, services: 1 });
    assert.deepEqual(await removeServiceLb(options), { daemonSets: 0, services: 0 });
    const { metadata, status } = await service("web");
    assert.deepEqual([metadata?.finalizers ?? [], status?.conditions ?? [], await ips("web")], [[], [], ""]);
  }));
