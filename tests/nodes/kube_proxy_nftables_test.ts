// Beside a kube-proxy in nftables mode, which came before or after the agent: which connections keep the client's address, and none is lost.
// Both programs' tables hang at the same place of the kernel, where the one that came last is asked first. Alone:
// `K3SLB_WORLD=nodes deno test -A tests/nodes/kube_proxy_nftables_test.ts`, as root.
import { deepEqual, ok } from "node:assert/strict";
import process from "node:process";
import { enterWorld } from "../support/netns.ts";
import type { Host } from "../support/net_topology.ts";
import { waitUntil } from "../support/wait.ts";
import type { WorldNode } from "../support/world_node.ts";
import { worldSuite, type WorldTest } from "../support/world_suite.ts";

/** Who asks whom. The only pod of the Service is on node1. */
interface Case {
  readonly name: string;
  readonly policy: "Cluster" | "Local";
  readonly from: "client" | "pod on node1" | "pod on node2";
  /** The node whose address is asked. */
  readonly to: "node1" | "node2";
}

const CASES: readonly Case[] = [
  { name: "client, node with the pod", policy: "Cluster", from: "client", to: "node1" },
  { name: "client, node without a pod", policy: "Cluster", from: "client", to: "node2" },
  { name: "pod elsewhere, node with the pod", policy: "Cluster", from: "pod on node2", to: "node1" },
  { name: "pod beside it, node with the pod", policy: "Cluster", from: "pod on node1", to: "node1" },
  { name: "client, node with the pod", policy: "Local", from: "client", to: "node1" },
  { name: "pod elsewhere, node with the pod", policy: "Local", from: "pod on node2", to: "node1" },
  { name: "pod beside it, node with the pod", policy: "Local", from: "pod on node1", to: "node1" },
];

/** What was seen on Linux 6.18, the same for every family and protocol. docs/concepts.md has this. */
const EITHER_WAY = {
  "Cluster: client, node without a pod": "lost",
  "Cluster: pod elsewhere, node with the pod": "lost",
  "Cluster: pod beside it, node with the pod": "lost",
  "Local: client, node with the pod": "kept",
  "Local: pod elsewhere, node with the pod": "kept",
  "Local: pod beside it, node with the pod": "kept",
};
const AGENT_CAME_LAST = { ...EITHER_WAY, "Cluster: client, node with the pod": "kept" };
const KUBE_PROXY_CAME_LAST = { ...EITHER_WAY, "Cluster: client, node with the pod": "lost" };

const FAMILIES = ["IPv4", "IPv6"] as const;
const PROTOCOLS = ["TCP", "UDP"] as const;
/** Connections of each case. */
const COUNT = 20;

function ipOf(host: Host | WorldNode, family: (typeof FAMILIES)[number]): string {
  return family === "IPv4" ? host.ip4 : host.ip6;
}

