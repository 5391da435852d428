// Nodes that die, are cut off, or only look so: what each agent and the server decide. The table in docs/concepts.md, line by line, with real packets.
// What is harmless: harmless_faults_test.ts.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { NODES } from "../../core/kube/resources.ts";
import { FORWARDING_CONDITION } from "../../core/service/labels.ts";
import { enterWorld } from "../support/netns.ts";
import { closePorts, cutBetween, pullCable } from "../support/network_faults.ts";
import { staysTrue, waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";
import { linesWith, serve, serverLogs, SEVERAL_VERDICTS_MS, verdicts } from "./asked_nodes.ts";

const BOTH_PORTS = [10_256, 10_250];
/** What is said of a node that was never heard of. */
const DEAF = "whether it is there can't be told";
/** A Linux client sends its SYN again after 1, 2, 3 and 4 s. */
const PATIENT_MS = 8_000;

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

  // The last one: those who never heard of the node ask it again in half a minute.
  test("a node whose firewall closes both ports: it is back with its agent's next heartbeat, and nobody who hears nothing of it from then on takes it out", async (t) => {
    const { world, ns } = t;
    const { port } = await serve(t, ["node1", "node2", "node3"]);
    const others = [world.node("node1").ip4, world.node("node2").ip4];
    const end = await closePorts(world.node("node3"), ...BOTH_PORTS);
    try {
      await ns.waitForIngress("web", others);
      await waitUntilSaid(world, "node1", /node3 has not answered/);
      // Another Service is news, which the agent tells with its heartbeat.
      await ns.createService({ name: "later", app: "web", ports: [world.port()] });
      for (const name of ["web", "later"]) await ns.waitForIngress(name, world.nodeIps);
      await waitUntil("node1 to use all again", async () => (await answeredBy(t, "node1", port)).length === 3);
      await waitUntil(
        "node1 to say no more of it",
        async () => !/has not answered/.test(await forwarding(world, "node1")),
        {
          deadlineMs: 30_000,
          explain: () => world.logs(),
        },
      );

      // Programs that never heard of it.
      const before = verdicts(world);
      const agentLog = [world.node("node1").logFile];
      const told = linesWith(DEAF, agentLog).length;
      await world.servers.at(-1)?.stop();
      await world.startServer();
      await world.node("node1").stopAgent();
      await world.node("node1").startAgent();
      for (const files of [serverLogs(world).slice(-1), agentLog]) {
        await waitUntil(`${files} to say so`, () => linesWith(DEAF, files).length > (files === agentLog ? told : 0), {
          deadlineMs: 60_000,
          explain: () => world.logs(),
        });
      }
      deepEqual(verdicts(world), before);
      deepEqual([...await ns.ingress("web")].sort(), [...world.nodeIps].sort());
      equal((await answeredBy(t, "node1", port)).length, 3);
    } finally {
      await end();
    }
  });
}

function doesNotSay(message: string): void {
  equal(/has not answered/.test(message), false, message);
}
