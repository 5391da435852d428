// Real packets through the rules: who answers, and which client address the answering program sees.
import assert from "node:assert/strict";
import type { ForwardedPort, ForwardEndpoint } from "../../node_agent/dataplane_contract.ts";
import { createTopology } from "../support/net_topology.ts";
import type { Host, Topology, TopologyNode } from "../support/net_topology.ts";
import { dataplaneOf, portOf } from "../support/netns_dataplane.ts";
import { enterWorld } from "../support/netns.ts";
import type { PeerAnswer } from "../support/netns.ts";
import { checkTrace } from "../support/traced_answer.ts";

interface World {
  readonly topology: Topology;
  readonly client: Host;
  readonly other: Host;
  readonly node: TopologyNode;
  readonly far: TopologyNode;
  readonly pods: readonly [Host, Host];
  readonly farPods: readonly [Host, Host];
  /** Endpoints by the names of their servers. */
  readonly servers: Readonly<Record<string, { readonly host: Host; readonly port: number }>>;
  /** Whether packets between pods on the node's bridge pass its rules. */
  readonly bridge: { isFiltered: boolean };
}

/** A client's view: where it connects and what must come back. */
interface Given {
  readonly from: (world: World) => Host;
  /** The address it connects to. @default the node's own */
  readonly to?: (world: World, family: Family) => string;
  readonly port?: Partial<ForwardedPort>;
  readonly endpoints: (world: World, family: Family) => readonly ForwardEndpoint[];
  readonly protocols?: readonly ("tcp" | "udp")[];
  readonly families?: readonly Family[];
  /** @default the node's own */
  readonly podCidrs?: readonly string[];
}

type Family = "ip4" | "ip6";
type Want = { readonly server: string; readonly peer: (world: World, family: Family) => string } | {
  readonly outcome: string;
};

interface Case {
  readonly name: string;
  readonly given: Given;
  readonly want: Want;
}

const local = (
  world: World,
  family: Family,
): ForwardEndpoint[] => [{ ip: world.pods[0][family], port: 8080, local: true }];
const remote = (
  world: World,
  family: Family,
): ForwardEndpoint[] => [{ ip: world.farPods[0][family], port: 8080, local: false }];
const client = (world: World): Host => world.client;
const nodeRange = (family: Family, index: number): string => family === "ip4" ? `10.42.${index}.1` : `fd42:${index}::1`;

