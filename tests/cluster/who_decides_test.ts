// Who decides what a node serves: its pods, where no server publishes anything for agents; else the agent, and no client notices the change
// from one to the other, whoever is upgraded first. K3SLB_OLD_PROGRAM names a program of a version whose agents go by pods.
import { equal } from "node:assert/strict";
import process from "node:process";
import { CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CONFIG_MAPS, DAEMON_SETS, NODES } from "../../core/kube/resources.ts";
import type { DaemonSet } from "../../core/kube/types.ts";
import { FACTS_CONFIG_MAP } from "../../core/service/cluster_facts.ts";
import { NODE_REPORT_ANNOTATION, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../core/service/labels.ts";
import { desiredPrerequisites } from "../../core/service_lb/groundwork/prerequisites.ts";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import type { TestNamespace } from "../support/world_objects.ts";
import { worldSuite } from "../support/world_suite.ts";

/** Connects without a pause to the Service on each node until told to end; what failed. */
function startConnecting(world: World, port: number): () => Promise<readonly string[]> {
  const failures: string[] = [];
  let isOver = false;
  const connect = async (ip: string): Promise<void> => {
    while (!isOver) {
      const { outcome } = await world.client.ns.request({ protocol: "tcp", ip, port });
      if (outcome !== "answer") failures.push(`${ip}: ${outcome}`);
    }
  };
  const running = world.nodeIps.map(connect);
  return async () => {
    isOver = true;
    await Promise.all(running);
    return failures;
  };
}

async function waitForReports(world: World, wanted: number): Promise<void> {
  await waitUntil(`${wanted} agents to report`, async () => {
    const { items } = await world.admin.list(NODES);
    return items.filter(({ metadata }) => metadata?.annotations?.[NODE_REPORT_ANNOTATION] !== undefined).length ===
      wanted;
  }, { explain: () => Promise.resolve(world.logs()), deadlineMs: 90_000 });
}

async function serveEcho(world: World, ns: TestNamespace): Promise<number> {
  const port = world.port();
  await ns.createApp({ name: "echo", nodes: ["node1"] });
  await ns.createService({ name: "echo", ports: [port] });
  await ns.waitForIngress("echo", world.nodeIps);
  for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
  return port;
}

/** Starts programs of the version before. */
async function withOldProgram<T>(start: () => Promise<T>): Promise<T> {
  const before = process.env["K3SLB_PROGRAM"];
  process.env["K3SLB_PROGRAM"] = OLD_PROGRAM;
  try {
    return await start();
  } finally {
    if (before === undefined) delete process.env["K3SLB_PROGRAM"];
    else process.env["K3SLB_PROGRAM"] = before;
  }
}

const OLD_PROGRAM = process.env["K3SLB_OLD_PROGRAM"] ?? "";
const NEEDS_OLD = OLD_PROGRAM === "" ? { skip: "K3SLB_OLD_PROGRAM names no older program" } : {};

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, servers: 0 });

  test("pods of a stock K3s, without a gate, are forwarded by the agent too", async ({ world, ns }) => {
    // As an administrator does where no server of ours is.
    const { endpointReader } = desiredPrerequisites("agent", "kube-system").nodeRights ?? {};
    if (endpointReader === undefined) throw new TypeError("Agents need a right");
    await world.admin.apply(CLUSTER_ROLES, endpointReader.role);
    await world.admin.apply(CLUSTER_ROLE_BINDINGS, endpointReader.binding);
    const port = world.port();
    await ns.createApp({ name: "stock", nodes: ["node2"] });
    await ns.createService({ name: "stock", ports: [port], spec: { loadBalancerClass: "example.com/stock" } });
    const name = "svclb-stock-11111111";
    const labels = { [SERVICE_NAME_LABEL]: "stock", [SERVICE_NAMESPACE_LABEL]: ns.name };
    await world.admin.create(DAEMON_SETS, {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name, namespace: "kube-system" },
      spec: {
        selector: { matchLabels: { app: name } },
        template: {
          metadata: { labels: { app: name, ...labels } },
          spec: {
            containers: [{
              name: `lb-tcp-${port}`,
              image: "klipper-lb",
              ports: [{ containerPort: port, hostPort: port }],
            }],
          },
        },
      },
    } as DaemonSet);
    await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node("node1").ip4, port });
    await world.admin.delete(DAEMON_SETS, { namespace: "kube-system", name });
  });

  test("agents that may not read the facts go by pods; once they may, they decide, and no connection fails", async ({ world, ns }) => {
    for (const node of world.nodes) await node.stopAgent();
    const server = await world.startServer();
    await Promise.all(world.nodes.map((node) => node.startAgent()));
    const port = await serveEcho(world, ns);
    await waitForReports(world, 2);
    const end = startConnecting(world, port);
    // Pods decide where facts are taken away for good, as by a server of an older version.
    await server.stop();
    await world.admin.delete(CONFIG_MAPS, { namespace: "kube-system", name: FACTS_CONFIG_MAP });
    await waitForReports(world, 0);
    await world.startServer();
    await waitForReports(world, 2);
    await ns.waitForIngress("echo", world.nodeIps);
    equal((await end()).join(", "), "");
    await world.servers.at(-1)?.stop();
  });

  for (const first of ["agents", "server"] as const) {
    test(`an upgrade with the ${first} first, and back again, refuses no connection`, async ({ world, ns }) => {
      for (const node of world.nodes) await node.stopAgent();
      const old = await withOldProgram(async () => {
        const server = await world.startServer();
        for (const node of world.nodes) await node.startAgent();
        return server;
      });
      const port = await serveEcho(world, ns);
      const end = startConnecting(world, port);
      const renewAgents = async (): Promise<void> => {
        for (const node of world.nodes) {
          await node.stopAgent();
          await node.startAgent();
          await world.waitForAnswer(world.client, { protocol: "tcp", ip: node.ip4, port });
        }
      };
      let server = old;
      const renewServer = async (): Promise<void> => {
        await server.stop();
        server = await world.startServer();
      };
      const steps = first === "agents" ? [renewAgents, renewServer] : [renewServer, renewAgents];
      for (const step of steps) await step();
      await waitForReports(world, 2);
      await ns.createService({ name: "later", ports: [world.port()] });
      await ns.waitForIngress("later", world.nodeIps);
      await ns.waitForIngress("echo", world.nodeIps);
      await withOldProgram(async () => {
        for (const step of steps) await step();
      });
      await ns.createService({ name: "last", ports: [world.port()] });
      await ns.waitForIngress("last", world.nodeIps);
      await ns.waitForIngress("echo", world.nodeIps);
      equal((await end()).join(", "), "");
      await server.stop();
    }, NEEDS_OLD);
  }
}
