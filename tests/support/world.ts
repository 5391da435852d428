// A whole cluster for tests: an API server (in memory or real), nodes and clients as network namespaces, a kubelet (simulated or real) on each node,
// `k3slb server` and one `k3slb agent` a node as the compiled binary. Only inside a private network world (netns.ts).
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { KubeClient } from "../../core/kube/contract.ts";
import { type DataplaneName, DEFAULT_SERVICELB_NAMESPACE, PROGRAMMED_CONDITION } from "../../core/service/labels.ts";
import { execHere, type PeerAnswer, type PeerRequest } from "./netns.ts";
import type { NodeBody } from "./node_body.ts";
import { ensureNodeImages } from "./node_images.ts";
import type { KubeProxyMode } from "./node_machine_config.ts";
import { RealNode } from "./real_node.ts";
import { SimulatedNode } from "./simulated_node.ts";
import { createTopology, type Host, type Topology } from "./net_topology.ts";
import { type Program, startProgram, tail } from "./programs.ts";
import { openTestClient } from "./test_client.ts";
import { waitUntil } from "./wait.ts";
import { startWorldApi, type WorldApi, type WorldKind } from "./world_api.ts";
import { cleanEnvironment, internalAddresses, programCommand, WorldNode } from "./world_node.ts";
import { TestNamespace } from "./world_objects.ts";

/** Address of the API server on the LAN. */
const API_IP = "172.30.0.1";

/** User of the servers: an administrator, told from the tests' own by name. */
export const SERVER_USER = "k3slb-server";

/** What {@linkcode startWorld} takes. */
export interface WorldOptions {
  /** @default {"memory", or what K3SLB_WORLD says} */
  readonly server?: WorldKind;
  /** @default {3} */
  readonly nodes?: number;
  /** @default {1} */
  readonly clients?: number;
  /** @default {true, or what K3SLB_IP_FAMILIES says} */
  readonly dualStack?: boolean;
  /** @default {"agent"} */
  readonly dataplane?: DataplaneName;
  /**
   * Whether agents run. Without them kubelets say True to the gates themselves.
   * @default {true}
   */
  readonly agents?: boolean;
  /**
   * Servers that are started at once; more with {@linkcode World.startServer}.
   * @default {1}
   */
  readonly servers?: number;
  readonly serverArgs?: readonly string[];
  /**
   * Groups of the servers' user {@linkcode SERVER_USER}.
   * @default {["system:masters"]}
   */
  readonly serverGroups?: readonly string[];
  /** Whether controller-manager and scheduler of the real control plane may ask as often as they like. */
  readonly liftClientLimits?: boolean;
  /** Seconds without a heartbeat after which a node is Unknown. */
  readonly nodeGraceSeconds?: number;
  /**
   * How kube-proxy works on real nodes.
   * @default {"iptables", or what K3SLB_KUBE_PROXY says}
   */
  readonly kubeProxy?: KubeProxyMode;
  /**
   * Pods that a real node's kubelet takes.
   * @default {500}
   */
  readonly maxPods?: number;
  /** Archives of images that real nodes know beside those of every world. */
  readonly images?: readonly string[];
  /** Folder for data and logs, which stays when the world stops; a temporary one that goes with the world if absent. */
  readonly dir?: string;
}

/** A running world. */
export interface World {
  readonly kind: WorldKind;
  readonly api: WorldApi;
  /** Client as administrator. */
  readonly admin: KubeClient;
  readonly nodes: readonly WorldNode[];
  /** A machine on the LAN that is no node. */
  readonly client: Host;
  readonly topology: Topology;
  /** By name; throws if there is none. */
  node(name: string): WorldNode;
  /** All IPv4 addresses of the nodes. */
  readonly nodeIps: readonly string[];
  /** A new namespace, named after `label`. */
  namespace(label: string): Promise<TestNamespace>;
  /** A port that no other test uses. */
  port(): number;
  /** Starts one more server. */
  startServer(args?: readonly string[]): Promise<Program>;
  readonly servers: readonly Program[];
  /** Asks from a machine until `accept` takes the answer. */
  waitForAnswer(
    from: Host | WorldNode,
    request: PeerRequest,
    accept?: (answer: PeerAnswer) => boolean,
  ): Promise<PeerAnswer>;
  /** Ends of all logs, for messages. */
  logs(): string;
  stop(): Promise<void>;
}

/** Which API server the environment asks for. */
export function worldKind(): WorldKind {
  const named = process.env["K3SLB_WORLD"] ?? "";
  return named === "real" || named === "nodes" ? named : "memory";
}

