// Programs run for months, and objects come and go: what is kept of one goes with it.
import { deepEqual, equal } from "node:assert/strict";
import { mkdir, mkdtemp, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startControllers } from "../../core/controllers.ts";
import { HELM_CHARTS, type HelmChart } from "../../core/helm/helm_chart.ts";
import { createEventRecorder } from "../../core/kube/events.ts";
import {
  CLUSTER_ROLE_BINDINGS,
  DAEMON_SETS,
  ENDPOINT_SLICES,
  JOBS,
  NODES,
  PODS,
  SERVICES,
} from "../../core/kube/resources.ts";
import type { KubeObject, Node, Service } from "../../core/kube/types.ts";
import { ADD_ONS } from "../../core/manifests/record/addon.ts";
import type { BeginAsk } from "../../core/runtime/ask_nodes.ts";
import type { ServerOptions } from "../../core/server_options.ts";
import { FORWARDING_CONDITION, NODE_REPORT_ANNOTATION } from "../../core/service/labels.ts";
import { SILENT_LOGGER } from "../../core/shared/log.ts";
import { runAgent } from "../../node_agent/loop/agent.ts";
import { createFakeClock, type FakeClock } from "../support/fake_clock.ts";
import { type LivingCollections, watchCollections } from "../support/living_collections.ts";
import { createInProcess, type InProcess } from "../support/memory_api/in_process.ts";
import { waitUntil } from "../support/wait.ts";
import { SERVER_OPTIONS } from "./core/server_options.ts";
import { AGENT_OPTIONS } from "./node_agent/_agent_bench.ts";
import { FakeDataplane } from "./node_agent/_fake_dataplane.ts";

import { endpoint, NODE, node, service, slice } from "./node_agent/_objects.ts";

/** What has a bound of its own above the hundreds of these tests, by file. */
const BOUNDED: Readonly<Record<string, number>> = {
  "core/kube/object_store.ts": 1_000,
  "core/kube/events.ts": 1_000,
  "core/kube/wanted_slices.ts": 10_000,
  "core/runtime/group_standing.ts": 10_000,
};
const COUNT = 300;
const FIRST = 10;
const BATCH = 100;

interface World extends InProcess {
  readonly clock: FakeClock;
  readonly dataDir: string;
  /** Nodes that do not answer. */
  readonly silent: Set<string>;
}

/** Lets `churn` make and delete, first a few to get everything under way and then {@linkcode COUNT}, and looks at what has grown. */
async function withWorld(
  churn: (world: World, from: number, count: number) => Promise<void>,
  options: Partial<ServerOptions> = {},
): Promise<void> {
  const clock = createFakeClock();
  const dataDir = await mkdtemp(join(tmpdir(), "churn-"));
  await mkdir(join(dataDir, "server", "manifests"), { recursive: true });
  const cluster = createInProcess({
    now: () => new Date(clock.now()),
    controllers: ["customResourceDefinitions", "daemonSets", "garbageCollector", "scheduler"],
  });
  const silent = new Set<string>();
  const stop = new AbortController();
  const beginAsk: BeginAsk = (ask, onEnd) =>
    silent.has(ask.node) ? () => {} : clock.setTimer(() => onEnd("answered"), 1);
  const shared = { client: cluster.client, clock, logger: SILENT_LOGGER, signal: stop.signal, version: "0", beginAsk };
  const collections = watchCollections();
  cluster.objects(NODES).put(node());
  const agent = runAgent(AGENT_OPTIONS, {
    ...shared,
    dataplane: new FakeDataplane(),
    hostPorts: { listeners: () => Promise.resolve([]) },
    interfaces: () => [{ name: "eth0", addresses: ["192.0.2.1"] }],
    nodeName: NODE,
    instanceId: "one",
  });
  const controllers = startControllers(
    {
      ...SERVER_OPTIONS,
      dataDir,
      disable: ["coredns", "traefik"],
      pruneDeletedManifests: true,
      askNodes: true,
      ...options,
    },
    {
      ...shared,
      events: createEventRecorder({ ...shared, component: "k3slb", host: "here" }),
      env: {},
      server: "here",
    },
  );
  const world = { ...cluster, clock, dataDir, silent };
  try {
    await clock.advance(20_000);
    await churn(world, 0, FIRST);
    await clock.advance(60_000);
    collections.settle();
    const before = collections.sizes();
    for (let done = 0; done < COUNT; done += BATCH) await churn(world, FIRST + done, BATCH);
    await clock.advance(700_000);
    deepEqual(grown(collections, before), []);
  } finally {
    collections.settle();
    stop.abort();
    await Promise.all([agent, ...controllers.map(({ done }) => done)]);
    cluster.stop();
    await rm(dataDir, { recursive: true });
  }
}

function grown(collections: LivingCollections, before: ReadonlyMap<string, number>): readonly string[] {
  return [...collections.sizes()].flatMap(([line, size]) => {
    const most = BOUNDED[line.replace(/:\d+$/, "")] ?? (before.get(line) ?? 0) + SLACK;
    return size > most
      ? [`${line}: ${size} entries are left of ${COUNT} objects, ${before.get(line) ?? 0} before`]
      : [];
  });
}

const SLACK = 10;

