// What an upgrade must not disturb, whatever is upgraded and how: connections go on, addresses stay, and old beside new serve what comes then.
import { deepEqual } from "node:assert/strict";
import { waitUntil } from "./wait.ts";
import type { WorldTest } from "./world_suite.ts";

const INTERVAL_MS = 20;
const MIN_CONNECTIONS = 150;

async function serve({ world, ns }: WorldTest, name: string): Promise<number> {
  const port = world.port();
  await ns.createService({ name, app: "web", ports: [port] });
  await ns.waitForIngress(name, world.nodeIps, 60_000);
  for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });
  return port;
}

/** Takes `steps` one after the other under a stream of connections to every node, none of which may fail. */
export async function upgradeUnderTraffic(given: WorldTest, steps: readonly (() => Promise<void>)[]): Promise<void> {
  const { world, ns } = given;
  await ns.createApp({ name: "web", nodes: ["node1", "node2"] });
  const port = await serve(given, "web");
  const requests = world.nodeIps.map((ip) => ({ protocol: "tcp", ip, port, timeoutMs: 5_000 }) as const);
  const flow = await world.client.ns.startFlow(requests, INTERVAL_MS);
  const statuses = new Set<string>();
  const look = async (): Promise<void> => void statuses.add([...await ns.ingress("web")].sort().join(" "));
  for (const [i, step] of steps.entries()) {
    await step();
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
