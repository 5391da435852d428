// One node of a test world: a network namespace with a kubelet and, if wanted, `k3slb agent` in it.
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { KubeClient } from "../../core/kube/contract.ts";
import { NODES } from "../../core/kube/resources.ts";
import type { Pod } from "../../core/kube/types.ts";
import { RUNTIME_ENVIRONMENT } from "../../core/shared/systemd_unit.ts";
import { type Kubelet, type NodeAddress, type PodRunner, startKubelet } from "./kubelet.ts";
import type { Netns } from "./netns.ts";
import type { Host, TopologyNode } from "./net_topology.ts";
import { type Program, runProgram, type RunResult, startProgram } from "./programs.ts";
import type { WorldApi } from "./world_api.ts";

/** On app pods: what they listen on, such as `tcp/8080,udp/8080`. */
export const SERVE_ANNOTATION = "test.k3slb.io/serve";

/** On app pods: milliseconds for which a deleted pod goes on serving, as a preStop hook that sleeps lets it. */
export const STOP_AFTER_ANNOTATION = "test.k3slb.io/stop-after-ms";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The program under test: K3SLB_PROGRAM (a command line), else the compiled binary. */
export function programCommand(): readonly string[] {
  const given = process.env["K3SLB_PROGRAM"] ?? "";
  return given === "" ? [join(ROOT, "dist", "k3slb")] : given.split(" ");
}

/** Takes away from a program what this process's environment could tell it, and gives it what its unit gives it. */
export function cleanEnvironment(): Record<string, string | undefined> {
  const names = Object.keys(process.env).filter((name) => /^(K3S_|K3SLB_|KUBE)/.test(name));
  return { ...Object.fromEntries(names.map((name) => [name, undefined])), NO_COLOR: "1", ...RUNTIME_ENVIRONMENT };
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
  readonly name: string;
  readonly host: TopologyNode;
  readonly api: WorldApi;
  readonly admin: KubeClient;
  readonly dir: string;
  readonly machineId: string;
  /** Gates to which the kubelet says True itself. */
  readonly ownGates: readonly string[];
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
  #kubelet: Kubelet | undefined;
  readonly #parts: WorldNodeParts;
  readonly #pods = new Map<string, Host>();
  #nextSilentPod = 200;
  #lastPod: Promise<unknown> = Promise.resolve();

  constructor(parts: WorldNodeParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.index = parts.host.index;
    this.ns = parts.host.ns;
    this.ip4 = parts.host.ip4;
    this.ip6 = parts.host.ip6;
    this.logFile = join(parts.dir, `agent-${parts.name}.log`);
  }

  /** The node's own addresses as kubelet reports them. */
  get internalAddresses(): readonly NodeAddress[] {
    const ips = [this.ip4, this.ip6].filter((ip) => ip !== "");
    return [...ips.map((address): NodeAddress => ({ type: "InternalIP", address })), {
      type: "Hostname",
      address: this.name,
    }];
  }

  async kubeconfig(): Promise<string> {
    return await this.#parts.api.kubeconfig(`system:node:${this.name}`, ["system:nodes"]);
  }

  async startKubelet(): Promise<void> {
    this.#kubelet = await startKubelet({
      nodeName: this.name,
      kubeconfig: await this.kubeconfig(),
      addresses: this.internalAddresses,
      podCidrs: this.#parts.host.podCidrs,
      machineId: this.#parts.machineId,
      runner: this.#runner(),
      ownGates: this.#parts.ownGates,
    });
  }

  async stopKubelet(): Promise<void> {
    await this.#kubelet?.stop();
    this.#kubelet = undefined;
  }

  /** Makes kubelet report these addresses besides the internal ones. */
  async setExternalIps(...ips: readonly string[]): Promise<void> {
    const external = ips.map((address): NodeAddress => ({ type: "ExternalIP", address }));
    await this.setAddresses([...this.internalAddresses, ...external]);
  }

  async setAddresses(addresses: readonly NodeAddress[]): Promise<void> {
    await this.#kubelet?.setAddresses(addresses);
  }

  async setReady(ready: boolean): Promise<void> {
    await this.#kubelet?.setReady(ready);
  }

  /** Sets labels of the Node; `null` takes one off. */
  async label(labels: Readonly<Record<string, string | null>>): Promise<void> {
    const patch = { type: "merge", body: { metadata: { labels } } } as const;
    await this.#parts.admin.patch(NODES, { name: this.name }, patch);
  }

  async unlabel(...names: readonly string[]): Promise<void> {
    await this.label(Object.fromEntries(names.map((name) => [name, null])));
  }

  /** Starts `k3slb agent` in the node's namespace. */
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
      command: this.ns.command([
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
      env: { ...cleanEnvironment(), ...start.env },
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

  /** Runs the program under test to its end in the node's namespace. */
  async runProgram(args: readonly string[]): Promise<RunResult> {
    const unset = Object.entries(cleanEnvironment()).flatMap(([name, value]) =>
      value === undefined ? ["-u", name] : []
    );
    return await runProgram(this.ns.command(["env", ...unset, ...programCommand(), ...args]), { cwd: ROOT });
  }

  /** The namespace of an app pod by the pod's name. */
  pod(namespace: string, name: string): Host | undefined {
    return this.#pods.get(`${namespace}/${name}`);
  }

  async stop(): Promise<void> {
    await this.stopAgent();
    await this.stopKubelet();
  }

  #runner(): PodRunner {
    return {
      start: async (pod) => {
        const serve = pod.metadata?.annotations?.[SERVE_ANNOTATION];
        if (serve === undefined) return pod.spec?.hostNetwork === true ? [] : this.#silentPodIps();
        const host = pod.spec?.hostNetwork === true ? this.#parts.host : await this.#addPod();
        for (const listen of listens(pod, serve)) await host.ns.listen(listen);
        if (pod.spec?.hostNetwork !== true) this.#pods.set(podKey(pod), host);
        return [host.ip4, host.ip6].filter((ip) => ip !== "");
      },
      stop: async (pod) => {
        const serve = pod.metadata?.annotations?.[SERVE_ANNOTATION];
        if (serve === undefined) return;
        const stopAfterMs = Number(pod.metadata?.annotations?.[STOP_AFTER_ANNOTATION] ?? 0);
        if (stopAfterMs > 0) await new Promise((resolve) => setTimeout(resolve, stopAfterMs));
        const own = this.#pods.get(podKey(pod));
        this.#pods.delete(podKey(pod));
        if (own !== undefined) await own.ns.remove();
        else for (const listen of listens(pod, serve)) await this.ns.unlisten(listen);
      },
    };
  }

  /** One at a time: the topology numbers pods by how many there are. */
  #addPod(): Promise<Host> {
    const added = this.#lastPod.then(() => this.#parts.host.addPod());
    this.#lastPod = added.catch(() => {});
    return added;
  }

  #silentPodIps(): readonly string[] {
    const number = this.#nextSilentPod++;
    const families = this.ip6 === "" ? 1 : 2;
    return [`10.42.${this.index}.${number % 250}`, `fd42:${this.index}::${number.toString(16)}`].slice(0, families);
  }
}

function podKey(pod: Pod): string {
  return `${pod.metadata?.namespace}/${pod.metadata?.name}`;
}

function listens(pod: Pod, serve: string): { protocol: "tcp" | "udp"; port: number; name: string }[] {
  return serve.split(",").map((one) => {
    const [protocol, port] = one.split("/");
    return { protocol: protocol === "udp" ? "udp" : "tcp", port: Number(port), name: pod.metadata?.name ?? "" };
  });
}
