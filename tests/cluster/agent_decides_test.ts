// The agent serves by itself: no pod, no scheduler, no server is in the way of a client. A steady rate of new connections to every node while
// what stands beside the Service comes and goes; none may fail.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import {
  CONFIG_MAPS,
  DAEMON_SETS,
  ENDPOINT_SLICES,
  NAMESPACES,
  NODES,
  PODS,
  ROLE_BINDINGS,
  ROLES,
} from "../../core/kube/resources.ts";
import type { EndpointSlice, KubeObject, Pod } from "../../core/kube/types.ts";
import { PAUSE_IMAGE } from "../../core/packaged/versions.ts";
import { enterWorld, type PeerRequest } from "../support/netns.ts";
import { podLines } from "../support/pod_lines.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

const INTERVAL_MS = 20;
const TIMEOUT_MS = 5_000;
const ROUNDS = 4;
const MIN_CONNECTIONS = 100;

/** Service `web` with a pod on the first node; a request to each node. */
async function serveWeb({ world, ns }: WorldTest): Promise<readonly PeerRequest[]> {
  const port = world.port();
  await ns.createApp({ name: "web", nodes: ["node1"] });
  await ns.createService({ name: "web", ports: [port] });
  await ns.waitForIngress("web", world.nodeIps);
  const requests = world.nodeIps.map((ip) => ({ protocol: "tcp", ip, port, timeoutMs: TIMEOUT_MS }) as const);
  for (const request of requests) await world.waitForAnswer(world.client, request);
  return requests;
}

/** Every connection that is made to `requests` while `change` is under way, and some after it, is answered. */
async function underTraffic(
  { world }: WorldTest,
  requests: readonly PeerRequest[],
  change: () => Promise<void>,
): Promise<void> {
  const flow = await world.client.ns.startFlow(requests, INTERVAL_MS);
  const [changed] = await Promise.allSettled([
    change().then(async () => {
      const after = (await flow.counts()).map((count) => count["answer"] ?? 0);
      await waitUntil(
        "more connections to every node",
        async () =>
          (await flow.counts()).every((count, i) => (count["answer"] ?? 0) >= (after[i] ?? 0) + MIN_CONNECTIONS),
        { deadlineMs: 60_000, intervalMs: 250 },
      );
    }),
  ]);
  const counts = await flow.stop();
  const failure = changed.status === "rejected" ? changed.reason : undefined;
  const told = `${JSON.stringify(counts)}; ${failure ?? "all changed"}\n${world.logs()}`;
  deepEqual(counts.map((count) => Object.keys(count)), requests.map(() => ["answer"]), told);
  if (failure !== undefined) throw failure;
}

async function deletePods({ world, ns }: WorldTest): Promise<void> {
  for (const { metadata } of await ns.lbPods("web")) {
    const key = { namespace: metadata?.namespace ?? "", name: metadata?.name ?? "" };
    await world.admin.delete(PODS, key, { gracePeriodSeconds: 0 });
  }
}

async function restartServer({ world }: WorldTest, args: readonly string[]): Promise<void> {
  await world.servers.at(-1)?.stop();
  await world.startServer(args);
}

function hostPod(namespace: string, port: number): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "late-proxy", namespace },
    spec: {
      nodeName: "node1",
      containers: [{ name: "c", image: "i", ports: [{ containerPort: 8080, hostPort: port, protocol: "TCP" }] }],
    },
  };
}

/**
 * Adds pods to a node until its kubelet takes no more: it counts those that it has admitted, whether they run or not. One that comes when
 * a placeholder had the last place fails, and counts no more.
 */
async function fillNode({ world, ns }: WorldTest, node: string): Promise<void> {
  const { status } = await world.admin.get(NODES, { name: node });
  const places = Number(status?.allocatable?.["pods"]);
  let pods: readonly Pod[] = [];
  await waitUntil(`${places} pods on ${node}`, async () => {
    pods = (await world.admin.list(PODS, { fieldSelector: `spec.nodeName=${node}` })).items;
    const taking = pods.filter(({ status: now }) => now?.phase !== "Failed" && now?.phase !== "Succeeded");
    for (let i = taking.length; i < places; i++) await world.admin.create(PODS, filler(ns.name, node));
    return taking.length === places && taking.every(isAdmitted);
  }, { deadlineMs: 60_000, intervalMs: 500, explain: () => `${podLines(pods)}\n${world.logs()}` });
}

/** A kubelet gives conditions to a pod that it takes, long before it runs. */
function isAdmitted({ metadata, status }: Pod): boolean {
  return metadata?.deletionTimestamp === undefined && (status?.conditions ?? []).some(({ type }) => type === "Ready");
}

