// Nodes that die, are cut off, or only look so: what each agent and the server decide. The table in docs/concepts.md, line by line, with real packets.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { NODES } from "../../core/kube/resources.ts";
import { FORWARDING_CONDITION } from "../../core/service/labels.ts";
import { enterWorld } from "../support/netns.ts";
import { closePorts, cutBetween, losePackets, pullCable } from "../support/network_faults.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

const API_IP = "172.30.0.1";
/** Longer than it takes to find a node dead, and to find it again. */
const SEVERAL_VERDICTS_MS = 6_000;
/** A Linux client sends its SYN again after 1, 2, 3 and 4 s. */
const PATIENT_MS = 8_000;

interface Served {
  readonly port: number;
  readonly pods: readonly string[];
}

/** An app with a pod on each of `nodes`; every node has been asked by all who ask it. */
async function serve({ world, ns }: WorldTest, nodes: readonly string[]): Promise<Served> {
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
    await waitUntil(`all to have asked ${node.name}`, async () => {
      const seen = await node.ns.run("iptables", ["-w", "-t", "raw", "-nvxL", "OUTPUT"]);
      const counted = seen.split("\n").filter((line) => line.includes("multiport sports"));
      return counted.length === rules.length && counted.every((line) => !/^\s*0\s/.test(line));
    }, { explain: () => world.logs() });
    for (const rule of rules) await node.ns.run("iptables", ["-w", "-t", "raw", "-D", ...rule]);
  }
}

/** What an agent says of itself in its Node. */
async function forwarding(world: World, node: string): Promise<string> {
  const { status } = await world.admin.get(NODES, { name: node });
  return status?.conditions?.find(({ type }) => type === FORWARDING_CONDITION)?.message ?? "";
}

async function waitUntilSaid(world: World, node: string, words: RegExp): Promise<void> {
  await waitUntil(`${node} to say ${words}`, async () => words.test(await forwarding(world, node)), {
    deadlineMs: 30_000,
    explain: () => world.logs(),
  });
}

/** How often a node was found dead so far, by anybody. */
function verdicts(world: World): number {
  const folder = dirname(world.node("node1").logFile);
  const servers = world.servers.map(({ name }) => join(folder, `${name}.log`));
  const words = "A node does not answer any more";
  return [...world.nodes.map(({ logFile }) => logFile), ...servers]
    .reduce((sum, file) => sum + readFileSync(file, "utf8").split(words).length - 1, 0);
}