const CASES: readonly Case[] = [
  {
    name: "a local pod sees the client",
    given: { from: client, endpoints: local },
    want: { server: "pod1", peer: (world, family) => world.client[family] },
  },
  {
    name: "a local pod sees the client under policy Local",
    given: { from: client, endpoints: (w, f) => [...local(w, f), ...remote(w, f)], port: { trafficPolicy: "Local" } },
    want: { server: "pod1", peer: (world, family) => world.client[family] },
  },
  {
    name: "a remote pod sees the node",
    given: { from: client, endpoints: remote },
    want: { server: "far1", peer: (world, family) => world.node[family] },
  },
  {
    name: "any local address serves, also the pod bridge's",
    given: { from: client, to: (_, family) => nodeRange(family, 1), endpoints: local },
    want: { server: "pod1", peer: (world, family) => world.client[family] },
  },
  {
    name: "a process of the node reaches a local pod",
    given: { from: (world) => world.node, endpoints: local },
    want: { server: "pod1", peer: (_, family) => nodeRange(family, 1) },
  },
  {
    name: "a process of the node reaches a remote pod",
    given: { from: (world) => world.node, endpoints: remote },
    want: { server: "far1", peer: (world, family) => world.node[family] },
  },
  {
    name: "a process of the other node reaches a pod here",
    given: { from: (world) => world.far, endpoints: local },
    want: { server: "pod1", peer: (world, family) => world.far[family] },
  },
  {
    name: "a process of the other node reaches a pod beside it through this node",
    given: { from: (world) => world.far, endpoints: remote },
    want: { server: "far1", peer: (world, family) => world.node[family] },
  },
  {
    name: "a pod reaches itself (hairpin)",
    given: { from: (world) => world.pods[0], endpoints: local },
    want: { server: "pod1", peer: (_, family) => nodeRange(family, 1) },
  },
  {
    name: "a pod with an address that the Node object does not know of reaches itself",
    given: {
      from: (world) => world.pods[0],
      endpoints: (world, family) => local(world, family).map((one) => ({ ...one, outsidePodCidrs: true })),
      podCidrs: ["192.168.1.0/24"],
    },
    want: { server: "pod1", peer: (_, family) => nodeRange(family, 1) },
  },
  {
    name: "a pod reaches its neighbour",
    given: { from: (world) => world.pods[1], endpoints: local },
    want: { server: "pod1", peer: (_, family) => nodeRange(family, 1) },
  },
  {
    name: "a pod reaches a remote pod",
    given: { from: (world) => world.pods[0], endpoints: remote },
    want: { server: "far1", peer: (world, family) => world.node[family] },
  },
  {
    name: "a pod of the other node reaches a pod here",
    given: { from: (world) => world.farPods[0], endpoints: local },
    want: { server: "pod1", peer: (world, family) => world.farPods[0][family] },
  },
  {
    name: "a hostNetwork endpoint here sees the client",
    given: { from: client, endpoints: (world, family) => [{ ip: world.node[family], port: 8080, local: true }] },
    want: { server: "host", peer: (world, family) => world.client[family] },
  },
  {
    name: "a hostNetwork endpoint here answers a process of the node",
    given: {
      from: (world) => world.node,
      endpoints: (world, family) => [{ ip: world.node[family], port: 8080, local: true }],
    },
    want: { server: "host", peer: (world, family) => world.node[family] },
  },
  {
    name: "a hostNetwork endpoint here answers a pod",
    given: {
      from: (world) => world.pods[0],
      endpoints: (world, family) => [{ ip: world.node[family], port: 8080, local: true }],
    },
    want: { server: "host", peer: (world, family) => world.pods[0][family] },
  },
  {
    name: "a hostNetwork endpoint there sees the node",
    given: { from: client, endpoints: (world, family) => [{ ip: world.far[family], port: 8080, local: false }] },
    want: { server: "farhost", peer: (world, family) => world.node[family] },
  },
  {
    name: "an admitted client reaches the pod",
    given: { from: client, endpoints: local, port: { sourceRanges: ["172.30.0.101/32", "fd30::101/128"] } },
    want: { server: "pod1", peer: (world, family) => world.client[family] },
  },
  {
    name: "a client that is not admitted gets nothing, not even the host's process on that port",
    given: {
      from: (world) => world.other,
      endpoints: local,
      port: { port: 9000, sourceRanges: ["172.30.0.101/32", "fd30::101/128"] },
    },
    want: { outcome: "timeout" },
  },
  {
    name: "a process of the node that is not admitted gets nothing",
    given: {
      from: (world) => world.node,
      endpoints: local,
      port: { port: 9000, sourceRanges: ["172.30.0.101/32", "fd30::101/128"] },
    },
    want: { outcome: "timeout" },
  },
  {
    name: "ranges of the other family admit no one",
    given: { from: client, endpoints: local, port: { sourceRanges: ["fd30::/64"] }, families: ["ip4"] },
    want: { outcome: "timeout" },
  },
  {
    name: "no endpoints resets at once",
    given: { from: client, endpoints: () => [], port: { port: 9000 }, protocols: ["tcp"] },
    want: { outcome: "refused" },
  },
  {
    name: "no endpoints resets a process of the node at once",
    given: { from: (world) => world.node, endpoints: () => [], port: { port: 9000 }, protocols: ["tcp"] },
    want: { outcome: "refused" },
  },
  {
    name: "policy Local without a local endpoint drops",
    given: { from: client, endpoints: remote, port: { port: 9000, trafficPolicy: "Local" } },
    want: { outcome: "timeout" },
  },
  {
    name: "policy Local without a local endpoint drops a pod of the other node",
    given: { from: (world) => world.farPods[0], endpoints: remote, port: { port: 9000, trafficPolicy: "Local" } },
    want: { outcome: "timeout" },
  },
  {
    name: "policy Local without a local endpoint refuses a pod of the node at once",
    given: {
      from: (world) => world.pods[0],
      endpoints: remote,
      port: { port: 9000, trafficPolicy: "Local" },
      protocols: ["tcp"],
    },
    want: { outcome: "refused" },
  },
  {
    name: "policy Local without a local endpoint refuses a process of the node at once",
    given: {
      from: (world) => world.node,
      endpoints: remote,
      port: { port: 9000, trafficPolicy: "Local" },
      protocols: ["tcp"],
    },
    want: { outcome: "refused" },
  },
  {
    name: "policy Local without a local endpoint drops a process that the ranges don't admit",
    given: {
      from: (world) => world.node,
      endpoints: remote,
      port: { port: 9000, trafficPolicy: "Local", sourceRanges: ["172.30.0.101/32", "fd30::101/128"] },
    },
    want: { outcome: "timeout" },
  },
  {
    name: "policy Local: a pod keeps its address on the way to its neighbour, where the bridge passes the rules",
    given: { from: (world) => world.pods[1], endpoints: local, port: { trafficPolicy: "Local" } },
    want: {
      server: "pod1",
      peer: (world, family) => world.bridge.isFiltered ? world.pods[1][family] : nodeRange(family, 1),
    },
  },
  {
    name: "policy Local: a pod reaches itself (hairpin)",
    given: { from: (world) => world.pods[0], endpoints: local, port: { trafficPolicy: "Local" } },
    want: { server: "pod1", peer: (_, family) => nodeRange(family, 1) },
  },
  {
    name: "policy Local: a pod with an address that the Node object does not know of reaches itself",
    given: {
      from: (world) => world.pods[0],
      endpoints: (world, family) => local(world, family).map((one) => ({ ...one, outsidePodCidrs: true })),
      port: { trafficPolicy: "Local" },
      podCidrs: ["192.168.1.0/24"],
    },
    want: { server: "pod1", peer: (_, family) => nodeRange(family, 1) },
  },
  {
    name: "policy Local: a pod of the other node keeps its address",
    given: { from: (world) => world.farPods[0], endpoints: local, port: { trafficPolicy: "Local" } },
    want: { server: "pod1", peer: (world, family) => world.farPods[0][family] },
  },
  {
    name: "an address that matches is served",
    given: { from: client, endpoints: local, port: { matchAddresses: ["172.30.0.11", "fd30::11"] } },
    want: { server: "pod1", peer: (world, family) => world.client[family] },
  },
  {
    name: "an address that does not match stays with the host's process",
    given: {
      from: client,
      to: (_, family) => nodeRange(family, 1),
      endpoints: local,
      port: { port: 9000, matchAddresses: ["172.30.0.11", "fd30::11"] },
    },
    want: { server: "hostport", peer: (world, family) => world.client[family] },
  },
];