function names(prefix: string, from: number, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${from + index}`);
}

function loadBalancer(name: string, spec: Partial<NonNullable<Service["spec"]>>): Service {
  const { uid: _, ...metadata } = service(name).metadata ?? {};
  return {
    apiVersion: "v1",
    kind: "Service",
    ...service(name, { spec: { selector: { app: name }, ...spec } }),
    metadata,
  };
}

/** With an agent that serves nothing. */
function nodeCalled(name: string, index: number, clock: FakeClock): Node {
  const lastHeartbeatTime = new Date(clock.now()).toISOString();
  return {
    metadata: { name, labels: { "kubernetes.io/os": "linux" }, annotations: { [NODE_REPORT_ANNOTATION]: "no report" } },
    status: {
      addresses: [{ type: "InternalIP", address: `198.18.${index >> 8}.${index & 255}` }],
      conditions: [
        { type: "Ready", status: "True" },
        { type: FORWARDING_CONDITION, status: "True", lastHeartbeatTime, message: "instance one" },
      ],
    },
  } as Node;
}

/** Files are read, and texts worked on, by threads, in time of their own. */
async function untilSo(what: string, clock: FakeClock, isSo: () => boolean): Promise<void> {
  await waitUntil(what, async () => {
    await clock.advance(5_000);
    return isSo();
  });
}

Deno.test("nothing is left of hundreds of Services, of which each two ask for one port", async () => {
  await withWorld(async ({ client, objects, clock }, from, count) => {
    const all = names("web", from, count);
    for (const [index, name] of all.entries()) {
      const spec: Service["spec"] = {
        ports: [{ port: 1_000 + (index >> 1), protocol: "TCP" }],
        externalTrafficPolicy: index % 4 === 0 ? "Local" : "Cluster",
      };
      await client.create(SERVICES, loadBalancer(name, spec));
      for (const  of of[name, `${name}-inner`]) objects(ENDPOINT_SLICES).put(slice(of, [endpoint("10.42.1.5")]));
    }
    await clock.advance(8_000);
    for (const name of all) {
      await client.delete(SERVICES, { namespace: "default", name });
      for (const  of of[name, `${name}-inner`]) objects(ENDPOINT_SLICES).remove(`default/${of}-abc`);
    }
    await clock.advance(15_000);
    // As the kubelet does.
    for (const { metadata } of objects(PODS).values()) objects(PODS).remove(`kube-system/${metadata?.name}`);
    await clock.advance(5_000);
    equal(objects(DAEMON_SETS).values().length, 0);
  });
});

Deno.test("nothing is left of hundreds of Services of which none is ever made a DaemonSet", async () => {
  await withWorld(async ({ client, objects, clock }, from, count) => {
    const all = names("none", from, count);
    for (const [index, name] of all.entries()) {
      await client.create(SERVICES, loadBalancer(name, { ports: [{ port: 1_000 + (index >> 1), protocol: "TCP" }] }));
    }
    await clock.advance(8_000);
    for (const name of all) objects(SERVICES).remove(`default/${name}`);
    await clock.advance(8_000);
  }, { reservePorts: "none" });
});

Deno.test("nothing is left of hundreds of nodes that came, said something, stopped answering and went", async () => {
  await withWorld(async ({ client, objects, clock, silent }, from, count) => {
    if (from === 0) await client.create(SERVICES, loadBalancer("web", {}));
    const all = names("n", from, count);
    for (const [index, name] of all.entries()) objects(NODES).put(nodeCalled(name, index, clock));
    await clock.advance(8_000);
    // One answers: were all silent, it would be this machine that is cut off.
    for (const name of all.slice(1)) silent.add(name);
    await clock.advance(30_000);
    for (const name of all) objects(NODES).remove(name);
    silent.clear();
    await clock.advance(8_000);
  });
});

Deno.test("nothing is left of hundreds of charts", async () => {
  await withWorld(async ({ client, objects, clock, dataDir }, from, count) => {
    const charts = join(dataDir, "server", "static", "charts");
    await mkdir(charts, { recursive: true });
    const all = names("chart", from, count);
    for (const name of all) {
      await writeFile(join(charts, `${name}.tgz`), name);
      await client.create(HELM_CHARTS, {
        apiVersion: "helm.cattle.io/v1",
        kind: "HelmChart",
        metadata: { name, namespace: "default" },
        spec: {
          chart: `https://%{KUBERNETES_API}%/static/charts/${name}.tgz`,
          valuesSecrets: [{ name: `${name}-values` }],
        },
      } as HelmChart);
    }
    await untilSo("Jobs", clock, () => objects(JOBS).values().length === all.length);
    for (const name of all) objects(HELM_CHARTS).remove(`default/${name}`);
    for (const kind of [JOBS, CLUSTER_ROLE_BINDINGS]) {
      for (const { metadata } of objects<KubeObject>(kind).values()) {
        objects<KubeObject>(kind).remove(metadata?.name ?? "");
      }
    }
    await clock.advance(8_000);
  });
});

/** What files say. */
const TEXTS: readonly ((name: string) => string)[] = [
  (name) => `{apiVersion: v1, kind: ConfigMap, metadata: {name: ${name}, namespace: default}}`,
  (name) => `{apiVersion: v1, kind: ConfigMap, metadata: {name: ${name}, namespace: default}, data: 7}`,
  (name) => `{apiVersion: none.example.com/v1, kind: Nothing, metadata: {name: ${name}}}`,
  () => "{",
];

Deno.test("nothing is left of hundreds of manifest files: applied, refused, of no kind, broken, two of one name", async () => {
  await withWorld(async ({ clock, dataDir, objects }, from, count) => {
    const folder = join(dataDir, "server", "manifests");
    const files = names("file", from, count).flatMap((name, index) => {
      const text = TEXTS[index % TEXTS.length]?.(name) ?? "";
      return index % 10 === 0 ? [[`${name}.yaml`, text], [`${name}.yml`, text]] : [[`${name}.yaml`, text]];
    });
    for (const [path = "", text = ""] of files) await writeFile(join(folder, path), text);
    await untilSo("AddOns", clock, () => objects(ADD_ONS).values().length > count / 2);
    for (const [path = ""] of files) await unlink(join(folder, path));
    await untilSo("AddOns", clock, () => objects(ADD_ONS).values().length === 0);
  });
});