/** For each case, whether connections kept the address of who asked, and which did not if some did; fails if one gets no answer. */
async function measure(test: WorldTest): Promise<Record<string, string>> {
  const { world, ns } = test;
  const node1 = world.node("node1");
  const node2 = world.node("node2");
  await ns.createApp({ name: "web", nodes: ["node1"] });
  await ns.createApp({ name: "asker", nodes: ["node1", "node2"] });
  const hosts = {
    client: world.client,
    "pod on node1": await node1.pod(ns.name, "asker-node1"),
    "pod on node2": await node2.pod(ns.name, "asker-node2"),
  };
  const seen: Record<string, string> = {};
  for (const policy of ["Cluster", "Local"] as const) {
    const port = world.port();
    const name = policy.toLowerCase();
    await ns.createService({
      name,
      app: "web",
      ports: [port, { port, protocol: "UDP" }],
      spec: { externalTrafficPolicy: policy, ipFamilyPolicy: "RequireDualStack" },
    });
    const serving = policy === "Local" ? [node1] : [node1, node2];
    await ns.waitForIngress(name, serving.flatMap(({ ip4, ip6 }) => [ip4, ip6]));
    await kubeProxyKnows(test, serving, port);
    for (const each of CASES.filter((one) => one.policy === policy)) {
      const host = hosts[each.from];
      ok(host);
      const lost: string[] = [];
      for (const family of FAMILIES) {
        for (const protocol of PROTOCOLS) {
          const request = {
            protocol: protocol === "TCP" ? "tcp" : "udp",
            ip: ipOf(each.to === "node1" ? node1 : node2, family),
            port,
          } as const;
          // The first answer may take until every program has read the Service.
          await world.waitForAnswer(host, request);
          let kept = 0;
          for (let i = 0; i < COUNT; i++) {
            const answer = await host.ns.request(request);
            ok(answer.outcome === "answer", `${policy}, ${each.name}, ${family}, ${protocol}: ${answer.outcome}`);
            if (answer.peer === ipOf(host, family)) kept++;
          }
          if (kept < COUNT) lost.push(`${family} ${protocol} ${COUNT - kept}/${COUNT}`);
        }
      }
      seen[`${policy}: ${each.name}`] = lost.length === 0
        ? "kept"
        : lost.length === 4 && lost.every((one) => one.endsWith(` ${COUNT}/${COUNT}`))
        ? "lost"
        : `lost: ${lost.join(", ")}`;
    }
  }
  for (const [name, what] of Object.entries(seen)) process.stdout.write(`${name}: ${what}\n`);
  return seen;
}

/** Waits until every kube-proxy forwards what the status lists: until then there is no question who takes it. */
async function kubeProxyKnows({ world }: WorldTest, serving: readonly WorldNode[], port: number): Promise<void> {
  for (const { ns } of world.nodes) {
    for (
      const [family, ips] of [["ip", serving.map(({ ip4 }) => ip4)], [
        "ip6",
        serving.map(({ ip6 }) => ip6),
      ]] as const
    ) {
      await waitUntil("kube-proxy to know the addresses", async () => {
        const text = await ns.run("nft", ["list", "table", family, "kube-proxy"]);
        return ips.every((ip) => ["tcp", "udp"].every((protocol) => text.includes(`${ip} . ${protocol} . ${port}`)));
      });
    }
  }
}

/** The rules of kube-proxy go and come again: from now on it came last. */
async function letKubeProxyBeLast({ world }: WorldTest): Promise<void> {
  for (const node of world.nodes) {
    await node.restartKubeProxy(async () => {
      for (const family of ["ip", "ip6"]) await node.ns.exec("nft", ["delete", "table", family, "kube-proxy"]);
    });
    await waitUntil(
      "kube-proxy's table",
      async () => (await node.ns.run("nft", ["list", "tables"])).includes("kube-proxy"),
    );
  }
}

/** The same for the agent, and for everything else that uses the table of addresses by the name of iptables. */
async function letAgentBeLast({ world }: WorldTest): Promise<void> {
  for (const node of world.nodes) {
    await waitUntil(
      "kube-proxy's table",
      async () => (await node.ns.run("nft", ["list", "tables"])).includes("kube-proxy"),
    );
    await node.stopAgent();
    for (const family of ["ip", "ip6"]) await node.ns.exec("nft", ["delete", "table", family, "nat"]);
    await node.startAgent();
  }
}

if (await enterWorld(import.meta.url)) {
  const test = worldSuite({ nodes: 2, kubeProxy: "nftables" });

  test("kube-proxy in nftables mode, started before the agent: no connection is lost", async (t) => {
    await letAgentBeLast(t);
    deepEqual(await measure(t), AGENT_CAME_LAST);
  });

  test("kube-proxy in nftables mode, started after the agent: no connection is lost", async (t) => {
    await letKubeProxyBeLast(t);
    deepEqual(await measure(t), KUBE_PROXY_CAME_LAST);
  });
}
