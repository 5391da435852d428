// Four ways from a client to a pod, each on a node of its own that is otherwise the same, so that no path pays for another one's rules:
// straight to the pod; k3slb; kube-proxy's own rule for an address in the status; ServiceLB's hostPort and pod (where that address is not
// in the status). Every node has kube-proxy's rules for the two Services: one with a local endpoint, one with an endpoint on a fifth node.
import type { Dataplane, ForwardedPort } from "../../node_agent/dataplane_contract.ts";
import { createTopology, type Host, type Topology, type TopologyNode } from "../support/net_topology.ts";
import type { Netns } from "../support/netns.ts";
import { dataplaneOf, portOf } from "../support/netns_dataplane.ts";
import { type ProxiedService, renderBalancerPodRules, renderKubeProxyRules } from "./kube_proxy_rules.ts";
import type { Target } from "./load_peer.ts";
import { type LoadClient, SERVER_PORT, startLoadClient, startLoadServer } from "./load_peer_client.ts";

/** Names of the paths, in the order of tables. */
export const PATHS = ["direct", "k3slb", "kube-proxy", "ServiceLB"] as const;

/** One path. */
export type PathName = (typeof PATHS)[number];

/** Where the pod is, seen from the node that the client asks. */
export type EndpointPlace = "local" | "remote";

/** The paths, ready for packets. */
export interface ForwardingPaths extends AsyncDisposable {
  readonly client: LoadClient;
  readonly clientHost: Host;
  /** Processes of the endpoints. */
  readonly serverPids: readonly number[];
  /** The data plane on k3slb's node. */
  readonly dataplane: Dataplane;
  /** Both ports of k3slb, for TCP and UDP, with these endpoints. */
  ports(endpoints: Readonly<Record<EndpointPlace, readonly Host[]>>): readonly ForwardedPort[];
  /** Pods behind k3slb. */
  readonly pods: Readonly<Record<EndpointPlace, Host>>;
  target(path: PathName, place: EndpointPlace): Target;
  /** Namespaces on the way that track connections, by what they are. */
  trackers(path: PathName): Readonly<Record<"node" | "balancer pod" | "endpoint's node", Netns | undefined>>;
}

const PORTS: Readonly<Record<EndpointPlace, number>> = { local: 7001, remote: 7002 };
const CLUSTER_IPS: Readonly<Record<EndpointPlace, string>> = { local: "10.43.0.1", remote: "10.43.0.2" };
const PLACES: readonly EndpointPlace[] = ["local", "remote"];

/** Builds the nodes and programs all paths. Only inside a world. */
export async function createForwardingPaths(): Promise<ForwardingPaths> {
  const topology = await createTopology({ nodes: PATHS.length + 1, podsPerNode: 1, dualStack: false });
  try {
    return await prepare(topology);
  } catch (error) {
    await topology.remove();
    throw error;
  }
}

async function prepare(topology: Topology): Promise<ForwardingPaths> {
  const [clientHost] = topology.clients;
  const far = topology.nodes[PATHS.length];
  const farPod = far?.pods[0];
  if (!clientHost || !far || !farPod) throw new TypeError("The topology is too small");
  const nodes = new Map<PathName, TopologyNode>();
  PATHS.forEach((path, i) => {
    const node = topology.nodes[i];
    if (node) nodes.set(path, node);
  });
  const nodeOf = (path: PathName): TopologyNode => nodes.get(path) ?? far;
  const podOf = (path: PathName): Host => nodeOf(path).pods[0] ?? farPod;

  const serverPids: number[] = [];
  for (const node of topology.nodes) {
    await prepareNode(node);
    await clientHost.ns.addRoute(`10.42.${node.index}.0/24`, node.ip4);
    if (node.pods[0]) serverPids.push(await startLoadServer(node.pods[0].ns));
  }
  for (const path of PATHS) {
    const node = nodeOf(path);
    const inStatus = path === "k3slb" || path === "kube-proxy";
    const services = proxied({ local: podOf(path), remote: farPod }, inStatus ? node.ip4 : undefined);
    await restore(node.ns, renderKubeProxyRules(services));
    if (path === "ServiceLB") await addBalancerPod(node, services);
  }
  await restore(far.ns, renderKubeProxyRules(proxied({ local: farPod, remote: farPod }, undefined)));
  const pods = { local: podOf("k3slb"), remote: farPod };
  const ports: ForwardingPaths["ports"] = (endpoints) =>
    PLACES.flatMap((place) =>
      (["TCP", "UDP"] as const).map((protocol) =>
        portOf({
          service: place,
          protocol,
          port: PORTS[place],
          endpoints: endpoints[place].map(({ ip4 }) => ({
            ip: ip4,
            port: SERVER_PORT,
            local: ip4 === pods.local.ip4,
          })),
        })
      )
    );
  const dataplane = await dataplaneOf(nodeOf("k3slb").ns);
  await dataplane.apply({
    podCidrs: nodeOf("k3slb").podCidrs,
    ports: ports({ local: [pods.local], remote: [pods.remote] }),
  });
  const client = await startLoadClient(clientHost.ns);
  return {
    client,
    clientHost,
    serverPids,
    dataplane,
    ports,
    pods,
    target: (path, place) =>
      path === "direct"
        ? { ip: place === "local" ? podOf(path).ip4 : farPod.ip4, port: SERVER_PORT }
        : { ip: nodeOf(path).ip4, port: PORTS[place] },
    trackers: (path) => ({
      node: nodeOf(path).ns,
      "balancer pod": path === "ServiceLB" ? nodeOf(path).pods[1]?.ns : undefined,
      "endpoint's node": far.ns,
    }),
    [Symbol.asyncDispose]: async () => {
      await client.stop();
      await topology.remove();
    },
  };
}

