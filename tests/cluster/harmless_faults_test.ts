// What befalls nodes, programs and lines without anybody being dead: nothing may be taken out of rules and statuses for it.
// K3SLB_HARMLESS_SECONDS says for how long it goes on; with 1800 and `--filter=late` it is the half hour that an asker must bear.
import { deepEqual } from "node:assert/strict";
import process from "node:process";
import { enterWorld } from "../support/netns.ts";
import { closePorts, type EndFault, losePackets, slowLine, slowLineObstacle } from "../support/network_faults.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";
import { serve, SEVERAL_VERDICTS_MS, verdicts } from "./asked_nodes.ts";

const HARMLESS_MS = 1000 * Number(process.env["K3SLB_HARMLESS_SECONDS"] ?? 0) || SEVERAL_VERDICTS_MS;

interface HarmlessFault {
  readonly name: string;
  /** Begins it; the returned function ends it. */
  readonly begin: (world: World) => Promise<EndFault>;
  /** Why this machine can't have it. */
  readonly skip?: string | undefined;
}

/** Longer than the silence for which a node is taken for dead, so that all who are asked seem to be. */
const STANDSTILL_MS = 4_000;

const HARMLESS_FAULTS: readonly HarmlessFault[] = [
  {
    name: "the kubelet's port is closed by a firewall",
    begin: (world) => closePorts(world.node("node3"), 10_250),
  },
  {
    name: "kube-proxy's port is closed by a firewall",
    begin: (world) => closePorts(world.node("node3"), 10_256),
  },
  {
    name: "programs at both ports are frozen: the kernel answers",
    begin: async (world) => {
      const { ns } = world.node("node3");
      const pids = async (): Promise<readonly number[]> => {
        const sockets = await ns.run("ss", ["-Hltnp", "sport = :10250 or sport = :10256"]);
        return [...new Set([...sockets.matchAll(/pid=(\d+)/g)].map(([, pid]) => Number(pid)))];
      };
      // Real nodes have kubelet and kube-proxy; simulated ones get something that listens in their place.
      if ((await pids()).length === 0) {
        const script = "for (const port of [10250, 10256]) Deno.listen({ port }); setInterval(() => {}, 1e6)";
        ns.spawn(Deno.execPath(), ["eval", "--no-config", script]);
      }
      await waitUntil("programs to listen", async () => (await pids()).length > 0);
      const frozen = await pids();
      for (const pid of frozen) Deno.kill(pid, "SIGSTOP");
      return () => Promise.resolve(frozen.forEach((pid) => Deno.kill(pid, "SIGCONT")));
    },
  },
  {
    name: "a kubelet is started anew",
    begin: async (world) => {
      await world.node("node3").stopKubelet();
      await world.node("node3").startKubelet();
      return () => Promise.resolve();
    },
  },
  {
    name: "the asking programs themselves stand still",
    begin: async (world) => {
      const programs = [...world.servers.slice(-1), ...world.nodes.flatMap(({ agent }) => agent ?? [])];
      for (const program of programs) program.pause();
      await new Promise((resolve) => setTimeout(resolve, STANDSTILL_MS));
      for (const program of programs) program.resume();
      return () => Promise.resolve();
    },
  },
  { name: "the API server is away", begin: (world) => world.api.breakDown("refuse") },
  {
    name: "5 % of all packets that come to a node are lost",
    begin: (world) => onAllNodes(world, (node) => losePackets(node, 0.05)),
  },
  {
    // From node to node and back four lines are passed.
    name: "between nodes every answer is 300 ms late, and 5 % of all is lost each way",
    begin: (world) => onAllNodes(world, (node) => slowLine(world.topology.lan, node, { delayMs: 75, loss: 0.025 })),
    skip: slowLineObstacle(),
  },
];

/** Begins a fault for each node. */
async function onAllNodes(world: World, begin: (node: World["nodes"][number]) => Promise<EndFault>): Promise<EndFault> {
  const ends = await Promise.all(world.nodes.map(begin));
  return async () => void await Promise.all(ends.map((end) => end()));
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 3 });

  // What all of them leave as it is.
  let served: WorldTest | undefined;

  for (const { name, begin, skip } of HARMLESS_FAULTS) {
    test(`nothing is taken out: ${name}`, async (given) => {
      if (served === undefined) await serve(served = given, ["node1", "node2", "node3"]);
      const { world, ns } = served;
      const before = verdicts(world);
      const end = await begin(world);
      try {
        await staysTrue(
          "no node is found dead",
          () => {
            deepEqual(verdicts(world), before, `${JSON.stringify(verdicts(world))}\n${world.logs()}`);
            return true;
          },
          HARMLESS_MS,
          500,
        );
      } finally {
        await end();
      }
      await ns.waitForIngress("web", world.nodeIps);
    }, skip === undefined ? {} : { skip });
  }
}
