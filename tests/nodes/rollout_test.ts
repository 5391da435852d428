// What clients notice while the load balancer's own pods come and go: nothing. A steady rate of new connections to every node, at least
// MIN_CONNECTIONS each, through deletions, rollouts, edits, evictions, a drain and a change of the data plane; none may fail, and no
// address may leave the status. Alone: `K3SLB_WORLD=nodes deno test -A tests/nodes/rollout_test.ts`, as root;
// one case: with `--filter "deletion of all"` behind it, from inside `deno run -A tests/run_in_world.ts -- deno test ...`.
import { deepEqual } from "node:assert/strict";
import process from "node:process";
import { DAEMON_SETS, ENDPOINT_SLICES, PODS } from "../../core/kube/resources.ts";
import type { Pod } from "../../core/kube/types.ts";
import { POOL_LABEL } from "../../core/service/labels.ts";
import { enterWorld, type PeerRequest } from "../support/netns.ts";
import { OTHER_PAUSE_IMAGE } from "../support/node_images.ts";
import { isPodReady, podLines } from "../support/pod_lines.ts";
import { runToEnd } from "../support/programs.ts";
import { waitUntil } from "../support/wait.ts";
import type { TestNamespace } from "../support/world_objects.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

const MIN_CONNECTIONS = 1_000;
const INTERVAL_MS = 15;
/** Longer than one retransmission of a SYN, so that a delay is no failure. */
const TIMEOUT_MS = 5_000;
/** For how long a pod that is told to end goes on: as long as rules everywhere may need to forget it. */
const STOP_AFTER_MS = 5_000;

/** A Service on all nodes and one on a single node; both stay for the whole test. */
const SERVICES = ["everywhere", "solo"] as const;

interface Change {
  readonly name: string;
  readonly make: (test: WorldTest) => Promise<void>;
}

const CHANGES: readonly Change[] = [
  { name: "deletion of all its pods", make: deleteAllPods },
  { name: "a rollout of its DaemonSet", make: restartDaemonSets },
  { name: "an edited Service port", make: editPort },
  { name: "a renamed port", make: renamePort },
  { name: "a pod that is evicted", make: evictPods },
  { name: "a pod that kubelet ends as failed", make: failPods },
  { name: "a node that is drained and uncordoned", make: drainNode },
  {
    name: "a changed image",
    make: ({ world, ns }) => restartServer({ world, ns }, ["--pause-image", OTHER_PAUSE_IMAGE]),
  },
  { name: "a killed and restarted agent", make: restartAgents },
  {
    name: "a change to the other data plane and back",
    make: async ({ world, ns }) => {
      await restartServer({ world, ns }, ["--dataplane", "pods"]);
      await restartServer({ world, ns }, []);
    },
  },
  {
    name: "a change to no pods at all, to the other data plane, back to no pods, and back to placeholders",
    make: goRound,
  },
];

async function lbPods(ns: TestNamespace): Promise<readonly Pod[]> {
  return (await Promise.all(SERVICES.map((name) => ns.lbPods(name)))).flat();
}

/** Waits until none of the given pods is left and as many others are Ready. */
async function waitForSuccessors(ns: TestNamespace, before: readonly Pod[]): Promise<void> {
  const old = new Set(before.map(({ metadata }) => metadata?.uid));
  let now: readonly Pod[] = [];
  await waitUntil("other pods to have taken over", async () => {
    now = await lbPods(ns);
    return now.length === before.length && now.every((pod) => !old.has(pod.metadata?.uid) && isPodReady(pod));
  }, { deadlineMs: 30_000, explain: () => podLines(now) });
}

async function deleteAllPods({ world, ns }: WorldTest): Promise<void> {
  const before = await lbPods(ns);
  for (const { metadata } of before) {
    await world.admin.delete(PODS, { namespace: metadata?.namespace ?? "", name: metadata?.name ?? "" });
  }
  await waitForSuccessors(ns, before);
}

async function restartDaemonSets({ world, ns }: WorldTest): Promise<void> {
  const before = await lbPods(ns);
  const restartedAt = { annotations: { "kubectl.kubernetes.io/restartedAt": new Date().toISOString() } };
  for (const name of SERVICES) {
    for (const { metadata } of await ns.daemonSets(name)) {
      const key = { namespace: metadata?.namespace ?? "", name: metadata?.name ?? "" };
      const body = { spec: { template: { metadata: restartedAt } } };
      await world.admin.patch(DAEMON_SETS, key, { type: "strategic", body });
    }
  }
  await waitForSuccessors(ns, before);
}

/** The port under load stays; another one beside it gets another number. */
async function editPort({ world, ns }: WorldTest): Promise<void> {
  const before = await lbPods(ns);
  for (const name of SERVICES) {
    const [first, second] = (await ns.service(name)).spec?.ports ?? [];
    await ns.patchService(name, { spec: { ports: [first, { ...second, port: world.port(), nodePort: null }] } });
  }
  await waitForSuccessors(ns, before);
}

