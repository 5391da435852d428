// "Nodes Without a Hostname": which node an agent takes itself for, on hosts whose name says nothing.
// The proof is always the same: the agent forwards for its node, so the Service is served.
import { equal, match, ok } from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { enterWorld } from "../support/netns.ts";
import { waitUntil } from "../support/wait.ts";
import { type AgentStart } from "../support/world_node.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

/** Kubeconfig of an administrator: it does not tell a node's name. */
function adminKubeconfig({ world }: WorldTest): Promise<string> {
  return world.api.kubeconfig("admin", ["system:masters"]);
}

/** Replaces the first node's agent, proves that it serves, and puts the usual one back. */
async function servesWith({ world, ns }: WorldTest, start: AgentStart): Promise<void> {
  const node = world.node("node1");
  await node.stopAgent();
  try {
    const agent = await node.startAgent(start);
    const port = world.port();
    await ns.createApp({ name: "web", nodes: ["node2"] });
    await ns.createService({ name: "web", ports: [port] });
    await ns.waitForIngress("web", world.nodeIps);
    await world.waitForAnswer(world.client, { protocol: "tcp", ip: node.ip4, port });
    ok(agent.running);
  } finally {
    await node.stopAgent();
    await node.startAgent();
  }
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2 });

  for (const hostName of ["localhost", "localhost.localdomain", "(none)", "Upper-Case", "under_score", "node2"]) {
    test(`Some cloud providers will create machines with "${hostName}" as the hostname: the credentials name the node`, (t) =>
      servesWith(t, { hostName }));
  }

  test("Others may not have a hostname set at all: the credentials name the node", (t) =>
    servesWith(t, { hostName: "" }));

  test("A host name in upper case is the node's name in lower case when the credentials name no node", async (t) =>
    servesWith(t, { hostName: "NODE1", kubeconfig: await adminKubeconfig(t) }));

  test("A host name that says nothing: the node is found by its addresses when the credentials name no node", async (t) =>
    servesWith(t, { hostName: "localhost", kubeconfig: await adminKubeconfig(t) }));

  test("You can run it with the `--node-name` flag", async (t) =>
    servesWith(t, { hostName: "localhost", kubeconfig: await adminKubeconfig(t), args: ["--node-name", "node1"] }));

  test("You can run it with the `K3S_NODE_NAME` environment variable", async (t) =>
    servesWith(t, { hostName: "localhost", kubeconfig: await adminKubeconfig(t), env: { K3S_NODE_NAME: "node1" } }));

  test("A config file with K3s's `node-name` key passes the node name", async (t) => {
    const config = join(mkdtempSync(join(tmpdir(), "k3slb-config-")), "config.yaml");
    writeFileSync(config, "node-name: node1\n");
    await servesWith(t, { hostName: "localhost", kubeconfig: await adminKubeconfig(t), args: ["--config", config] });
  });

  test("A node name that does not exist is not served for: the agent says so and names the nearest", async (t) => {
    const node = t.world.node("node1");
    await node.stopAgent();
    try {
      const agent = await node.startAgent({ kubeconfig: await adminKubeconfig(t), args: ["--node-name", "nod1"] });
      await waitUntil("the agent to end", () => !agent.running, { explain: t.world.logs });
      equal(agent.exitStatus, 2);
      match(agent.logTail(20), /The cluster has no Node "nod1" \(from --node-name\)[^]*Close names are node1\b/);
    } finally {
      await node.stopAgent();
      await node.startAgent();
    }
  });
}
