// Nodes that serve and are asked whether they are there, and what is said of those that don't answer.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import type { WorldTest } from "../support/world_suite.ts";

const API_IP = "172.30.0.1";

/** Longer than it takes to find a node dead, and to find it again. */
export const SEVERAL_VERDICTS_MS = 6_000;

/** What {@linkcode serve} made. */
export interface Served {
  readonly port: number;
  readonly pods: readonly string[];
}

/** An app with a pod on each of `nodes`; every node has been asked by all who ask it. */
export async function serve({ world, ns }: WorldTest, nodes: readonly string[]): Promise<Served> {
  const port = world.port();
  const pods = await ns.createApp({ name: "web", nodes });
  await ns.createService({ name: "web", ports: [port] });
  await ns.waitForIngress("web", world.nodeIps);
  for (const { ip4 } of world.nodes) await world.waitForAnswer(world.client, { protocol: "tcp", ip: ip4, port });
  await waitUntilAsked(world, nodes);
  return { port, pods };
}

/** Waits until the nodes have answered everybody who asks them: the server, and the agents of other nodes. */
async function waitUntilAsked(world: World, nodes: readonly string[]): Promise<void> {
  for (const node of nodes.map((name) => world.node(name))) {
    const askers = [API_IP, ...world.nodes.filter(({ name }) => name !== node.name).map(({ ip4 }) => ip4)];
    const rules = askers.map((ip) => ["OUTPUT", "-p", "tcp", "-d", ip, "-m", "multiport", "--sports", "10256,10250"]);
    for (const rule of rules) await node.ns.run("iptables", ["-w", "-t", "raw", "-I", ...rule]);
    let seen = "";
    try {
      await waitUntil(`all to have asked ${node.name}`, async () => {
        seen = await node.ns.run("iptables", ["-w", "-t", "raw", "-nvxL", "OUTPUT"]);
        const counted = seen.split("\n").filter((line) => line.includes("multiport sports"));
        return counted.length === rules.length && counted.every((line) => !/^\s*0\s/.test(line));
      }, { explain: () => `${seen}\n${world.logs()}` });
    } finally {
      for (const rule of rules) await node.ns.run("iptables", ["-w", "-t", "raw", "-D", ...rule]);
    }
  }
}

/** Log files of all servers that were started. */
export function serverLogs(world: World): readonly string[] {
  const folder = dirname(world.node("node1").logFile);
  return world.servers.map(({ name }) => join(folder, `${name}.log`));
}

/** Lines of logs with these words. */
export function linesWith(words: string, files: readonly string[]): readonly string[] {
  return files.flatMap((file) =>
    readFileSync(file, "utf8").split("\n").filter((line) => line.includes(words)).map((line) => `${file}: ${line}`)
  );
}

/** What was said so far, by anybody, of nodes that are found dead. */
export function verdicts(world: World): readonly string[] {
  const agents = world.nodes.map(({ logFile }) => logFile);
  return linesWith("A node does not answer any more", [...agents, ...serverLogs(world)]);
}
