// From the version before to this one, the server first or the agents first: connections go on, addresses stay, and both serve what comes then.
// The version before is built from the checkout's history, or is the binary that K3SLB_PROGRAM_BEFORE names.
import { deepEqual } from "node:assert/strict";
import process from "node:process";
import { enterWorld } from "../support/netns.ts";
import { programBefore } from "../support/program_before.ts";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

const INTERVAL_MS = 20;
const MIN_CONNECTIONS = 150;

/** Steps of an upgrade. */
const STEPS = { server: upgradeServer, agents: upgradeAgents } as const;

/** Runs `make` with another program than the one under test. */
async function withProgram(program: string | undefined, make: () => Promise<unknown>): Promise<void> {
  const usual = process.env["K3SLB_PROGRAM"];
  if (program !== undefined) process.env["K3SLB_PROGRAM"] = program;
  try {
    await make();
  } finally {
    if (usual === undefined) delete process.env["K3SLB_PROGRAM"];
    else process.env["K3SLB_PROGRAM"] = usual;
  }
}

async function upgradeServer(world: World): Promise<void> {
  await world.servers.at(-1)?.stop();
  await world.startServer();
}

async function upgradeAgents(world: World): Promise<void> {
  for (const node of world.nodes) {
    await node.stopAgent();
    await node.startAgent();
  }
}

async function serve({ world, ns }: WorldTest, name: string): Promise<number> {
  const port = world.port();
  await ns.createService({ name, app: "web", ports: [port] });
  await ns.waitForIngress(name, world.nodeIps, 60_000);
  for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
  return port;
}

async function upgrade(given: WorldTest, order: readonly (keyof typeof STEPS)[]): Promise<void> {
  const { world, ns } = given;
  const before = programBefore();
  await withProgram(before, async () => {
    await upgradeServer(world);
    await upgradeAgents(world);
  });
  await ns.createApp({ name: "web", nodes: ["node1", "node2"] });
  const port = await serve(given, "web");
  const requests = world.nodeIps.map((ip) => ({ protocol: "tcp", ip, port, timeoutMs: 5_000 }) as const);
  const flow = await world.client.ns.startFlow(requests, INTERVAL_MS);
  const statuses = new Set<string>();
  const look = async (): Promise<void> => void statuses.add([...await ns.ingress("web")].sort().join(" "));
  for (const [i, step] of order.entries()) {
    await STEPS[step](world);
    // Old and new side by side, then both new: whoever is left of the old serves what the other wants.
    await serve(given, `later${i}`);
    await look();
  }
  const isEnough = (counts: readonly Readonly<Record<string, number>>[]): boolean =>
    counts.every((count) => Object.values(count).reduce((sum, each) => sum + each, 0) >= MIN_CONNECTIONS);
  await waitUntil("enough connections", async () => isEnough(await flow.counts()), { deadlineMs: 60_000 });
  const counts = await flow.stop();
  deepEqual(
    counts.map((count) => Object.keys(count)),
    counts.map(() => ["answer"]),
    `${JSON.stringify(counts)}\n${world.logs()}`,
  );
  deepEqual([...statuses], [[...world.nodeIps].sort().join(" ")]);
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, servers: 0, agents: true });
  const options = programBefore() === undefined
    ? {
      skip:
        "there is no version before: tests/run.ts with the suite nodes builds it, or K3SLB_PROGRAM_BEFORE names one",
    }
    : {};
  for (const order of [["server", "agents"], ["agents", "server"]] as const) {
    test(
      `upgrade, the ${order[0]} first: 0 failed connections, addresses stay`,
      (given) => upgrade(given, order),
      options,
    );
  }
}