if (await enterWorld(import.meta.url)) {
  const settings: readonly {
    readonly name: string;
    readonly prepare: (world: World) => Promise<void>;
    readonly backend?: "legacy";
  }[] = [
    { name: "plain", prepare: (world) => setBridgeFilter(world, 1) },
    { name: "FORWARD policy DROP, rp_filter 1, bridge-nf-call-iptables 0, kube-proxy's rules", prepare: hardenNode },
    { name: "legacy backend", prepare: (world) => setBridgeFilter(world, 1), backend: "legacy" },
    { name: "bridge-nf-call-iptables 0", prepare: (world) => setBridgeFilter(world, 0) },
  ];
  for (const setting of settings) {
    Deno.test(`apply: packets of every kind (${setting.name})`, async (t) => {
      const world = await createWorld();
      await using _ = world.topology;
      await setting.prepare(world);
      const dataplane = await dataplaneOf(world.node.ns, setting.backend ? { iptablesMode: setting.backend } : {});
      assert.equal(dataplane.backend, setting.backend ?? "nft");
      for (const one of CASES) {
        await t.step(one.name, async () => await tryCase(world, dataplane, one));
      }
      await dataplane.remove();
    });
  }

  Deno.test("apply: packets of every kind that crosses nodes (vxlan)", async (t) => {
    const world = await createWorld("vxlan");
    await using _ = world.topology;
    const dataplane = await dataplaneOf(world.node.ns);
    const vtep = (family: Family): string => family === "ip4" ? "10.42.1.0" : "fd42:1::";
    const crossing: readonly Case[] = [
      {
        name: "a remote pod sees the node's tunnel address",
        given: { from: client, endpoints: remote },
        want: { server: "far1", peer: (_, family) => vtep(family) },
      },
      {
        name: "a pod reaches a remote pod",
        given: { from: (w) => w.pods[0], endpoints: remote },
        want: { server: "far1", peer: (_, family) => vtep(family) },
      },
      {
        name: "a process of the node reaches a remote pod",
        given: { from: (w) => w.node, endpoints: remote },
        want: { server: "far1", peer: (_, family) => vtep(family) },
      },
    ];
    for (const one of crossing) await t.step(one.name, async () => await tryCase(world, dataplane, one));
  });
}