/** Whether nodes have addresses of both families, unless a world says otherwise: they have with K3SLB_IP_FAMILIES other than "IPv4". */
export function isDualStack(): boolean {
  return process.env["K3SLB_IP_FAMILIES"] !== "IPv4";
}

/** Starts a world; nodes are Ready and servers and agents are started when it resolves. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const kind = options.server ?? worldKind();
  const dualStack = options.dualStack ?? isDualStack();
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), "k3slb-world-"));
  const parts = new WorldParts();
  if (options.dir === undefined) parts.atEnd(() => Promise.resolve(rmSync(dir, { recursive: true, force: true })));
  try {
    const topology = await parts.add(
      createTopology({ nodes: options.nodes ?? 3, clients: options.clients ?? 1, podsPerNode: 0, dualStack }),
      (made) => made.remove(),
    );
    await joinLan(topology);
    const apiDir = join(dir, "api");
    mkdirSync(apiDir);
    const api = await parts.add(
      startWorldApi({
        kind,
        dir: apiDir,
        host: API_IP,
        dualStack,
        ...(options.liftClientLimits === undefined ? {} : { liftClientLimits: options.liftClientLimits }),
        ...(options.nodeGraceSeconds === undefined ? {} : { nodeGraceSeconds: options.nodeGraceSeconds }),
      }),
      (made) => made.stop(),
    );
    const adminKubeconfig = await api.kubeconfig("admin", ["system:masters"]);
    const admin = await parts.add(openTestClient(adminKubeconfig, "tests"), (made) => Promise.resolve(made.close()));
    const agents = options.agents ?? true;
    const bodies = kind === "nodes"
      ? await realNodes({
        api,
        admin,
        topology,
        dir,
        images: options.images ?? [],
        maxPods: options.maxPods ?? 500,
        mode: options.kubeProxy ?? kubeProxyMode(),
      })
      : simulatedNodes({ api, topology, ownGates: agents ? [] : [PROGRAMMED_CONDITION] });
    const nodes = topology.nodes.map((host, i) =>
      new WorldNode({ host, api, admin, dir, body: bodies[i] as NodeBody })
    );
    parts.atEnd(async () => void await Promise.all(nodes.map((node) => node.stop())));
    await Promise.all(nodes.map((node) => node.startKubelet()));
    const world = createWorld({ options, kind, api, admin, nodes, topology, dir, parts });
    for (let i = 0; i < (options.servers ?? 1); i++) await world.startServer();
    if (agents && options.dataplane !== "pods") await Promise.all(nodes.map((node) => node.startAgent()));
    return world;
  } catch (error) {
    await parts.stop();
    throw error;
  }
}

interface WorldState {
  readonly options: WorldOptions;
  readonly kind: WorldKind;
  readonly api: WorldApi;
  readonly admin: KubeClient;
  readonly nodes: readonly WorldNode[];
  readonly topology: Topology;
  readonly dir: string;
  readonly parts: WorldParts;
}

function createWorld(state: WorldState): World {
  const { options, api, admin, nodes, topology, dir, parts } = state;
  const [client] = topology.clients;
  if (client === undefined) throw new TypeError("A world needs a client");
  const servers: Program[] = [];
  parts.atEnd(async () => void await Promise.all(servers.map((server) => server.stop())));
  let nextPort = 20_000;
  let nextNamespace = 1;
  const logs = (): string => {
    const files = [...servers.map(({ name }) => name), ...nodes.map(({ name }) => `agent-${name}`)];
    const tails = files.map((name) => `--- ${name}\n${tail(join(dir, `${name}.log`), 25)}`);
    return [...tails, api.logTails(), ...nodes.map((node) => node.logTails())].join("\n");
  };
  return {
    kind: state.kind,
    api,
    admin,
    nodes,
    client,
    topology,
    servers,
    nodeIps: nodes.map(({ ip4 }) => ip4),
    node: (name) => {
      const found = nodes.find((node) => node.name === name);
      if (found === undefined) throw new TypeError(`There is no node "${name}"`);
      return found;
    },
    namespace: async (label) => {
      const name = `${label}-${nextNamespace++}`;
      const explain = (): Promise<string> => Promise.resolve(logs());
      const made = new TestNamespace(admin, { name, systemNamespace: DEFAULT_SERVICELB_NAMESPACE, explain });
      await made.create();
      return made;
    },
    port: () => nextPort++,
    startServer: async (args = []) => {
      const name = `server${servers.length + 1}`;
      const dataDir = join(dir, name);
      mkdirSync(dataDir);
      const program = startProgram({
        name,
        command: [
          ...programCommand(),
          "server",
          ...["--kubeconfig", await api.kubeconfig(SERVER_USER, options.serverGroups ?? ["system:masters"])],
          ...["--node-name", name, "--data-dir", dataDir, "--log-level", "debug"],
          ...["--dataplane", options.dataplane ?? "agent"],
          ...["--metrics-address", `127.0.0.1:${10_260 + servers.length}`],
          ...(args.some((arg) => arg.startsWith("--disable")) ? [] : ["--disable", "coredns,traefik"]),
          ...options.serverArgs ?? [],
          ...args,
        ],
        logFile: join(dir, `${name}.log`),
        env: cleanEnvironment(),
      });
      servers.push(program);
      return program;
    },
    waitForAnswer: async (from, request, accept = (answer) => answer.outcome === "answer") => {
      let last: PeerAnswer | undefined;
      return await waitUntil(`an answer from ${request.ip} port ${request.port}`, async () => {
        last = await from.ns.request(request);
        return accept(last) && last;
      }, { deadlineMs: ANSWER_MS, explain: () => `last answer: ${JSON.stringify(last)}\n${logs()}` });
    },
    logs,
    stop: () => parts.stop(),
  };
}

/** After an outage of the API server controller-manager asks it again in up to half a minute: no endpoint is made before. */
const ANSWER_MS = 60_000;

