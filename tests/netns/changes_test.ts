// What happens to traffic while rules change, are damaged by others, and go: connections, UDP flows, affinity, repair, removal.
import assert from "node:assert/strict";
import type { Dataplane, ForwardedPort, ForwardEndpoint, ForwardingPlan } from "../../node_agent/dataplane_contract.ts";
import { createTopology } from "../support/net_topology.ts";
import type { Host, Topology, TopologyNode } from "../support/net_topology.ts";
import { dataplaneOf, portOf } from "../support/netns_dataplane.ts";
import { enterWorld } from "../support/netns.ts";
import type { Netns } from "../support/netns.ts";
import { EVERY_KIND } from "../support/plans.ts";
import { waitUntil } from "../support/wait.ts";

interface World extends AsyncDisposable {
  readonly topology: Topology;
  readonly client: Host;
  readonly node: TopologyNode;
  readonly pods: readonly [Host, Host];
  readonly far: readonly [Host, Host];
  readonly dataplane: Dataplane;
  plan(...ports: readonly Partial<ForwardedPort>[]): ForwardingPlan;
}

async function createWorld(backend: "nft" | "legacy" = "nft"): Promise<World> {
  const topology = await createTopology();
  const [client, node, farNode] = [topology.clients[0], topology.nodes[0], topology.nodes[1]];
  assert.ok(client && node && farNode);
  const [p1, p2] = node.pods;
  const [f1, f2] = farNode.pods;
  assert.ok(p1 && p2 && f1 && f2);
  for (const [host, name] of [[p1, "pod1"], [p2, "pod2"], [f1, "far1"], [f2, "far2"]] as const) {
    for (const protocol of ["tcp", "udp"] as const) await host.ns.listen({ protocol, port: 8080, name });
  }
  const dataplane = await dataplaneOf(node.ns, { iptablesMode: backend });
  return {
    topology,
    client,
    node,
    pods: [p1, p2],
    far: [f1, f2],
    dataplane,
    plan: (...ports) => ({ podCidrs: node.podCidrs, ports: ports.map(portOf) }),
    [Symbol.asyncDispose]: () => topology.remove(),
  };
}

function at(host: Host, local = true): readonly ForwardEndpoint[] {
  return [{ ip: host.ip4, port: 8080, local }, { ip: host.ip6, port: 8080, local }];
}

/** Every rule of the namespace, without counters, comments of the tool, and chains that are empty and built in. */
async function rulesOf(ns: Netns): Promise<string> {
  const texts: string[] = [];
  for (const program of ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"]) {
    const lines = (await ns.run(program)).split("\n");
    const kept = lines.filter((line) => line.startsWith("-") || /^:\S+ -/.test(line) || /^:\S+ DROP/.test(line));
    texts.push(...kept.map((line) => `${program} ${line.replace(/ \[.*\]$/, "")}`));
  }
  return texts.join("\n");
}

