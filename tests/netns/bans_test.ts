// What an administrator's rules in FORWARD do to clients of Services, with real packets: whoever is banned stays banned, whether the ban or
// the agent was there first; a rule that drops everything is gone round.
import assert from "node:assert/strict";
import type { Dataplane } from "../../node_agent/dataplane_contract.ts";
import { enterWorld } from "../support/netns.ts";
import { createTopology, type Host, type Topology, type TopologyNode } from "../support/net_topology.ts";
import { dataplaneOf, portOf } from "../support/netns_dataplane.ts";

interface Rules {
  readonly name: string;
  /** Arguments of the tool, one run each; `BANNED` stands for the banned client. */
  readonly rules: readonly string[];
  /** Outcome for the banned client and for the other one. */
  readonly want: readonly [string, string];
  readonly remarks?: RegExp;
}

const KINDS: readonly Rules[] = [
  { name: "a ban", rules: ["-I FORWARD -s BANNED -j DROP"], want: ["timeout", "answer"] },
  {
    name: "a ban behind Kubernetes' rules",
    rules: ["-N KUBE-FORWARD", "-A FORWARD -j KUBE-FORWARD", "-A FORWARD -s BANNED -j DROP"],
    want: ["timeout", "answer"],
  },
  {
    name: "fail2ban's chain",
    rules: ["-N f2b-x", "-A f2b-x -s BANNED -j REJECT", "-A f2b-x -j RETURN", "-I FORWARD -p tcp -j f2b-x"],
    want: ["refused", "answer"],
  },
  {
    name: "a ban by a chain that drops, and friends who pass before it",
    rules: [
      ...["-N DROPPED", "-A DROPPED -j DROP", "-N BANS", "-A BANS -m mark --mark 0x77 -j ACCEPT"],
      ...["-A BANS -s BANNED -j DROPPED", "-I FORWARD -j BANS"],
    ],
    want: ["timeout", "answer"],
  },
  {
    name: "a chain of its own behind another",
    rules: ["-N OUTER", "-N INNER", "-A INNER -s BANNED -j DROP", "-A OUTER -j INNER", "-I FORWARD -j OUTER"],
    want: ["timeout", "answer"],
  },
  {
    name: "Docker's chain for users",
    rules: ["-N DOCKER-USER", "-A DOCKER-USER -s BANNED -j DROP", "-A FORWARD -j DOCKER-USER", "-P FORWARD DROP"],
    want: ["timeout", "answer"],
  },
  {
    name: "ufw's chains",
    rules: [
      ...["before", "user", "reject"].map((name) => `-N ufw-${name}-forward`),
      "-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
      "-A ufw-before-forward -j ufw-user-forward",
      "-A ufw-user-forward -s BANNED -j DROP",
      "-A ufw-reject-forward -j REJECT",
      "-A FORWARD -j ufw-before-forward",
      "-A FORWARD -j ufw-reject-forward",
      "-P FORWARD DROP",
    ],
    want: ["timeout", "answer"],
    remarks: /ufw-reject-forward" in FORWARD drops all/,
  },
  {
    name: "a bare drop",
    rules: ["-I FORWARD -j DROP"],
    want: ["answer", "answer"],
    remarks: /"-j DROP" in FORWARD drops all/,
  },
  {
    name: "a bare drop behind a ban",
    rules: ["-I FORWARD -j REJECT", "-I FORWARD -s BANNED -j DROP"],
    want: ["timeout", "answer"],
    remarks: /-j REJECT.* in FORWARD drops all/,
  },
];

interface World {
  readonly topology: Topology;
  readonly node: TopologyNode;
  readonly banned: Host;
  readonly other: Host;
  readonly apply: (dataplane: Dataplane) => Promise<void>;
}

async function createWorld(): Promise<World> {
  const topology = await createTopology({ nodes: 1, clients: 2, podsPerNode: 1 });
  const [node] = topology.nodes;
  const [banned, other] = topology.clients;
  const pod = node?.pods[0];
  assert.ok(node && banned && other && pod);
  await pod.ns.listen({ protocol: "tcp", port: 8080, name: "pod" });
  const endpoints = [pod.ip4, pod.ip6].map((ip) => ({ ip, port: 8080, local: true }));
  const apply = async (dataplane: Dataplane): Promise<void> => {
    const report = await dataplane.apply({ podCidrs: node.podCidrs, ports: [portOf({ endpoints })] });
    assert.deepEqual(report.failures, []);
  };
  return { topology, node, banned, other, apply };
}

async function checkOutcomes({ node, banned, other }: World, want: readonly [string, string]): Promise<void> {
  const asks = [node.ip4, node.ip6].flatMap((ip) =>
    [banned, other].map((client, i) => ({ ip, client, want: want[i] }))
  );
  await Promise.all(asks.map(async ({ ip, client, want }) => {
    const timeoutMs = want === "timeout" ? 300 : 3000;
    const { outcome } = await client.ns.request({ protocol: "tcp", ip, port: 80, timeoutMs });
    assert.equal(outcome, want, `${client === banned ? "banned" : "other"} client to ${ip}`);
  }));
}

if (await enterWorld(import.meta.url)) {
  for (const backend of ["nft", "legacy"] as const) {
    for (const order of backend === "nft" ? ["the agent", "the rules"] as const : ["the agent"] as const) {
      Deno.test(`FORWARD rules of others, where ${order} came first (${backend})`, async (t) => {
        const world = await createWorld();
        await using _ = world.topology;
        const { ns } = world.node;
        const tools = [[`iptables-${backend}`, world.banned.ip4], [`ip6tables-${backend}`, world.banned.ip6]] as const;
        const run = async (lines: readonly string[]): Promise<void> => {
          for (const [tool, ip] of tools) {
            const script = lines.map((line) => `${tool} -w ${line.replace("BANNED", ip)}`).join(" && ");
            await ns.run("sh", ["-c", script]);
          }
        };
        for (const { name, rules, want, remarks } of KINDS) {
          await t.step(name, async () => {
            const first = await dataplaneOf(ns, { iptablesMode: backend });
            if (order === "the agent") await world.apply(first);
            await run(rules);
            if (order === "the rules") await world.apply(first);
            // Once in its place it stays there, also over a restart.
            for (let i = 0; i < 3; i++) await first.repair();
            const found = await first.repair();
            assert.deepEqual(found.repairs, []);
            assert.match((found.remarks ?? []).join("\n"), remarks ?? /^$/);
            await checkOutcomes(world, want);
            const next = await dataplaneOf(ns, { iptablesMode: backend });
            await world.apply(next);
            assert.deepEqual((await next.repair()).repairs, []);
            await checkOutcomes(world, want);
            await next.remove();
            await run(["-P FORWARD ACCEPT", "-F", "-X"]);
          });
        }
      });
    }
  }
}
