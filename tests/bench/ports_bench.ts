// A new connection to the last of N load balancer ports: the first packet walks the rules, all later ones don't. Each path on a node of its
// own, all with kube-proxy's rules for the N Services.
import type { Dataplane } from "../../node_agent/dataplane_contract.ts";
import { createTopology, type Host, type TopologyNode } from "../support/net_topology.ts";
import { dataplaneOf, portOf } from "../support/netns_dataplane.ts";
import type { BenchContext } from "./bench_context.ts";
import { prepareNode, restore } from "./forwarding_paths.ts";
import {
  type ProxiedService,
  renderBalancerPodRules,
  renderHostPortRules,
  renderKubeProxyRules,
} from "./kube_proxy_rules.ts";
import { type LoadClient, pinProcesses, SERVER_PORT, startLoadClient, startLoadServer } from "./load_peer_client.ts";
import { judged, short } from "./report.ts";
import { median, shuffled } from "./stats.ts";

const LB_PATHS = ["k3slb", "kube-proxy", "ServiceLB"] as const;
type LbPath = (typeof LB_PATHS)[number];

const FIRST_PORT = 10_001;
const SLICE_MS = 150;

/** One path's node. */
interface PathNode {
  readonly path: LbPath;
  readonly node: TopologyNode;
  readonly pod: Host;
}

/** Microseconds for a new connection and one request at the last of N ports, for growing N. */
export async function benchPorts(context: BenchContext): Promise<void> {
  await using topology = await createTopology({ nodes: LB_PATHS.length, podsPerNode: 1, dualStack: false });
  const [clientHost] = topology.clients;
  if (!clientHost) throw new TypeError("The topology has no client");
  const client = await startLoadClient(clientHost.ns);
  const pids = [client.pid];
  const nodes: PathNode[] = [];
  for (const [i, path] of LB_PATHS.entries()) {
    const node = topology.nodes[i];
    const pod = node?.pods[0];
    if (!node || !pod) throw new TypeError("The topology is too small");
    await prepareNode(node);
    pids.push(await startLoadServer(pod.ns));
    nodes.push({ path, node, pod });
  }
  const balancer = await addBalancer(nodes);
  await pinProcesses(pids, 0);
  const counts = context.quick ? [10, 500] : [10, 100, 500, 2000];
  const medians = new Map<string, number>();
  const rounds = context.quick ? 4 : 14;
  const k3slb = nodes.find(({ path }) => path === "k3slb");
  const dataplane = k3slb && await dataplaneOf(k3slb.node.ns);
  for (const count of counts) {
    for (const each of nodes) await program(each, { count, balancer, dataplane });
    const results = await measure(client, { nodes, count, rounds });
    for (const { path } of nodes) medians.set(`${path} ${count}`, median(results[path]));
  }
  await client.stop();
  report(context, { counts, medians, rounds });
}

function report(
  context: BenchContext,
  { counts, medians, rounds }: { counts: readonly number[]; medians: ReadonlyMap<string, number>; rounds: number },
): void {
  const [few = 10] = counts;
  const most = counts.at(-1) ?? few;
  const at = (path: LbPath, count: number): number => medians.get(`${path} ${count}`) ?? NaN;
  context.print(`\nMicroseconds, one flow, one processor (median of ${rounds} slices; ratio to ${few} ports)`);
  context.table(
    ["ports", ...LB_PATHS],
    counts.map((count) => [
      String(count),
      ...LB_PATHS.map((path) => `${short(at(path, count))} (${(at(path, count) / at(path, few)).toFixed(2)})`),
    ]),
  );
  const ratio = Number((at("k3slb", most) / at("k3slb", few)).toFixed(2));
  const budget = { value: 1.15, direction: "at most", unit: "" } as const;
  context.figures([
    judged({ what: `k3slb, ${most} ports / ${few} ports`, value: ratio.toFixed(2), count: rounds }, ratio, budget),
  ]);
}

async function measure(
  client: LoadClient,
  { nodes, count, rounds }: { nodes: readonly PathNode[]; count: number; rounds: number },
): Promise<Record<LbPath, number[]>> {
  const results: Record<LbPath, number[]> = { k3slb: [], "kube-proxy": [], ServiceLB: [] };
  for (let round = 0; round < rounds + 1; round++) {
    for (const { path, node } of shuffled(nodes, Math.random)) {
      const target = { ip: node.ip4, port: FIRST_PORT + count - 1 };
      const { p50us, failed } = await client.load({ kind: "connect", target, durationMs: SLICE_MS });
      if (failed > 0) throw new Error(`${path} with ${count} ports: ${failed} connections failed`);
      // The first round warms caches and code.
      if (round > 0) results[path].push(p50us);
    }
  }
  return results;
}

/** ServiceLB has a pod for each Service; packets are measured on the last one only, so one pod stands for all. */
async function addBalancer(nodes: readonly PathNode[]): Promise<Host> {
  const own = nodes.find(({ path }) => path === "ServiceLB");
  if (!own) throw new TypeError("There is no node for ServiceLB");
  const pod = await own.node.addPod();
  await pod.ns.setSysctl("net.ipv4.ip_forward", 1);
  return pod;
}

async function program(
  { path, node, pod }: PathNode,
  { count, balancer, dataplane }: { count: number; balancer: Host; dataplane: Dataplane | undefined },
): Promise<void> {
  const ports = Array.from({ length: count }, (_, i) => FIRST_PORT + i);
  const services = ports.map((port, i): ProxiedService => ({
    name: `s${i}`,
    clusterIp: `10.43.${i >> 8}.${i & 255}`,
    port,
    protocols: ["tcp"],
    endpoints: [`${pod.ip4}:${SERVER_PORT}`],
    ...(path === "ServiceLB" ? {} : { ingressIp: node.ip4 }),
  }));
  if (path === "k3slb") await dataplane?.remove();
  await restore(node.ns, FLUSH);
  await restore(node.ns, renderKubeProxyRules(services));
  if (path === "k3slb") {
    await dataplane?.apply({
      podCidrs: node.podCidrs,
      ports: ports.map((port, i) =>
        portOf({
          service: `s${i}`,
          port,
          families: ["IPv4"],
          endpoints: [{ ip: pod.ip4, port: SERVER_PORT, local: true }],
        })
      ),
    });
  }
  if (path === "ServiceLB") {
    await restore(node.ns, renderHostPortRules(ports.map((port) => ({ port, podIp: balancer.ip4 }))));
    await balancer.ns.run("iptables-restore", [], {
      stdin: renderBalancerPodRules(services.slice(-1)[0] as ProxiedService),
    });
  }
}

/** Without `--noflush` both tables would go too; with it, only what is named is emptied. */
const FLUSH = "*nat\n-F\n-X\nCOMMIT\n*filter\n-F\n-X\nCOMMIT\n";
