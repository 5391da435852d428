// One node of a test world: a machine on the LAN with a kubelet, simulated or real, and, if wanted, `k3slb agent` on it.
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { KubeClient } from "../../core/kube/contract.ts";
import { NODES } from "../../core/kube/resources.ts";
import { runtimeEnvironment } from "../../core/shared/systemd_unit.ts";
import type { NodeAddress } from "./kubelet.ts";
import type { Netns } from "./netns.ts";
import type { Host, TopologyNode } from "./net_topology.ts";
import type { NodeBody } from "./node_body.ts";
import { type Program, runProgram, type RunResult, startProgram } from "./programs.ts";
import type { WorldApi } from "./world_api.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The program under test: K3SLB_PROGRAM (a command line), else the compiled binary. */
export function programCommand(): readonly string[] {
  const given = process.env["K3SLB_PROGRAM"] ?? "";
  return given === "" ? [join(ROOT, "dist", "k3slb")] : given.split(" ");
}

/** Takes away from a program what this process's environment could tell it, and gives it what its unit gives it. */
export function cleanEnvironment(role: "server" | "agent" = "server"): Record<string, string | undefined> {
  const names = Object.keys(process.env).filter((name) => /^(K3S_|K3SLB_|KUBE)/.test(name));
  return { ...Object.fromEntries(names.map((name) => [name, undefined])), NO_COLOR: "1", ...runtimeEnvironment(role) };
}

/** The same for who takes no variable that is unset. */
export function plainEnvironment(): Record<string, string> {
  const given = Object.entries(cleanEnvironment()).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const]
  );
  return Object.fromEntries(given);
}

/** What an agent is started with. */
export interface AgentStart {
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Host name in a UTS namespace of its own; empty is possible. */
  readonly hostName?: string;
  /** Kubeconfig file; the node's own if absent. */
  readonly kubeconfig?: string;
}

/** What a {@linkcode WorldNode} is made of. */
export interface WorldNodeParts {
  readonly host: TopologyNode;
  readonly api: WorldApi;
  readonly admin: KubeClient;
  readonly dir: string;
  /** Kubelet and pods. */
  readonly body: NodeBody;
}

/** A node. */
export class WorldNode {
  readonly name: string;
  readonly index: number;
  readonly ns: Netns;
  readonly ip4: string;
  readonly ip6: string;
  readonly logFile: string;
  agent: Program | undefined;
  readonly #parts: WorldNodeParts;

  constructor(parts: WorldNodeParts) {
    this.#parts = parts;
    this.name = parts.host.name;
    this.index = parts.host.index;
    this.ns = parts.host.ns;
    this.ip4 = parts.host.ip4;
    this.ip6 = parts.host.ip6;
    this.logFile = join(parts.dir, `agent-${this.name}.log`);
  }

  /** The node's own addresses, as kubelet reports them. */
  get internalAddresses(): readonly NodeAddress[] {
    return internalAddresses(this.#parts.host);
  }

  async kubeconfig(): Promise<string> {
    return await this.#parts.api.kubeconfig(`system:node:${this.name}`, ["system:nodes"]);
  }

  async startKubelet(): Promise<void> {
    await this.#parts.body.startKubelet();
  }

  async stopKubelet(): Promise<void> {
    await this.#parts.body.stopKubelet();
  }

  /** Stops kube-proxy, does something, and starts it again; only on real nodes. */
  async restartKubeProxy(meanwhile: () => Promise<void>): Promise<void> {
    await this.#parts.body.restartKubeProxy(meanwhile);
  }

  /** Makes kubelet report these addresses besides the internal ones. */
  async setExternalIps(...ips: readonly string[]): Promise<void> {
    const external = ips.map((address): NodeAddress => ({ type: "ExternalIP", address }));
    await this.setAddresses([...this.internalAddresses, ...external]);
  }

  async setAddresses(addresses: readonly NodeAddress[]): Promise<void> {
    await this.#parts.body.setAddresses(addresses);
  }

  async setReady(ready: boolean): Promise<void> {
    await this.#parts.body.setReady(ready);
  }

  /** Sets labels of the Node; `null` takes one off. */
  async label(labels: Readonly<Record<string, string | null>>): Promise<void> {
    const patch = { type: "merge", body: { metadata: { labels } } } as const;
    await this.#parts.admin.patch(NODES, { name: this.name }, patch);
  }

  async unlabel(...names: readonly string[]): Promise<void> {
    await this.label(Object.fromEntries(names.map((name) => [name, null])));
  }

  /** Starts `k3slb agent` on the node. */
  async startAgent(start: AgentStart = {}): Promise<Program> {
    const { hostName, args = [] } = start;
    const renamed = hostName === undefined ? [] : [
      "unshare",
      "--uts",
      "sh",
      "-c",
      'printf %s "$1" > /proc/sys/kernel/hostname; shift; exec "$@"',
      "sh",
      hostName,
    ];
    const kubeconfig = start.kubeconfig ?? await this.kubeconfig();
    this.agent = startProgram({
      name: `agent on ${this.name}`,
      command: this.command([
        ...renamed,
        ...programCommand(),
        "agent",
        "--kubeconfig",
        kubeconfig,
        "--log-level",
        "debug",
        ...args,
      ]),
      logFile: this.logFile,
      env: { ...cleanEnvironment("agent"), ...start.env },
      cwd: ROOT,
    });
    return this.agent;
  }

  async killAgent(): Promise<void> {
    await this.agent?.kill();
  }

  async stopAgent(): Promise<void> {
    await this.agent?.stop();
  }

  /** Runs the program under test to its end on the node. */
  async runProgram(args: readonly string[]): Promise<RunResult> {
    const unset = Object.entries(cleanEnvironment()).flatMap(([name, value]) =>
      value === undefined ? ["-u", name] : []
    );
    return await runProgram(this.command(["env", ...unset, ...programCommand(), ...args]), { cwd: ROOT });
  }

  /** `command` with what is needed in front to run it on the node. */
  command(command: readonly string[]): readonly string[] {
    return this.#parts.body.command(command);
  }

  /** The network namespace of an app's pod; `undefined` if there is no such pod, or it has the node's network. */
  pod(namespace: string, name: string): Promise<Host | undefined> {
    return this.#parts.body.pod(namespace, name);
  }

  /** Process ids of all that runs on the node, agent and containers included; none on a simulated one. */
  processes(): readonly number[] {
    return this.#parts.body.processes();
  }

  async stop(): Promise<void> {
    await this.stopAgent();
    await this.#parts.body.stop();
  }

  /** The last lines of what kubelet and its like wrote. */
  logTails(): string {
    return this.#parts.body.logTails();
  }
}

/** A node's own addresses, as kubelet reports them. */
export function internalAddresses({ name, ip4, ip6 }: TopologyNode): readonly NodeAddress[] {
  const ips = [ip4, ip6].filter((ip) => ip !== "");
  return [...ips.map((address): NodeAddress => ({ type: "InternalIP", address })), { type: "Hostname", address: name }];
}