async function tryCase(world: World, dataplane: Awaited<ReturnType<typeof dataplaneOf>>, one: Case): Promise<void> {
  const { given, want } = one;
  for (const protocol of given.protocols ?? ["tcp", "udp"] as const) {
    const port = portOf({
      ...given.port,
      protocol: protocol === "tcp" ? "TCP" : "UDP",
      endpoints: [...given.endpoints(world, "ip4"), ...given.endpoints(world, "ip6")],
    });
    const report = await dataplane.apply({ podCidrs: given.podCidrs ?? world.node.podCidrs, ports: [port] });
    assert.deepEqual(report.failures, []);
    const families = given.families ?? ["ip4", "ip6"] as const;
    await Promise.all(families.map(async (family) => {
      const ip = given.to?.(world, family) ?? world.node[family];
      const timeoutMs = "outcome" in want && want.outcome === "timeout" ? 250 : 3000;
      const answer = await given.from(world).ns.request({ protocol, ip, port: port.port, timeoutMs });
      assert.deepEqual(
        summary(answer),
        "server" in want ? `${want.server} saw ${want.peer(world, family)}` : want.outcome,
        `${protocol} ${family}`,
      );
      if (protocol !== (given.protocols ?? ["tcp"])[0]) return;
      await checkTrace({
        ...{
          node: world.node,
          from: given.from(world),
          family,
          to: ip,
          protocol: port.protocol,
          port: port.port,
          answer,
        },
        localIps: [world.node[family], nodeRange(family, 1)],
        backend: dataplane.backend,
        servers: world.servers,
      }, `traced ${protocol} ${family}`);
    }));
  }
}

function summary(answer: PeerAnswer): string {
  return answer.outcome === "answer" ? `${answer.server} saw ${answer.peer}` : answer.outcome;
}

async function createWorld(podNetwork: "host-gw" | "vxlan" = "host-gw"): Promise<World> {
  const topology = await createTopology({ clients: 2, podNetwork });
  const [client, other] = topology.clients;
  const [node, far] = topology.nodes;
  assert.ok(client && other && node && far);
  const [p1, p2] = node.pods;
  const [f1, f2] = far.pods;
  assert.ok(p1 && p2 && f1 && f2);
  const listeners: readonly [Host, string, number][] = [
    [p1, "pod1", 8080],
    [p2, "pod2", 8080],
    [f1, "far1", 8080],
    [f2, "far2", 8080],
    [node, "host", 8080],
    [node, "hostport", 9000],
    [far, "farhost", 8080],
  ];
  // For replies of pods and bridges that a client reaches by a route of its own.
  for (const host of [client, other]) {
    await host.ns.addRoute("10.42.1.0/24", node.ip4);
    await host.ns.addRoute("fd42:1::/64", node.ip6);
  }
  const bridge = { isFiltered: true };
  for (const [host, name, port] of listeners) {
    await host.ns.listen({ protocol: "tcp", port, name });
    await host.ns.listen({ protocol: "udp", port, name });
  }
  const endpoints = listeners.filter(([, , port]) => port === 8080);
  const servers = Object.fromEntries(endpoints.map(([host, name, port]) => [name, { host, port }]));
  return { topology, client, other, node, far, pods: [p1, p2], farPods: [f1, f2], bridge, servers };
}

async function setBridgeFilter(world: World, value: 0 | 1): Promise<void> {
  world.bridge.isFiltered = value === 1;
  for (const name of ["iptables", "ip6tables"]) {
    await world.node.ns.setSysctl(`net.bridge.bridge-nf-call-${name}`, value);
  }
}

/** A node as strict as they come, with rules of kube-proxy's kind for its own address: they would lose the client's address. */
async function hardenNode(world: World): Promise<void> {
  const { ns } = world.node;
  await setBridgeFilter(world, 0);
  for (const device of ["all", "default", "eth0", "cni0"]) await ns.setSysctl(`net.ipv4.conf.${device}.rp_filter`, 1);
  for (
    const [program, ip, pod] of [["iptables", world.node.ip4, world.pods[1].ip4], [
      "ip6tables",
      world.node.ip6,
      `[${world.pods[1].ip6}]`,
    ]] as const
  ) {
    const vip = [
      "-A PREROUTING -j KUBE-SERVICES",
      "-A OUTPUT -j KUBE-SERVICES",
      "-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE",
    ];
    const rules = ["80", "9000"].flatMap((port) =>
      ["tcp", "udp"].flatMap((protocol) => [
        `-A KUBE-SERVICES -d ${ip} -p ${protocol} --dport ${port} -j MARK --or-mark 0x4000`,
        `-A KUBE-SERVICES -d ${ip} -p ${protocol} --dport ${port} -j DNAT --to-destination ${pod}:8080`,
      ])
    );
    const forward = [
      "*filter",
      ":FORWARD DROP",
      ":KUBE-ROUTER-FORWARD -",
      "-A FORWARD -j KUBE-ROUTER-FORWARD",
      "COMMIT",
    ];
    await ns.run(`${program}-restore`, [], {
      stdin: ["*nat", ":KUBE-SERVICES -", ...vip, ...rules, "COMMIT", ...forward, ""].join("\n"),
    });
  }
}