if (await enterWorld(import.meta.url)) {
  Deno.test("apply spreads new connections evenly over local and remote endpoints", async () => {
    await using world = await createWorld();
    const { client, node, pods, far, dataplane } = world;
    const endpoints = [...at(pods[0]), ...at(pods[1]), ...at(far[0], false), ...at(far[1], false)];
    await dataplane.apply(world.plan({ endpoints }));
    for (const ip of [node.ip4, node.ip6]) {
      const counts = await client.ns.requestMany({ protocol: "tcp", ip, port: 80 }, 400);
      assert.deepEqual(Object.keys(counts).sort(), ["far1", "far2", "pod1", "pod2"]);
      // Each count has mean 100 and deviation 8.7: 45 to 155 is more than six deviations.
      for (const [server, count] of Object.entries(counts)) {
        assert.ok(count > 45 && count < 155, `${server} got ${count} of 400`);
      }
    }
  });

  Deno.test("apply keeps established connections over reloads, endpoint changes and removal", async () => {
    await using world = await createWorld();
    const { client, node, pods, far, dataplane } = world;
    // As kube-proxy does: without any rule that needs it, the kernel turns connection tracking off, and translations with it.
    for (const program of ["iptables", "ip6tables"]) {
      await node.ns.run(program, ["-A", "FORWARD", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT"]);
    }
    await dataplane.apply(world.plan({ endpoints: [...at(pods[0]), ...at(far[0], false)] }));
    const streams = await Promise.all(
      Array.from(
        { length: 8 },
        (_, i) => client.ns.open({ protocol: "tcp", ip: i % 2 ? node.ip4 : node.ip6, port: 80 }),
      ),
    );
    const alive = async (when: string): Promise<void> => {
      const answers = await Promise.all(streams.map((stream) => stream.exchange(3000)));
      assert.deepEqual(answers.map((answer) => answer.outcome), streams.map(() => "answer"), when);
    };
    await alive("at first");
    for (let i = 0; i < 10; i++) await dataplane.apply(world.plan({ endpoints: at(pods[i % 2] ?? pods[0]) }));
    await alive("after ten endpoint changes");
    await dataplane.apply(world.plan({ endpoints: at(pods[0]), sourceRanges: ["192.168.0.0/24"] }));
    await alive("after a source range that leaves the client out");
    await dataplane.apply(world.plan());
    await alive("after the port has gone");
    await dataplane.remove();
    await alive("after removal");
  });

  Deno.test("apply moves a steady UDP sender when its endpoint goes, and when the port comes", async () => {
    await using world = await createWorld();
    const { client, node, pods, dataplane } = world;
    for (const family of ["ip4", "ip6"] as const) {
      await dataplane.apply(world.plan());
      const stream = await client.ns.open({ protocol: "udp", ip: node[family], port: 53 });
      const server = async (): Promise<string> => {
        const answer = await stream.exchange(200);
        return answer.outcome === "answer" ? answer.server : answer.outcome;
      };
      await node.ns.listen({ protocol: "udp", port: 53, name: "host" });
      assert.equal(await server(), "host");
      await node.ns.unlisten({ protocol: "udp", port: 53, name: "host" });
      for (const [pod, name] of [[pods[0], "pod1"], [pods[1], "pod2"]] as const) {
        await dataplane.apply(world.plan({ protocol: "UDP", port: 53, endpoints: at(pod) }));
        await waitUntil(`${family} answers of ${name}`, async () => await server() === name, { deadlineMs: 5000 });
      }
      await stream.close();
    }
  });

  Deno.test("apply moves a steady UDP sender when its Service listens on another port of the same pod", async () => {
    await using world = await createWorld();
    const { client, node, pods, dataplane } = world;
    await pods[0].ns.listen({ protocol: "udp", port: 9090, name: "new" });
    for (const family of ["ip4", "ip6"] as const) {
      const served = (port: number): Partial<ForwardedPort> => ({
        protocol: "UDP",
        port: 53,
        endpoints: at(pods[0]).map((endpoint) => ({ ...endpoint, port })),
      });
      await dataplane.apply(world.plan(served(8080)));
      const stream = await client.ns.open({ protocol: "udp", ip: node[family], port: 53 });
      const server = async (): Promise<string> => {
        const answer = await stream.exchange(200);
        return answer.outcome === "answer" ? answer.server : answer.outcome;
      };
      await waitUntil(`${family} answers of pod1`, async () => await server() === "pod1", { deadlineMs: 5000 });
      await dataplane.apply(world.plan(served(9090)));
      await waitUntil(`${family} answers of new`, async () => await server() === "new", { deadlineMs: 5000 });
      await stream.close();
    }
  });

  Deno.test("apply after a restart moves a steady UDP sender whose endpoint went in the meantime", async () => {
    await using world = await createWorld();
    const { client, node, pods, dataplane } = world;
    const port = (pod: Host): Partial<ForwardedPort> => ({ protocol: "UDP", port: 53, endpoints: at(pod) });
    await dataplane.apply(world.plan(port(pods[0])));
    for (const family of ["ip4", "ip6"] as const) {
      const stream = await client.ns.open({ protocol: "udp", ip: node[family], port: 53 });
      const server = async (): Promise<string> => {
        const answer = await stream.exchange(200);
        return answer.outcome === "answer" ? answer.server : answer.outcome;
      };
      assert.equal(await server(), "pod1");
      await (await dataplaneOf(node.ns)).apply(world.plan(port(pods[0])));
      assert.equal(await server(), "pod1");
      await (await dataplaneOf(node.ns)).apply(world.plan(port(pods[1])));
      await waitUntil(`${family} answers of pod2`, async () => await server() === "pod2", { deadlineMs: 5000 });
      await stream.close();
      await dataplane.apply(world.plan());
      await dataplane.apply(world.plan(port(pods[0])));
    }
  });

  Deno.test("apply lets every packet of a UDP sender through that nobody answers, where FORWARD drops", async () => {
    await using world = await createWorld();
    const { client, node, pods, dataplane } = world;
    for (const program of ["iptables", "ip6tables"]) {
      await node.ns.run(program, ["-P", "FORWARD", "DROP"]);
      await pods[0].ns.run(program, ["-A", "INPUT", "-p", "udp", "-j", "DROP"]);
    }
    await dataplane.apply(world.plan({ protocol: "UDP", port: 514, endpoints: at(pods[0]) }));
    for (const [program, ip] of [["iptables", node.ip4], ["ip6tables", node.ip6]] as const) {
      const stream = await client.ns.open({ protocol: "udp", ip, port: 514 });
      for (let i = 0; i < 4; i++) assert.equal((await stream.exchange(100)).outcome, "timeout");
      await stream.close();
      assert.match(await pods[0].ns.run(program, ["-nvxL", "INPUT"]), /^ +4 +\d+ DROP/m);
    }
  });

  Deno.test("apply lets a client connect whose SYN went to an endpoint that is gone", async () => {
    await using world = await createWorld();
    const { client, node, pods, dataplane } = world;
    // Nobody has this pod address: the SYN vanishes as it does with a pod that was just killed.
    await node.ns.ip("neighbor add 10.42.1.200 lladdr 02:00:00:00:00:99 dev cni0 nud permanent");
    await dataplane.apply(world.plan({ endpoints: [{ ip: "10.42.1.200", port: 8080, local: true }] }));
    const connecting = client.ns.request({ protocol: "tcp", ip: node.ip4, port: 80, timeoutMs: 10_000 });
    await waitUntil(
      "the SYN",
      async () => (await node.ns.run("conntrack", ["-L", "-p", "tcp", "--state", "SYN_SENT"])) !== "",
    );
    await dataplane.apply(world.plan({ endpoints: at(pods[0]) }));
    const answer = await connecting;
    assert.equal(answer.outcome === "answer" ? answer.server : answer.outcome, "pod1");
  });

  for (const backend of ["nft", "legacy"] as const) {
    Deno.test(`apply keeps a client with its endpoint under session affinity, and moves it when that goes (${backend})`, async () => {
      await using world = await createWorld(backend);
      const { client, node, pods, far, dataplane } = world;
      const endpoints = [...at(pods[0]), ...at(pods[1]), ...at(far[0], false), ...at(far[1], false)];
      const hosts = { pod1: pods[0], pod2: pods[1], far1: far[0], far2: far[1] };
      for (const ip of [node.ip4, node.ip6]) {
        await dataplane.apply(world.plan({ endpoints, affinitySeconds: 600 }));
        const counts = await client.ns.requestMany({ protocol: "tcp", ip, port: 80 }, 1);
        const [first = ""] = Object.keys(counts);
        assert.deepEqual(await client.ns.requestMany({ protocol: "tcp", ip, port: 80 }, 30), { [first]: 30 });
        // A change elsewhere leaves the client where it is.
        await dataplane.apply(world.plan({ endpoints, affinitySeconds: 600 }, { service: "x", port: 81, endpoints }));
        assert.deepEqual(await client.ns.requestMany({ protocol: "tcp", ip, port: 80 }, 10), { [first]: 10 });
        const gone = hosts[first as keyof typeof hosts];
        const left = endpoints.filter((endpoint) => endpoint.ip !== gone.ip4 && endpoint.ip !== gone.ip6);
        await dataplane.apply(world.plan({ endpoints: left, affinitySeconds: 600 }));
        const [second = ""] = Object.keys(await client.ns.requestMany({ protocol: "tcp", ip, port: 80 }, 1));
        assert.notEqual(second, first);
        assert.deepEqual(await client.ns.requestMany({ protocol: "tcp", ip, port: 80 }, 30), { [second]: 30 });
      }
    });

    Deno.test(`remove leaves exactly the first state, also after a restart and a crash (${backend})`, async () => {
      await using world = await createWorld(backend);
      const { node, pods, far, dataplane } = world;
      await node.ns.run(`iptables-${backend}-restore`, [], {
        stdin: "*nat\n:KUBE-X -\n-A PREROUTING -j KUBE-X\nCOMMIT\n*filter\n:INPUT DROP\nCOMMIT\n",
      });
      const first = await rulesOf(node.ns);
      const endpoints = [...at(pods[0]), ...at(far[0], false)];
      await dataplane.apply(
        world.plan({ endpoints, sourceRanges: ["10.0.0.0/8"], affinitySeconds: 10 }, { port: 81, endpoints }, {
          port: 82,
        }),
      );
      const removed = await dataplane.remove();
      assert.equal(removed.length, 4, removed.join("\n"));
      assert.equal(await rulesOf(node.ns), first);
      assert.deepEqual(await dataplane.remove(), []);
      // A new process finds what the old one left, without being told what it was.
      await dataplane.apply(world.plan({ endpoints }, { port: 81, endpoints }));
      const next = await dataplaneOf(node.ns, { iptablesMode: backend });
      await next.apply(world.plan({ port: 90, endpoints }));
      assert.equal((await rulesOf(node.ns)).match(/-N K3SLB-[SR]|:K3SLB-[SR]-/g)?.length, 4);
      await (await dataplaneOf(node.ns, { iptablesMode: backend })).remove();
      assert.equal(await rulesOf(node.ns), first);
    });
  }

  Deno.test("apply removes what an earlier run left in the other backend", async () => {
    await using world = await createWorld("legacy");
    const { node, pods, dataplane } = world;
    await dataplane.apply(world.plan({ endpoints: at(pods[0]) }));
    await (await dataplaneOf(node.ns, { iptablesMode: "nft" })).apply(world.plan({ endpoints: at(pods[0]) }));
    const rules = await rulesOf(node.ns);
    assert.ok(rules.includes("iptables-nft-save :K3SLB-SERVICES"));
    assert.ok(!rules.includes("legacy-save :K3SLB"), rules);
  });

  Deno.test("repair finds nothing wrong after an apply, and mends what others did", async (t) => {
    await using world = await createWorld();
    const { node, pods, far, dataplane } = world;
    const plan = world.plan({
      endpoints: [...at(pods[0]), ...at(far[0], false)],
      sourceRanges: ["0.0.0.0/0"],
      affinitySeconds: 5,
    });
    await dataplane.apply(plan);
    const whole = await rulesOf(node.ns);
    assert.deepEqual(await dataplane.repair(), { repairs: [], warnings: [] });
    assert.equal((await dataplane.apply(plan)).chainsWritten, 0);
    const damages: readonly { readonly name: string; readonly given: readonly string[]; readonly want: RegExp }[] = [
      { name: "a flushed nat table", given: ["iptables -t nat -F"], want: /K3SLB-/ },
      { name: "a flushed filter table", given: ["ip6tables -F"], want: /K3SLB-/ },
      {
        name: "everything flushed and deleted",
        given: ["iptables -t nat -F", "iptables -t nat -X", "iptables -F", "iptables -X"],
        want: /was gone/,
      },
      { name: "a chain of a Service emptied", given: ["iptables -t nat -F $S"], want: /had 0 rules/ },
      {
        name: "a jump taken out",
        given: ["iptables -D FORWARD -j K3SLB-FORWARD"],
        want: /jump from filter FORWARD .* was missing/,
      },
      { name: "a jump put twice", given: ["iptables -A INPUT -j K3SLB-INPUT"], want: /not in its place/ },
      {
        name: "a rule put before ours",
        given: ["iptables -t nat -N KUBE-SERVICES", "iptables -t nat -I PREROUTING 1 -j KUBE-SERVICES"],
        want: /behind KUBE-SERVICES/,
      },
    ];
    for (const { name, given, want } of damages) {
      await t.step(name, async () => {
        const chain = /:(K3SLB-S-\S+)/.exec(whole)?.[1] ?? "";
        for (const command of given) await node.ns.run("sh", ["-c", command.replace("$S", chain)]);
        // Chains of Services are looked at in turns.
        const found = await waitUntil("a repair", async () => {
          const { repairs } = await dataplane.repair();
          return repairs.length > 0 && repairs;
        });
        assert.match(found.join("\n"), want);
        await node.ns.exec("sh", [
          "-c",
          "iptables -t nat -D PREROUTING -j KUBE-SERVICES; iptables -t nat -X KUBE-SERVICES",
        ]);
        assert.deepEqual((await rulesOf(node.ns)).split("\n").sort(), whole.split("\n").sort());
        assert.deepEqual((await dataplane.repair()).repairs, []);
      });
    }
  });

  for (const backend of ["nft", "legacy"] as const) {
    Deno.test(`repair mends what an old copy of the rules brought back, and finds nothing after (${backend})`, async () => {
      await using world = await createWorld(backend);
      const { client, node, pods, dataplane } = world;
      const plan = (pod: Host): ForwardingPlan => ({
        podCidrs: node.podCidrs,
        ports: [...EVERY_KIND.ports, ...world.plan({ service: "moved", port: 90, endpoints: at(pod) }).ports],
      });
      await dataplane.apply(plan(pods[0]));
      const old = await Promise.all(["iptables", "ip6tables"].map((name) => node.ns.run(`${name}-${backend}-save`)));
      await dataplane.apply(plan(pods[1]));
      for (const [i, name] of ["iptables", "ip6tables"].entries()) {
        await node.ns.run(`${name}-${backend}-restore`, [], { stdin: old[i] ?? "" });
      }
      // Chains of Services are looked at in turns.
      const repairs: string[] = [];
      for (let i = 0; i < 120 && repairs.length < 2; i++) repairs.push(...(await dataplane.repair()).repairs);
      assert.match(repairs.sort().join("\n"), /had other rules \(IPv4\)\n.* had other rules \(IPv6\)/);
      for (const ip of [node.ip4, node.ip6]) {
        const answer = await client.ns.request({ protocol: "tcp", ip, port: 90 });
        assert.equal(answer.outcome === "answer" ? answer.server : answer.outcome, "pod2");
      }
      for (let i = 0; i < 100; i++) assert.deepEqual((await dataplane.repair()).repairs, []);
    });
  }

  for (const chain of ["KUBE-ROUTER-FORWARD", "cali-FORWARD"]) {
    Deno.test(`repair keeps our accept below the network policy's chain (${chain})`, async () => {
      await using world = await createWorld();
      const { client, node, pods, dataplane } = world;
      await dataplane.apply(world.plan({ endpoints: at(pods[0]) }));
      await node.ns.run("sh", ["-c", `iptables -N ${chain} && iptables -A FORWARD -j ${chain}`]);
      // Jumps are looked at in turns.
      const found = [...(await dataplane.repair()).repairs, ...(await dataplane.repair()).repairs];
      assert.equal(found.length, 1);
      const lines = (await node.ns.run("iptables", ["-S", "FORWARD"])).trim().split("\n");
      assert.deepEqual(lines, ["-P FORWARD ACCEPT", `-A FORWARD -j ${chain}`, "-A FORWARD -j K3SLB-FORWARD"]);
      assert.deepEqual((await dataplane.repair()).repairs, []);
      await node.ns.run("iptables", ["-A", chain, "-d", pods[0].ip4, "-j", "REJECT"]);
      assert.equal((await client.ns.request({ protocol: "tcp", ip: node.ip4, port: 80 })).outcome, "refused");
    });
  }

  Deno.test("repair warns of a foreign chain that drops forwarded packets", async () => {
    await using world = await createWorld();
    const { node, pods, dataplane } = world;
    await dataplane.apply(world.plan({ endpoints: at(pods[0]) }));
    const drop =
      "add table inet fw; add chain inet fw passing { type filter hook forward priority 10; policy accept; };";
    const rest = "add chain inet fw rest; add rule inet fw rest counter reject; add rule inet fw passing jump rest;";
    await node.ns.run("nft", ["-f", "-"], { stdin: `${drop} ${rest}` });
    assert.match((await dataplane.repair()).warnings.join(), /"inet fw passing" drops forwarded packets/);
    await node.ns.run("nft", ["-f", "-"], { stdin: "insert rule inet fw passing ct status dnat accept" });
    // Firewalls of others are looked at with one repair in twelve.
    let warnings: readonly string[] = ["not looked at"];
    for (let i = 0; i < 12 && warnings.length > 0; i++) warnings = (await dataplane.repair()).warnings;
    assert.deepEqual(warnings, []);
  });

  Deno.test("repair warns of a kernel that does not forward, and names the command", async () => {
    await using world = await createWorld();
    const { node, pods, dataplane } = world;
    await dataplane.apply(world.plan({ endpoints: at(pods[0]) }));
    assert.deepEqual((await dataplane.repair()).warnings, []);
    for (const name of ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"]) {
      await node.ns.setSysctl(name, 0);
      assert.match((await dataplane.repair()).warnings.join(), new RegExp(`run "sysctl -w ${name}=1"`));
      await node.ns.run("sysctl", ["-w", `${name}=1`]);
      assert.deepEqual((await dataplane.repair()).warnings, []);
    }
    await node.ns.setSysctl("net.ipv6.conf.all.forwarding", 0);
    await dataplane.apply(world.plan({ families: ["IPv4"], endpoints: at(pods[0]) }));
    assert.deepEqual((await dataplane.repair()).warnings, []);
  });

  Deno.test("apply serves 600 ports through two levels, and one more changes one bucket", async () => {
    await using world = await createWorld();
    const { client, node, pods, dataplane } = world;
    const ports = (count: number): readonly Partial<ForwardedPort>[] =>
      Array.from({ length: count }, (_, i) => ({ service: `s${i}`, port: 20_000 + i * 7, endpoints: at(pods[0]) }));
    const udp = [{ service: "u", port: 20_000, protocol: "UDP" as const, endpoints: at(pods[1]) }];
    const report = await dataplane.apply(world.plan(...ports(600), ...udp));
    assert.deepEqual(report.failures, []);
    for (const i of [0, 1, 299, 598, 599]) {
      const answer = await client.ns.request({
        protocol: "tcp",
        ip: i % 2 ? node.ip4 : node.ip6,
        port: 20_000 + i * 7,
      });
      assert.equal(answer.outcome, "answer", `port ${i}`);
    }
    assert.equal((await client.ns.request({ protocol: "tcp", ip: node.ip4, port: 20_001 })).outcome, "refused");
    const answer = await client.ns.request({ protocol: "udp", ip: node.ip4, port: 20_000 });
    assert.equal(answer.outcome === "answer" ? answer.server : "", "pod2");
    const more = await dataplane.apply(world.plan(...ports(601), ...udp));
    // Per family: the new service's chain and its bucket, or the halves of a bucket that was full.
    assert.ok(more.chainsWritten <= 2 * 5, `${more.chainsWritten} chains written`);
    assert.deepEqual((await dataplane.repair()).repairs, []);
  });

  Deno.test("apply and another program's writes do not disturb each other", async () => {
    await using world = await createWorld();
    const { client, node, pods, dataplane } = world;
    await dataplane.apply(world.plan({ endpoints: at(pods[0]) }));
    const script = "for i in $(seq 40); do iptables -w -t nat -A POSTROUTING -s 10.9.9.$i -j ACCEPT || exit 1; done";
    const writer = node.ns.exec("sh", ["-c", script]);
    const traffic = client.ns.requestMany({ protocol: "tcp", ip: node.ip4, port: 80 }, 300);
    for (let i = 0; i < 40; i++) await dataplane.apply(world.plan({ endpoints: at(pods[i % 2] ?? pods[0]) }));
    assert.equal((await writer).code, 0);
    assert.equal((await node.ns.run("iptables", ["-t", "nat", "-S", "POSTROUTING"])).match(/10\.9\.9/g)?.length, 40);
    const counts = await traffic;
    assert.deepEqual(Object.keys(counts).filter((key) => !key.startsWith("pod")), []);
  });
}
