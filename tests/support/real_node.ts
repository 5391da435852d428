// A node of the world with a real containerd, kubelet and kube-proxy (node_machine.ts). The tests play the cloud: they write the
// addresses into the Node's status, as K3s's cloud controller does.
import type { KubeClient } from "../../core/kube/contract.ts";
import { isAlreadyExists } from "../../core/kube/errors.ts";
import { NODES } from "../../core/kube/resources.ts";
import type { Node } from "../../core/kube/types.ts";
import type { NodeAddress } from "./kubelet.ts";
import type { Host, TopologyNode } from "./net_topology.ts";
import { Netns } from "./netns.ts";
import type { NodeBody } from "./node_body.ts";
import { NodeMachine, type NodeMachineOptions } from "./node_machine.ts";
import type { KubeProxyOptions } from "./node_machine_config.ts";
import { runProgram } from "./programs.ts";
import { waitUntil } from "./wait.ts";

/** What a {@linkcode RealNode} is made of. */
export interface RealNodeParts {
  readonly host: TopologyNode;
  readonly admin: KubeClient;
  /** Asked when the machine is started. */
  readonly machine: () => Promise<Omit<NodeMachineOptions, "host">>;
  /** None if nobody is to program Services' cluster addresses. */
  readonly kubeProxy: KubeProxyOptions | undefined;
}

/** A real node. */
export class RealNode implements NodeBody {
  readonly #parts: RealNodeParts;
  readonly #pods = new Map<number, Host>();
  #machine: NodeMachine | undefined;

  constructor(parts: RealNodeParts) {
    this.#parts = parts;
  }

  /** The machine; throws before the first start. */
  get machine(): NodeMachine {
    if (this.#machine === undefined) throw new TypeError("The node was not started");
    return this.#machine;
  }

  async startKubelet(): Promise<void> {
    const { host, machine, kubeProxy } = this.#parts;
    if (this.#machine === undefined) {
      await this.#register();
      this.#machine = await NodeMachine.start({ ...await machine(), host });
      if (kubeProxy !== undefined) this.#machine.startKubeProxy(kubeProxy);
    } else {
      this.#machine.startKubelet();
    }
    await waitUntil(`${host.name} to be Ready`, () => this.#isReady(), {
      deadlineMs: 60_000,
      intervalMs: 100,
      explain: () => this.logTails(),
    });
    // As on a node that has been running before an agent comes: kube-proxy has its rules, and moves them no more.
    if (kubeProxy !== undefined) {
      await waitUntil(`kube-proxy's rules on ${host.name}`, () => this.#hasKubeProxyRules(kubeProxy), {
        deadlineMs: 60_000,
        intervalMs: 200,
        explain: () => this.logTails(),
      });
    }
  }

  async stopKubelet(): Promise<void> {
    await this.#machine?.stopKubelet();
  }

  async restartKubeProxy(meanwhile: () => Promise<void>): Promise<void> {
    const { kubeProxy } = this.#parts;
    await this.machine.kubeProxy?.stop();
    await meanwhile();
    if (kubeProxy !== undefined) this.machine.startKubeProxy(kubeProxy);
  }

  async setAddresses(addresses: readonly NodeAddress[]): Promise<void> {
    const body = { status: { addresses: [{ $patch: "replace" }, ...addresses] } };
    const patch = { type: "strategic", body } as const;
    await this.#parts.admin.patch(NODES, { name: this.#parts.host.name }, patch, { subresource: "status" });
  }

  /** A kubelet reports its node as not ready when it has heard nothing of its container runtime for half a minute. */
  async setReady(ready: boolean): Promise<void> {
    const { containerd } = this.machine;
    if (ready) containerd.resume();
    else containerd.pause();
    await waitUntil(
      `${this.#parts.host.name} to be ${ready ? "Ready" : "not Ready"}`,
      async () => await this.#isReady() === ready,
      { deadlineMs: 90_000, intervalMs: 250 },
    );
  }

  command(command: readonly string[]): readonly string[] {
    return this.machine.command(command);
  }

  async pod(namespace: string, name: string): Promise<Host | undefined> {
    const pid = await this.machine.sandboxPid(namespace, name);
    if (pid === undefined) return undefined;
    const found = this.#pods.get(pid);
    if (found !== undefined) return found;
    const ns = await Netns.attach(`pod-${name}`, pid);
    const addresses = await ns.run("ip", ["-o", "address", "show", "dev", "eth0", "scope", "global"]);
    const [ip4 = "", ip6 = ""] = [/inet (\S+)\//, /inet6 (\S+)\//].map((regexp) => regexp.exec(addresses)?.[1] ?? "");
    const host = { ns, ip4, ip6 };
    this.#pods.set(pid, host);
    return host;
  }

  processes(): readonly number[] {
    return this.machine.processes();
  }

  async stop(): Promise<void> {
    for (const { ns } of this.#pods.values()) await ns.remove();
    this.#pods.clear();
    await this.#machine?.stop();
  }

  logTails(): string {
    return this.#machine?.logTails() ?? "";
  }

  /** Made beforehand for its pod ranges; kubelet finds it and writes the rest. */
  async #register(): Promise<void> {
    const { admin, host } = this.#parts;
    const spec = { podCIDR: host.podCidrs[0] ?? "", podCIDRs: [...host.podCidrs] };
    try {
      await admin.create(NODES, { metadata: { name: host.name }, spec } as Node);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }

  async #hasKubeProxyRules({ mode }: KubeProxyOptions): Promise<boolean> {
    const list = mode === "nftables" ? "nft list table ip kube-proxy" : "iptables-save -t nat; ip6tables-save -t nat";
    const { stdout } = await runProgram(this.command(["sh", "-c", list]));
    if (mode === "nftables") return stdout.includes("hook prerouting");
    return (stdout.match(/^-A PREROUTING .*-j KUBE-SERVICES$/gm) ?? []).length >= 1;
  }

  async #isReady(): Promise<boolean> {
    const node = await this.#parts.admin.get(NODES, { name: this.#parts.host.name });
    return node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
  }
}