/** Who answers 40 new connections to a node. */
async function answeredBy({ world }: WorldTest, node: string, port: number): Promise<readonly string[]> {
  const request = { protocol: "tcp", ip: world.node(node).ip4, port, timeoutMs: PATIENT_MS } as const;
  return Object.keys(await world.client.ns.requestMany(request, 40)).sort();
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 3 });

  for (const how of ["its network is cut", "its power is gone"] as const) {
    test(`a node dies (${how}): connections through the others are late at most, its address goes, and both come back`, async (t) => {
      const { world, ns } = t;
      const { port } = await serve(t, ["node1", "node2", "node3"]);
      const dying = world.node("node3");
      const targets = ["node1", "node2"].map((name) =>
        ({ protocol: "tcp", ip: world.node(name).ip4, port, timeoutMs: PATIENT_MS }) as const
      );
      const plugIn = await pullCable(world.topology.lan, dying);
      try {
        if (how === "its power is gone") await Promise.all([dying.killAgent(), dying.stopKubelet()]);
        const flow = await world.client.ns.startFlow(targets, 50);
        await ns.waitForIngress("web", [world.node("node1").ip4, world.node("node2").ip4]);
        for (const name of ["node1", "node2"]) await waitUntilSaid(world, name, /node3 has not answered this node at /);
        for (const counts of await flow.stop()) {
          deepEqual(Object.keys(counts), ["answer"], JSON.stringify(counts));
        }
        const condition = await ns.waitForCondition(
          "web",
          ({ message }) => /node3: the node has not/.test(message ?? ""),
        );
        equal(condition.reason, "PartlyServed");
        match(condition.message ?? "", /node3: the node has not answered the server at 172\.30\.0\.13 since \d{4}-/);
        await waitUntil(
          "an Event with the same words",
          async () =>
            (await ns.events("web")).some(({ message }) => /node3: the node has not answered/.test(message ?? "")),
        );
      } finally {
        await plugIn();
        if (how === "its power is gone") {
          await dying.startKubelet();
          await dying.startAgent();
        }
      }
      await ns.waitForIngress("web", world.nodeIps, 60_000);
      await waitUntil(
        "its pod to answer again through node1",
        async () => (await answeredBy(t, "node1", port)).includes("web-node3"),
        { deadlineMs: 60_000, explain: () => world.logs() },
      );
    });
  }

  test("the last endpoints stay in the rules, and the last address in the status, however dead", async (t) => {
    const { world, ns } = t;
    const { port } = await serve(t, ["node3"]);
    const plugIn = await pullCable(world.topology.lan, world.node("node3"));
    try {
      await ns.waitForIngress("web", [world.node("node1").ip4, world.node("node2").ip4]);
      await waitUntilSaid(world, "node1", /node3 has not answered/);
      const request = { protocol: "tcp", ip: world.node("node1").ip4, port, timeoutMs: 1000 } as const;
      equal((await world.client.ns.request(request)).outcome, "timeout", "not refused");
      // A connect that nobody answers does not hold up a program that is to end.
      equal(await world.node("node1").agent?.stop(), 0);
      await world.node("node1").startAgent();
    } finally {
      await plugIn();
    }
    await ns.waitForIngress("web", world.nodeIps);
    await world.waitForAnswer(world.client, { protocol: "tcp", ip: world.node("node1").ip4, port });
  });

  test("cut between two nodes only: they pass over each other's endpoints, the third uses all, the status stays", async (t) => {
    const { world, ns } = t;
    const { port } = await serve(t, ["node1", "node2", "node3"]);
    const [one, two] = [world.topology.nodes[0], world.topology.nodes[1]];
    ok(one && two);
    const mend = await cutBetween(one, two);
    try {
      await waitUntilSaid(world, "node1", /node2 has not answered/);
      await waitUntilSaid(world, "node2", /node1 has not answered/);
      deepEqual(await answeredBy(t, "node1", port), ["web-node1", "web-node3"]);
      deepEqual(await answeredBy(t, "node2", port), ["web-node2", "web-node3"]);
      deepEqual(await answeredBy(t, "node3", port), ["web-node1", "web-node2", "web-node3"]);
      deepEqual([...await ns.ingress("web")].sort(), [...world.nodeIps].sort());
    } finally {
      await mend();
    }
    await waitUntil("node1 to use all again", async () => (await answeredBy(t, "node1", port)).length === 3);
  });

  test("a node that is cut off takes nobody for dead: its own rules stay as they are", async (t) => {
    const { world } = t;
    await serve(t, ["node1", "node2", "node3"]);
    const node = world.node("node3");
    const rules = async (): Promise<string> =>
      (await node.ns.run("iptables-save", ["-t", "nat"])).split("\n").filter((line) => line.includes("DNAT")).sort()
        .join("\n");
    const before = await rules();
    const plugIn = await pullCable(world.topology.lan, node);
    try {
      await staysTrue("all endpoints stay", async () => await rules() === before, SEVERAL_VERDICTS_MS);
    } finally {
      await plugIn();
    }
    await t.ns.waitForIngress("web", world.nodeIps);
    doesNotSay(await forwarding(world, "node3"));
  });

  const HARMLESS: readonly {
    readonly name: string;
    readonly begin: (world: World) => Promise<() => Promise<unknown>>;
  }[] = [
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
    { name: "the API server is away", begin: (world) => world.api.breakDown("refuse") },
    {
      name: "5 % of all packets that come to a node are lost",
      begin: async (world) => {
        const ends = await Promise.all(world.nodes.map((node) => losePackets(node, 0.05)));
        return () => Promise.all(ends.map((end) => end()));
      },
    },
  ];
  for (const { name, begin } of HARMLESS) {
    test(`nothing is taken out: ${name}`, async (t) => {
      const { world, ns } = t;
      await serve(t, ["node1", "node2", "node3"]);
      const before = verdicts(world);
      const end = await begin(world);
      try {
        await staysTrue("no node is found dead", () => verdicts(world) === before, SEVERAL_VERDICTS_MS);
      } finally {
        await end();
      }
      await ns.waitForIngress("web", world.nodeIps);
    });
  }
}

function doesNotSay(message: string): void {
  equal(/has not answered/.test(message), false, message);
}