/** Slices call a port by its name, and are written anew a moment after it has another one. */
async function renamePort({ world, ns }: WorldTest): Promise<void> {
  for (const portName of ["other", "another", "third"]) {
    for (const name of SERVICES) {
      const [first, second] = (await ns.service(name)).spec?.ports ?? [];
      await ns.patchService(name, { spec: { ports: [{ ...first, name: portName }, second] } });
      await waitUntil("the slices to have the name", async () => {
        const labelSelector = `kubernetes.io/service-name=${name}`;
        const { items } = await world.admin.list(ENDPOINT_SLICES, { namespace: ns.name, labelSelector });
        return items.every(({ ports = [] }) => ports.some((port) => port.name === portName));
      });
    }
  }
}

async function evictPods({ world, ns }: WorldTest): Promise<void> {
  const before = await lbPods(ns);
  for (const { metadata } of before) {
    const { namespace, name } = metadata ?? {};
    const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { namespace, name } };
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/eviction`;
    await runToEnd([...world.api.kubectl, "create", "--raw", path, "-f", "-"], { input: JSON.stringify(eviction) });
  }
  await waitForSuccessors(ns, before);
}

/** As under pressure: kubelet kills the containers and says Failed, the DaemonSet controller deletes the pod then. */
async function failPods({ world, ns }: WorldTest): Promise<void> {
  const before = await lbPods(ns);
  for (const { metadata } of before) {
    const key = { namespace: metadata?.namespace ?? "", name: metadata?.name ?? "" };
    await world.admin.patch(PODS, key, { type: "merge", body: { spec: { activeDeadlineSeconds: 1 } } });
  }
  await waitForSuccessors(ns, before);
}

async function drainNode({ world, ns }: WorldTest): Promise<void> {
  const name = "node1";
  await runToEnd([...world.api.kubectl, "drain", name, "--ignore-daemonsets", "--force", "--delete-emptydir-data"]);
  // Whoever drains by hand also deletes what `drain` leaves.
  const before = (await lbPods(ns)).filter(({ spec }) => spec?.nodeName === name);
  for (const { metadata } of before) {
    await world.admin.delete(PODS, { namespace: metadata?.namespace ?? "", name: metadata?.name ?? "" });
  }
  await waitUntil("the pods to have ended", async () => {
    const uids = (await lbPods(ns)).map(({ metadata }) => metadata?.uid);
    return before.every(({ metadata }) => !uids.includes(metadata?.uid));
  });
  await runToEnd([...world.api.kubectl, "uncordon", name]);
  await waitUntil("all pods to be ready", async () => (await lbPods(ns)).every(isPodReady));
  await ns.createApp({ name: "app", nodes: [name], stopAfterMs: STOP_AFTER_MS });
}

async function restartServer({ world, ns }: WorldTest, args: readonly string[]): Promise<void> {
  const before = await lbPods(ns);
  await world.servers.at(-1)?.stop();
  await world.startServer(args);
  await waitForSuccessors(ns, before);
}

async function goRound({ world, ns }: WorldTest): Promise<void> {
  const { length } = await lbPods(ns);
  const none = ["--reserve-ports", "none"];
  for (const args of [none, ["--dataplane", "pods"], none, []]) {
    await world.servers.at(-1)?.stop();
    await world.startServer(args);
    await waitUntil(`what "${args.join(" ")}" asks for`, async () => {
      const pods = await lbPods(ns);
      const sets = (await Promise.all(SERVICES.map((name) => ns.daemonSets(name)))).flat();
      if (args === none) return pods.length + sets.length === 0;
      return pods.length === length && pods.every(isPodReady);
    }, { deadlineMs: 30_000, explain: () => world.logs() });
  }
}

async function restartAgents({ world }: WorldTest): Promise<void> {
  for (const node of world.nodes) {
    await node.killAgent();
    await node.startAgent();
  }
}

/** Every set of addresses that a Service's status has while it is looked at. */
function watchStatus(ns: TestNamespace): { stop(): Promise<Record<string, readonly string[]>> } {
  const seen: Record<string, Set<string>> = {};
  let isDone = false;
  const look = async (): Promise<void> => {
    while (!isDone) {
      for (const name of SERVICES) {
        // A look that fails is no change of the status.
        const ips = await ns.ingress(name).catch(() => undefined);
        if (ips !== undefined) (seen[name] ??= new Set()).add([...ips].sort().join(" "));
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const looking = look();
  return {
    stop: async () => {
      isDone = true;
      await looking;
      return Object.fromEntries(Object.entries(seen).map(([name, statuses]) => [name, [...statuses]]));
    },
  };
}

/** The address and port of a Service on one node. */
interface Target {
  readonly name: string;
  readonly ip: string;
  readonly port: number;
}

/** Makes both Services with their pods and waits for their addresses. */
async function createServices({ world, ns }: WorldTest, ports: readonly number[]): Promise<Statuses> {
  await world.node("node1").label({ [POOL_LABEL]: "solo" });
  await ns.createApp({ name: "app", nodes: ["node1", "node2"], stopAfterMs: STOP_AFTER_MS });
  for (const [i, name] of SERVICES.entries()) {
    await ns.createService({
      name,
      app: "app",
      ports: [ports[i] ?? 0, world.port()],
      labels: name === "solo" ? { [POOL_LABEL]: "solo" } : {},
    });
  }
  const everywhere = [...world.nodeIps].sort();
  const solo = [world.node("node1").ip4];
  await ns.waitForIngress("everywhere", everywhere);
  await ns.waitForIngress("solo", solo);
  // A container that is told to end while it starts hears nothing of it, and is killed half a minute later.
  await waitUntil("all pods to be ready", async () => {
    const pods = await lbPods(ns);
    return pods.length === everywhere.length + solo.length && pods.every(isPodReady);
  }, { deadlineMs: 30_000 });
  return { everywhere, solo };
}

type Statuses = Readonly<Record<(typeof SERVICES)[number], readonly string[]>>;

function targetsOf(statuses: Statuses, ports: readonly number[]): readonly Target[] {
  return SERVICES.flatMap((name, i) =>
    statuses[name].map((ip) => ({ name: `${name} on ${ip}`, ip, port: ports[i] ?? 0 }))
  );
}

async function waitForAnswers({ world }: WorldTest, targets: readonly Target[]): Promise<readonly PeerRequest[]> {
  const requests = targets.map(({ ip, port }) => ({ protocol: "tcp", ip, port, timeoutMs: TIMEOUT_MS }) as const);
  for (const request of requests) await world.waitForAnswer(world.client, request);
  return requests;
}

/** The Services' only sets of addresses, as {@linkcode watchStatus} has them. */
function oneEach(statuses: Statuses): Record<string, readonly string[]> {
  return Object.fromEntries(SERVICES.map((name) => [name, [statuses[name].join(" ")]]));
}

/** All ports get other numbers: those of before end, the new ones are served as soon as a pod holds them. */
async function withOtherPorts(test: WorldTest): Promise<void> {
  const { world, ns } = test;
  const before = [world.port(), world.port()];
  const after = [world.port(), world.port()];
  const addresses = await createServices(test, before);
  await waitForAnswers(test, targetsOf(addresses, before));
  const status = watchStatus(ns);
  const pods = await lbPods(ns);
  try {
    for (const [i, name] of SERVICES.entries()) {
      const [first, second] = (await ns.service(name)).spec?.ports ?? [];
      const ports = [
        { ...first, port: after[i], nodePort: null },
        { ...second, port: world.port(), nodePort: null },
      ];
      await ns.patchService(name, { spec: { ports } });
    }
    await waitForSuccessors(ns, pods);
    await waitForAnswers(test, targetsOf(addresses, after));
  } finally {
    const statuses = await status.stop();
    for (const name of SERVICES) await ns.deleteService(name);
    deepEqual(statuses, oneEach(addresses), `${JSON.stringify(statuses)}\n${world.logs()}`);
  }
}

async function withTraffic(test: WorldTest, change: Change): Promise<void> {
  const { world, ns } = test;
  const ports = [world.port(), world.port()];
  const addresses = await createServices(test, ports);
  const targets = targetsOf(addresses, ports);
  const requests = await waitForAnswers(test, targets);

  const status = watchStatus(ns);
  const flow = await world.client.ns.startFlow(requests, INTERVAL_MS);
  try {
    await change.make(test);
    await waitUntil(
      `${MIN_CONNECTIONS} connections to every node`,
      async () => (await flow.counts()).every((count) => total(count) >= MIN_CONNECTIONS),
      { deadlineMs: 60_000, intervalMs: 250 },
    );
  } finally {
    const counts = await flow.stop();
    const outcomes = Object.fromEntries(targets.map(({ name }, i) => [name, counts[i]]));
    process.stdout.write(`${change.name}: ${JSON.stringify(outcomes)}\n`);
    const statuses = await status.stop();
    for (const name of SERVICES) await ns.deleteService(name);
    const answered = Object.fromEntries(targets.map(({ name }, i) => [name, { answer: total(counts[i] ?? {}) }]));
    deepEqual(outcomes, answered, `${JSON.stringify(outcomes)}\n${world.logs()}`);
    deepEqual(statuses, oneEach(addresses));
  }
}

function total(count: Readonly<Record<string, number>>): number {
  return Object.values(count).reduce((sum, each) => sum + each, 0);
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 3 });

  for (const change of CHANGES) {
    test(`0 refused connections, and all addresses stay: ${change.name}`, (t) => withTraffic(t, change));
  }

  test("all addresses stay, and the new ports answer: a Service all of whose ports are edited", withOtherPorts);
}