/** Nodes whose kubelets are part of this process. */
function simulatedNodes({ api, topology, ownGates }: {
  readonly api: WorldApi;
  readonly topology: Topology;
  readonly ownGates: readonly string[];
}): readonly NodeBody[] {
  return topology.nodes.map((host) =>
    new SimulatedNode(host, async () => ({
      kubeconfig: await api.kubeconfig(`system:node:${host.name}`, ["system:nodes"]),
      addresses: internalAddresses(host),
      machineId: `${host.index}`.padStart(32, "a"),
      ownGates,
    }))
  );
}

/** Nodes with containers. */
async function realNodes({ api, admin, topology, dir, images: more, maxPods, mode }: {
  readonly api: WorldApi;
  readonly admin: KubeClient;
  readonly topology: Topology;
  readonly dir: string;
  readonly images: readonly string[];
  readonly maxPods: number;
  readonly mode: KubeProxyMode;
}): Promise<readonly NodeBody[]> {
  const images = [...await ensureNodeImages(), ...more];
  const kubeProxy = {
    mode,
    kubeconfig: await api.kubeconfig("system:kube-proxy", []),
    clusterCidrs: topology.nodes[0]?.podCidrs.map((cidr) => cidr.includes(":") ? "fd42::/16" : "10.42.0.0/16") ?? [],
  };
  return topology.nodes.map((host) =>
    new RealNode({
      host,
      admin,
      kubeProxy,
      machine: async () => {
        const own = join(dir, host.name);
        mkdirSync(own, { recursive: true });
        const kubeconfig = await api.kubeconfig(`system:node:${host.name}`, ["system:nodes"]);
        return { dir: own, kubeconfig, clientCaFile: api.caFile, images, maxPods };
      },
    })
  );
}

function kubeProxyMode(): KubeProxyMode {
  return process.env["K3SLB_KUBE_PROXY"] === "nftables" ? "nftables" : "iptables";
}

/** Puts the test process itself on the LAN, so that nodes and their pods reach its API server. */
async function joinLan(topology: Topology): Promise<void> {
  const script = [
    // The kernel takes the link of a world that has just ended away in its own time.
    "{ ! ip link show lan0 || ip link del lan0; } > /dev/null 2>&1",
    `ip link add lan0 type veth peer name host0 netns ${topology.lan.name}`,
    `ip -n ${topology.lan.name} link set host0 master lan up`,
    `ip address add ${API_IP}/24 dev lan0`,
    "ip link set lan0 up",
    ...topology.nodes.map(({ podCidrs, ip4 }) => `ip route add ${podCidrs[0]} via ${ip4}`),
  ].join(" && ");
  const done = await execHere("sh", ["-c", script]);
  if (done.code !== 0) throw new Error(`Cannot join the LAN: ${done.stderr}`);
}

/** What has been made, to be ended in reverse order. */
class WorldParts {
  readonly #ends: (() => Promise<void>)[] = [];

  atEnd(end: () => Promise<void>): void {
    this.#ends.push(end);
  }

  async add<T>(made: Promise<T>, end: (made: T) => Promise<void>): Promise<T> {
    const value = await made;
    this.atEnd(() => end(value));
    return value;
  }

  async stop(): Promise<void> {
    for (let end = this.#ends.pop(); end !== undefined; end = this.#ends.pop()) await end();
  }
}