/** What kubelet asks of a node, and short memory for ended connections. */
export async function prepareNode(node: TopologyNode): Promise<void> {
  await node.ns.setSysctl("net.bridge.bridge-nf-call-iptables", 1);
  await forgetEndedConnections(node.ns);
}

/** Lets connection tracking forget ended flows within a second or two, so that the table's size is the same all through a run. */
export async function forgetEndedConnections(ns: Netns): Promise<void> {
  for (const name of ["tcp_timeout_time_wait", "tcp_timeout_close", "udp_timeout", "udp_timeout_stream"]) {
    await ns.setSysctl(`net.netfilter.nf_conntrack_${name}`, name.startsWith("udp") ? 2 : 1);
  }
}

function proxied(
  pods: Readonly<Record<EndpointPlace, Host>>,
  ingressIp: string | undefined,
): readonly ProxiedService[] {
  return PLACES.map((place) => ({
    name: place,
    clusterIp: CLUSTER_IPS[place],
    port: PORTS[place],
    protocols: ["tcp", "udp"],
    endpoints: [`${pods[place].ip4}:${SERVER_PORT}`],
    ...(ingressIp === undefined ? {} : { ingressIp }),
  }));
}

/** ServiceLB's pod: its ports come through the real plugin. */
async function addBalancerPod(node: TopologyNode, services: readonly ProxiedService[]): Promise<void> {
  const pod = await node.addPod();
  await pod.ns.setSysctl("net.ipv4.ip_forward", 1);
  await forgetEndedConnections(pod.ns);
  for (const service of services) await restore(pod.ns, renderBalancerPodRules(service));
  await addHostPorts(node, pod, services.map(({ port }) => port));
}

/** Runs the CNI plugin "portmap" as the container runtime does, for TCP and UDP. */
export async function addHostPorts(node: TopologyNode, pod: Host, ports: readonly number[]): Promise<void> {
  const sandbox = `/run/netns/${pod.ns.name}`;
  const config = {
    cniVersion: "0.4.0",
    name: "cbr0",
    type: "portmap",
    snat: true,
    capabilities: { portMappings: true },
    runtimeConfig: {
      portMappings: ports.flatMap((port) =>
        ["tcp", "udp"].map((protocol) => ({ hostPort: port, containerPort: port, protocol }))
      ),
    },
    prevResult: {
      cniVersion: "0.4.0",
      interfaces: [{ name: "cni0" }, { name: "eth0", sandbox }],
      ips: [{ version: "4", address: `${pod.ip4}/24`, gateway: `10.42.${node.index}.1`, interface: 1 }],
    },
  };
  const env = {
    CNI_COMMAND: "ADD",
    CNI_CONTAINERID: pod.ns.name,
    CNI_NETNS: sandbox,
    CNI_IFNAME: "eth0",
    CNI_PATH: "/usr/lib/cni",
  };
  await node.ns.run("/usr/lib/cni/portmap", [], { stdin: JSON.stringify(config), env });
}

/** Adds rules from a text. */
export async function restore(ns: Netns, text: string): Promise<void> {
  await ns.run("iptables-restore", ["--noflush", "--wait", "30"], { stdin: text });
}
