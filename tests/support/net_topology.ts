// A small cluster's network made of namespaces: clients and nodes on one LAN, pods behind a bridge on each node, as flannel's host-gw
// backend lays it out. LAN 172.30.0.0/24 and fd30::/64, pods 10.42.N.0/24 and fd42:N::/64.
import { Netns } from "./netns.ts";

/** A namespace with its addresses. */
export interface Host {
  readonly ns: Netns;
  readonly ip4: string;
  /** Empty if the topology has no IPv6. */
  readonly ip6: string;
}

/** A node: forwards packets, has pods. */
export interface TopologyNode extends Host {
  readonly name: string;
  /** Counts from 1. */
  readonly index: number;
  readonly podCidrs: readonly string[];
  readonly pods: readonly Host[];
  /** Adds one more pod to this node. */
  addPod(): Promise<Host>;
}

/** What {@linkcode createTopology} made. */
export interface Topology extends AsyncDisposable {
  readonly lan: Netns;
  readonly clients: readonly Host[];
  readonly nodes: readonly TopologyNode[];
  /** Removes every namespace and ends the programs in them. Safe to call twice. */
  remove(): Promise<void>;
}

/** How large a topology is. */
export interface TopologyOptions {
  /** @default {2} */
  readonly nodes?: number;
  /** @default {1} */
  readonly clients?: number;
  /** @default {2} */
  readonly podsPerNode?: number;
  /** @default {true} */
  readonly dualStack?: boolean;
  /**
   * How pods of different nodes reach each other: by routes on the LAN, or through VXLAN with flannel's port and addresses.
   * @default {"host-gw"}
   */
  readonly podNetwork?: "host-gw" | "vxlan";
}

/** Builds the namespaces and links; every address answers when it resolves. Only inside a world (`enterWorld`). */
export async function createTopology(options: TopologyOptions = {}): Promise<Topology> {
  const dualStack = options.dualStack ?? true;
  const made: Netns[] = [];
  const create = async (label: string): Promise<Netns> => {
    const ns = await Netns.create(label);
    made.push(ns);
    return ns;
  };
  const remove = async (): Promise<void> => {
    await Promise.all(made.splice(0).map((ns) => ns.remove()));
  };
  try {
    const lan = await create("lan");
    await lan.addBridge("lan");
    const joinLan = async (label: string, host: number): Promise<Host> => {
      const ns = await create(label);
      await ns.linkToBridge("eth0", { ns: lan, bridge: "lan" });
      await ns.addAddress("eth0", `172.30.0.${host}/24`);
      if (dualStack) await ns.addAddress("eth0", `fd30::${host}/64`);
      return { ns, ip4: `172.30.0.${host}`, ip6: dualStack ? `fd30::${host}` : "" };
    };
    const clients: Host[] = [];
    for (let i = 1; i <= (options.clients ?? 1); i++) clients.push(await joinLan(`client${i}`, 100 + i));
    const nodes: TopologyNode[] = [];
    for (let i = 1; i <= (options.nodes ?? 2); i++) {
      const host = await joinLan(`node${i}`, 10 + i);
      nodes.push(await createNode(host, i, { dualStack, create }));
    }
    await connectPods(nodes, { dualStack, vxlan: options.podNetwork === "vxlan" });
    for (const node of nodes) for (let i = 0; i < (options.podsPerNode ?? 2); i++) await node.addPod();
    return { lan, clients, nodes, remove, [Symbol.asyncDispose]: remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

interface NodeParts {
  readonly dualStack: boolean;
  readonly create: (label: string) => Promise<Netns>;
}

async function createNode(host: Host, index: number, parts: NodeParts): Promise<TopologyNode> {
  const { ns } = host;
  await ns.setSysctl("net.ipv4.ip_forward", 1);
  await ns.setSysctl("net.ipv6.conf.all.forwarding", 1);
  await ns.addBridge("cni0");
  await ns.addAddress("cni0", `10.42.${index}.1/24`);
  if (parts.dualStack) await ns.addAddress("cni0", `fd42:${index}::1/64`);
  const pods: Host[] = [];
  const addPod = async (): Promise<Host> => {
    const number = 10 + pods.length;
    const pod = await parts.create(`pod${index}x${number}`);
    await pod.linkToBridge("eth0", { ns, bridge: "cni0", hairpin: true });
    await pod.addAddress("eth0", `10.42.${index}.${number}/24`);
    await pod.addRoute("default", `10.42.${index}.1`);
    if (parts.dualStack) {
      await pod.addAddress("eth0", `fd42:${index}::${number}/64`);
      await pod.addRoute("default", `fd42:${index}::1`);
    }
    const made = { ns: pod, ip4: `10.42.${index}.${number}`, ip6: parts.dualStack ? `fd42:${index}::${number}` : "" };
    pods.push(made);
    return made;
  };
  const podCidrs = [`10.42.${index}.0/24`, ...(parts.dualStack ? [`fd42:${index}::/64`] : [])];
  return { ...host, name: `node${index}`, index, podCidrs, pods, addPod };
}

async function connectPods(
  nodes: readonly TopologyNode[],
  options: { dualStack: boolean; vxlan: boolean },
): Promise<void> {
  for (const node of nodes) {
    if (options.vxlan) {
      await node.ns.ip(
        `link add flannel.1 type vxlan id 1 dev eth0 local ${node.ip4} dstport 8472 nolearning`,
        `link set flannel.1 address ${vtepMac(node)} mtu 1450 up`,
        `address add 10.42.${node.index}.0/32 dev flannel.1`,
        ...(options.dualStack ? [`address add fd42:${node.index}:: dev flannel.1 nodad`] : []),
      );
    }
    for (const other of nodes) {
      if (other.index === node.index) continue;
      if (options.vxlan) await addVxlanPeer(node, other, options.dualStack);
      else {
        await node.ns.addRoute(`10.42.${other.index}.0/24`, other.ip4);
        if (options.dualStack) await node.ns.addRoute(`fd42:${other.index}::/64`, other.ip6);
      }
    }
  }
}

async function addVxlanPeer(node: TopologyNode, other: TopologyNode, dualStack: boolean): Promise<void> {
  const mac = vtepMac(other);
  await node.ns.ip(
    `neighbor add 10.42.${other.index}.0 lladdr ${mac} dev flannel.1 nud permanent`,
    `route add 10.42.${other.index}.0/24 via 10.42.${other.index}.0 dev flannel.1 onlink`,
    ...(dualStack
      ? [
        `neighbor add fd42:${other.index}:: lladdr ${mac} dev flannel.1 nud permanent`,
        `route add fd42:${other.index}::/64 via fd42:${other.index}:: dev flannel.1 onlink`,
      ]
      : []),
  );
  await node.ns.run("bridge", ["fdb", "append", mac, "dev", "flannel.1", "dst", other.ip4]);
}

function vtepMac(node: TopologyNode): string {
  return `02:42:00:00:00:${node.index.toString(16).padStart(2, "0")}`;
}
