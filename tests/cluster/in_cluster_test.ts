// deploy/k3slb.yaml on a real control plane: the API server takes it, server and agents work with the tokens of their ServiceAccounts and
// nothing else, and an agent's token is worth nothing on another node. The pods themselves are tried on real nodes only.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { NODES, PODS } from "../../core/kube/resources.ts";
import { enterWorld } from "../support/netns.ts";
import { runProgram } from "../support/programs.ts";
import { openTestClient } from "../support/test_client.ts";
import { waitUntil } from "../support/wait.ts";
import type { World } from "../support/world.ts";
import { worldSuite } from "../support/world_suite.ts";

const MANIFEST = fileURLToPath(new URL("../../deploy/k3slb.yaml", import.meta.url));
const NAMESPACE = "kube-system";

/** `kubectl` as administrator; what it prints. */
async function kubectl(world: World, ...words: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runProgram([...world.api.kubectl, ...words]);
  equal(code, 0, `kubectl ${words.join(" ")}: ${stderr}`);
  return stdout.trim();
}

/** A kubeconfig with the token that a pod of the ServiceAccount on `node` has. */
async function podKubeconfig(
  world: World,
  { account, node, dir }: { readonly account: string; readonly node: string; readonly dir: string },
): Promise<string> {
  const pod = `token-${account}-${node}`;
  const manifest = join(dir, `${pod}.json`);
  writeFileSync(
    manifest,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: pod, namespace: NAMESPACE },
      spec: { nodeName: node, serviceAccountName: account, containers: [{ name: "holder", image: "pause" }] },
    }),
  );
  await kubectl(world, "create", "-f", manifest);
  const bound = ["--bound-object-kind", "Pod", "--bound-object-name", pod];
  const token = await kubectl(world, "create", "token", account, "-n", NAMESPACE, ...bound);
  const file = join(dir, `${pod}.kubeconfig`);
  const cluster = { server: world.api.url, "certificate-authority": world.api.caFile };
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "test", cluster }],
      users: [{ name: pod, user: { token } }],
      contexts: [{ name: "test", context: { cluster: "test", user: pod } }],
      "current-context": "test",
    }),
  );
  return file;
}

/** `taken`, or why it was not. */
async function outcomeOf(write: Promise<unknown>): Promise<string> {
  try {
    await write;
    return "taken";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, servers: 0, agents: true });
  const only = {
    kind: "real",
    reason: "tokens of ServiceAccounts and admission policies are the real API server's",
  } as const;

  test(
    "deploy/k3slb.yaml: server and agents serve with its rights alone, each agent held to its node",
    async ({ world, ns }) => {
      for (const node of world.nodes) await node.stopAgent();
      const dir = mkdtempSync(join(tmpdir(), "k3slb-in-cluster-"));
      try {
        match(
          await kubectl(world, "apply", "--server-side", "-f", MANIFEST),
          /daemonset\.apps\/k3slb-agent serverside-applied/,
        );
        const server = await podKubeconfig(world, { account: "k3slb-server", node: "node1", dir });
        await world.startServer(["--kubeconfig", server, "--disable", "coredns,traefik,helm"]);
        const kubeconfigs = new Map<string, string>();
        for (const { name } of world.nodes) {
          kubeconfigs.set(name, await podKubeconfig(world, { account: "k3slb-agent", node: name, dir }));
        }
        for (const node of world.nodes) {
          await node.startAgent({ kubeconfig: kubeconfigs.get(node.name) ?? "", args: ["--node-name", node.name] });
        }
        await ns.createApp({ name: "web", nodes: ["node1"] });
        const port = world.port();
        await ns.createService({ name: "web", ports: [port] });
        await ns.waitForIngress("web", world.nodeIps, 60_000);
        for (const ip of world.nodeIps) await world.waitForAnswer(world.client, { protocol: "tcp", ip, port });

        // The policy is in force some time after it was made.
        const agent = await openTestClient(kubeconfigs.get("node1") ?? "", "agent's token");
        const patchNode = async (name: string): Promise<string> => {
          const condition = { type: "k3slb.io/Test", status: "True", reason: "Test", message: "" };
          const body = { status: { conditions: [condition] } };
          return await outcomeOf(agent.patch(NODES, { name }, { type: "strategic", body }, { subresource: "status" }));
        };
        equal(await patchNode("node1"), "taken");
        const refusal = await waitUntil("the policy to be in force", async () => {
          const said = await patchNode("node2");
          return said !== "taken" && said;
        });
        match(refusal, /an agent writes about its own node only: this one is on "node1", not on "node2"/);
        await ns.waitForLbPods("web", world.nodes.map(({ name }) => name));
        const foreign = (await ns.lbPods("web")).find(({ spec }) => spec?.nodeName === "node2")?.metadata?.name ?? "";
        const gate = {
          type: "strategic",
          body: { status: { conditions: [{ type: "k3slb.io/Programmed", status: "False" }] } },
        } as const;
        const key = { namespace: NAMESPACE, name: foreign };
        match(
          await outcomeOf(agent.patch(PODS, key, gate, { subresource: "status" })),
          /this one is on "node1", not on "node2"/,
        );
        agent.close();
        ok(foreign !== "");

        await kubectl(world, "delete", "-f", MANIFEST, "--wait=false");
        const left = await kubectl(
          world,
          "get",
          "clusterroles,clusterrolebindings,validatingadmissionpolicies",
          "-o",
          "name",
        );
        deepEqual(
          left.split("\n").filter((name) => name.includes("/k3slb-") && !name.endsWith("/k3slb-endpoint-reader")),
          [],
        );
      } finally {
        rmSync(dir, { recursive: true, force: true });
      }
    },
    { only },
  );
}