function filler(namespace: string, node: string): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `filler-${filled++}`, namespace, labels: FILLER },
    spec: {
      nodeName: node,
      hostNetwork: true,
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 0,
      // That of placeholders, which would push out lesser ones.
      priorityClassName: "system-node-critical",
      containers: [{ name: "c", image: PAUSE_IMAGE }],
    },
  };
}

let filled = 0;
const FILLER = { filler: "true" };

async function emptyNode({ world, ns }: WorldTest): Promise<void> {
  for (
    const { metadata } of (await world.admin.list(PODS, { namespace: ns.name, labelSelector: "filler=true" })).items
  ) {
    const key = { namespace: ns.name, name: metadata?.name ?? "" };
    await world.admin.delete(PODS, key, { gracePeriodSeconds: 0 });
  }
}

/** Endpoints of a Service without a selector, as their owner writes them: no controller has a part in it. */
async function writeEndpoints({ world, ns }: WorldTest, service: string, pod: string): Promise<void> {
  const { status, spec } = await ns.waitForPod(pod);
  const [port] = (await ns.service(service)).spec?.ports ?? [];
  await world.admin.create(ENDPOINT_SLICES, {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: `${service}-own`, namespace: ns.name, labels: { "kubernetes.io/service-name": service } },
    addressType: "IPv4",
    ports: [{ name: port?.name ?? "", port: 8080, protocol: "TCP" }],
    endpoints: [{
      addresses: [status?.podIP ?? ""],
      nodeName: spec?.nodeName ?? "",
      conditions: { ready: true },
    }],
  } as EndpointSlice);
}

async function namesIn({ world }: WorldTest, namespace: string): Promise<readonly string[]> {
  const lists = [CONFIG_MAPS, ROLES, ROLE_BINDINGS, DAEMON_SETS].map(async (type) => {
    const { items } = await world.admin.list<KubeObject>(type, { namespace });
    return items.map(({ metadata }) => `${type.kind} ${metadata?.name}`);
  });
  return (await Promise.all(lists)).flat().filter((name) => /k3slb-(agent-)?facts|svclb/.test(name));
}

if (await enterWorld(import.meta.url)) {
  // As kubelets allow them if they are told nothing.
  const test = worldSuite({ nodes: 2, maxPods: 110 });

  test("0 refused connections, and all addresses stay, while all placeholder pods are deleted again and again", async (t) => {
    const requests = await serveWeb(t);
    await t.ns.waitForLbPods("web", t.world.nodes.map(({ name }) => name));
    await underTraffic(t, requests, async () => {
      for (let round = 0; round < ROUNDS; round++) {
        await deletePods(t);
        deepEqual([...await t.ns.ingress("web")].sort(), [...t.world.nodeIps].sort());
        await waitUntil("other pods", async () => (await t.ns.lbPods("web")).length === t.world.nodes.length);
      }
    });
  });

  test("0 refused connections while the server, then every agent, is killed and started anew", async (t) => {
    const requests = await serveWeb(t);
    await t.ns.waitForLbPods("web", t.world.nodes.map(({ name }) => name));
    await underTraffic(t, requests, async () => {
      await t.world.servers.at(-1)?.kill();
      for (const node of t.world.nodes) {
        await node.killAgent();
        await deletePods(t);
        await node.startAgent();
      }
      await t.world.startServer([]);
      await staysTrue(
        "all addresses stay",
        async () => (await t.ns.ingress("web")).length === t.world.nodes.length,
        3_000,
      );
    });
  });

  test("a Service that is made while no server runs is served, and has its addresses when one is back", async (t) => {
    const { world, ns } = t;
    await serveWeb(t);
    await world.servers.at(-1)?.stop();
    const port = world.port();
    await ns.createService({ name: "fresh", app: "web", ports: [port] });
    for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
    deepEqual([...await ns.ingress("fresh")], []);
    await world.startServer([]);
    await ns.waitForIngress("fresh", world.nodeIps);
  });

  test("--reserve-ports none: DaemonSets and pods go, no connection is lost, Services are made and served without any", async (t) => {
    const { world, ns } = t;
    const requests = await serveWeb(t);
    await underTraffic(t, requests, async () => {
      await restartServer(t, ["--reserve-ports", "none"]);
      await waitUntil("the DaemonSet to be gone", async () => (await ns.daemonSets("web")).length === 0);
      await waitUntil("its pods to be gone", async () => (await ns.lbPods("web")).length === 0);
      const port = world.port();
      await ns.createService({ name: "second", app: "web", ports: [port] });
      await ns.waitForIngress("second", world.nodeIps);
      for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
      deepEqual(await ns.daemonSets("second"), []);
      deepEqual([...await ns.ingress("web")].sort(), [...world.nodeIps].sort());
      await restartServer(t, []);
      await waitUntil("the DaemonSet to be back", async () => (await ns.daemonSets("web")).length === 1);
      await waitUntil("its pods to be back", async () => (await ns.lbPods("web")).length === world.nodes.length);
    });
    ok((await world.admin.list(DAEMON_SETS, { namespace: "kube-system" })).items.length >= 2);
  });

  test("--reserve-ports none: a pod that asks for a port that is served gets no connection, and the Service names it", async (t) => {
    const { world, ns } = t;
    await restartServer(t, ["--reserve-ports", "none"]);
    const requests = await serveWeb(t);
    await world.admin.create(PODS, hostPod(ns.name, requests[0]?.port ?? 0));
    const said = await ns.waitForCondition("web", ({ message = "" }) => message.includes("late-proxy"));
    match(said.message ?? "", new RegExp(`node1: .*pod ${ns.name}/late-proxy`));
    await underTraffic(t, requests, async () => {
      await world.node("node1").killAgent();
      await world.node("node1").startAgent();
    });
    await restartServer(t, []);
  });

  test(
    "a node with 110 pods, then no scheduler and no controller-manager: 0 refused connections, and what is made meanwhile is served everywhere",
    async (t) => {
      const { world, ns } = t;
      const requests = await serveWeb(t);
      const answers = async (name: string, port: number): Promise<void> => {
        for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
        await ns.waitForIngress(name, world.nodeIps);
      };
      await underTraffic(t, requests, async () => {
        await fillNode(t, "node2");
        const port = world.port();
        await ns.createService({ name: "fresh", app: "web", ports: [port] });
        await answers("fresh", port);

        const names = ["kube-controller-manager", "kube-scheduler"] as const;
        const goOn = names.map((name) => world.api.pauseController(name));
        try {
          await deletePods(t);
          await fillNode(t, "node2");
          const late = world.port();
          await ns.createService({ name: "late", ports: [late], spec: { selector: {} } });
          await writeEndpoints(t, "late", "web-node1");
          await answers("late", late);
          deepEqual(await ns.lbPods("late"), []);
        } finally {
          for (const each of goOn) each();
        }
        const said = await ns.waitForCondition("fresh", ({ message = "" }) => message.includes("not kept"), 100_000);
        deepEqual([said.status, said.reason], ["True", "Served"]);
        match(said.message ?? "", /node2: its ports are not kept from other pods: .*Too many pods/);
        await emptyNode(t);
        for (const name of ["web", "fresh", "late"]) await ns.waitForLbPods(name, ["node1", "node2"]);
        deepEqual([...await ns.ingress("web")].sort(), [...world.nodeIps].sort());
      });
    },
    { only: { kind: "nodes", reason: "full is a kubelet's word, and controllers are programs there" } },
  );

  // The last one: the namespace is another one then.
  test("--servicelb-namespace changes, on the server first and on the agents then: 0 refused connections, nothing is left in the old place", async (t) => {
    const { world, ns } = t;
    const requests = await serveWeb(t);
    const moved = ["--servicelb-namespace", "elsewhere"];
    await world.admin.create(NAMESPACES, { metadata: { name: "elsewhere" } });
    await underTraffic(t, requests, async () => {
      await restartServer(t, moved);
      const all = ["ConfigMap k3slb-facts", "Role k3slb-agent-facts", "RoleBinding k3slb-agent-facts"];
      const isLeft = (name: string): boolean => name.startsWith("DaemonSet");
      await waitUntil("DaemonSets to have moved", async () => !(await namesIn(t, "kube-system")).some(isLeft));
      deepEqual(await namesIn(t, "kube-system"), all, "while agents read it");
      for (const node of world.nodes) {
        await node.stopAgent();
        await node.startAgent({ args: moved });
      }
      await waitUntil("nothing to be left", async () => (await namesIn(t, "kube-system")).length === 0, {
        explain: () => world.logs(),
      });
      equal((await namesIn(t, "elsewhere")).filter((name) => all.includes(name)).length, all.length);
      const port = world.port();
      await ns.createService({ name: "fresh", app: "web", ports: [port] });
      await ns.waitForIngress("fresh", world.nodeIps);
      for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
      deepEqual([...await ns.ingress("web")].sort(), [...world.nodeIps].sort());
    });
  });
}
