// The machine of a real node: containerd, kubelet and kube-proxy in a network, mount and UTS namespace of their own, with the
// node's folders private. Facts, each a failure without it: a cgroup root in every hierarchy before kubelet starts; containerd may not raise
// OOM scores where CAP_SYS_RESOURCE is missing; `nsenter` and not `ip netns exec`, which hides the cgroup mounts; shared mounts
// for volumes.
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { ensureGoProgram, KUBERNETES_BUILD_FLAGS, KUBERNETES_VERSION } from "./go_program.ts";
import { WORLD_CGROUP_VARIABLE } from "./netns.ts";
import type { TopologyNode } from "./net_topology.ts";
import {
  CONTAINERD_SOCKET,
  type KubeProxyOptions,
  renderCniConfig,
  renderContainerdConfig,
  renderKubeletConfig,
  renderKubeProxyConfig,
  SERVICE_RANGES,
} from "./node_machine_config.ts";
import { type Program, runProgram, runToEnd, startProgram } from "./programs.ts";
import { waitUntil } from "./wait.ts";

/** What {@linkcode NodeMachine.start} takes. */
export interface NodeMachineOptions {
  readonly host: TopologyNode;
  /** Folder for everything that the machine writes; no overlay may be below it. */
  readonly dir: string;
  /** Kubeconfig file of `system:node:<name>`. */
  readonly kubeconfig: string;
  /** Certificate of the authority that signs the API server's client certificates. */
  readonly clientCaFile: string;
  /** Archives that containerd imports. */
  readonly images: readonly string[];
  /** Pods that kubelet takes. */
  readonly maxPods: number;
}

/** A world knows no names of the outside: nobody answers there (RFC 5737). */
const NO_RESOLVER_IP = "192.0.2.53";
const STOP_GRACE_MS = 3_000;

/** Builds kubelet and kube-proxy, or finds them in the cache. */
export function ensureNodePrograms(report?: (line: string) => void): Promise<string> {
  return ensureGoProgram({
    name: "node_programs",
    title: `kubelet and kube-proxy (Kubernetes ${KUBERNETES_VERSION})`,
    flags: KUBERNETES_BUILD_FLAGS,
  }, report);
}

/** A running machine. Start order is that of a real one: containerd, kubelet, then kube-proxy when somebody wants it. */
export class NodeMachine {
  readonly name: string;
  readonly containerd: Program;
  kubelet: Program;
  kubeProxy: Program | undefined;
  readonly #options: NodeMachineOptions;
  readonly #holder: Program;
  readonly #programs: string;

  private constructor(
    options: NodeMachineOptions,
    parts: { holder: Program; containerd: Program; kubelet: Program; programs: string },
  ) {
    this.name = options.host.name;
    this.#options = options;
    this.#holder = parts.holder;
    this.containerd = parts.containerd;
    this.kubelet = parts.kubelet;
    this.#programs = parts.programs;
  }

  /** Resolves when containerd has its images and kubelet is started. */
  static async start(options: NodeMachineOptions): Promise<NodeMachine> {
    const { dir, host } = options;
    const programs = await ensureNodePrograms();
    for (const name of ["var", "var-work", "cni", "plugins", "root", "opt"]) {
      mkdirSync(join(dir, name), { recursive: true });
    }
    const cgroup = makeCgroups(host.name);
    await allowBridgeFilter(host);
    await routeToServices(host);
    writeFileSync(join(dir, "containerd.toml"), renderContainerdConfig(dir));
    writeFileSync(join(dir, "cni", "10-pods.conflist"), renderCniConfig(host));
    writeFileSync(join(dir, "kubelet.json"), renderKubeletConfig({ ...options, cgroup }));
    writeFileSync(join(dir, "resolv.conf"), `nameserver ${NO_RESOLVER_IP}\n`);
    const holder = await startHolder(options);
    const enter = enterCommand(holder.pid);
    const containerd = startProgram({
      name: `containerd on ${host.name}`,
      command: [...enter, "containerd", "--config", join(dir, "containerd.toml")],
      logFile: join(dir, "containerd.log"),
    });
    await importImages(enter, options.images, containerd);
    const kubelet = startProgram({
      name: `kubelet on ${host.name}`,
      command: [...enter, programs, "kubelet", ...kubeletArgs(options)],
      logFile: join(dir, "kubelet.log"),
    });
    return new NodeMachine(options, { holder, containerd, kubelet, programs });
  }

  /** `command` with what is needed in front to run it on the machine. */
  command(command: readonly string[]): readonly string[] {
    return [...enterCommand(this.#holder.pid), ...command];
  }

  startKubeProxy(options: KubeProxyOptions): void {
    const config = join(this.#options.dir, "kube-proxy.json");
    writeFileSync(config, renderKubeProxyConfig(this.name, options));
    this.kubeProxy = startProgram({
      name: `kube-proxy on ${this.name}`,
      command: this.command([this.#programs, "kube-proxy", `--config=${config}`]),
      logFile: join(this.#options.dir, "kube-proxy.log"),
    });
  }

  async stopKubelet(): Promise<void> {
    await this.kubelet.stop(STOP_GRACE_MS);
  }

  startKubelet(): void {
    if (this.kubelet.running) return;
    this.kubelet = startProgram({
      name: `kubelet on ${this.name}`,
      command: this.command([this.#programs, "kubelet", ...kubeletArgs(this.#options)]),
      logFile: join(this.#options.dir, "kubelet.log"),
    });
  }

  /** Process id of a pod's sandbox, whose namespaces are the pod's. */
  async sandboxPid(namespace: string, pod: string): Promise<number | undefined> {
    const filter = [
      `labels."io.kubernetes.pod.name"==${pod}`,
      `labels."io.kubernetes.pod.namespace"==${namespace}`,
      `labels."io.cri-containerd.kind"==sandbox`,
    ].join(",");
    const ids = (await this.#ctr("containers", "ls", "-q", filter)).trim().split("\n").filter((id) => id !== "");
    const tasks = await this.#ctr("tasks", "ls");
    for (const id of ids) {
      const match = new RegExp(`^${id}\\s+(\\d+)\\s+RUNNING`, "m").exec(tasks);
      if (match !== null) return Number(match[1]);
    }
    return undefined;
  }

  /** Ends every process on the machine. Safe to call twice. */
  async stop(): Promise<void> {
    await Promise.all([this.kubeProxy?.kill(), this.kubelet.kill()]);
    await this.containerd.kill();
    // What is left are containers and their shims. They are known by the mount namespace, or by the cgroup if they have their own.
    await waitUntil(`no process on ${this.name}`, () => {
      const left = this.processes();
      for (const pid of left) {
        thaw(pid);
        killIfThere(pid);
      }
      return left.length === 0;
    }, { explain: () => `left: ${this.processes().join(" ")}` });
    await this.#holder.kill();
  }

  logTails(lines = 15): string {
    return [this.kubelet, this.containerd, this.kubeProxy].filter((program) => program !== undefined)
      .map((program) => `--- ${program.name}\n${program.logTail(lines)}`).join("\n");
  }

  #ctr(...args: readonly string[]): Promise<string> {
    return runToEnd(this.command(["ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io", ...args]));
  }

  /** Process ids of all that runs on the machine, containers included. */
  processes(): readonly number[] {
    const mounts = readlinkSync(`/proc/${this.#holder.pid}/ns/mnt`);
    const cgroup = cgroupName(this.name);
    return readdirSync("/proc").map(Number).filter((pid) => {
      if (!(pid > 0) || pid === this.#holder.pid) return false;
      try {
        // One that has ended and waits for its parent to notice can't be ended once more, and holds nothing.
        if (/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"))) return false;
        return readlinkSync(`/proc/${pid}/ns/mnt`) === mounts ||
          readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`/${cgroup}/`);
      } catch {
        return false; // It has ended meanwhile.
      }
    });
  }
}

function enterCommand(pid: number): readonly string[] {
  return ["nsenter", `--target=${pid}`, "--mount", "--net", "--uts", "--"];
}

/** The process that keeps the machine's namespaces. Everything below /var that programs expect is the machine's own. */
async function startHolder({ dir, host }: NodeMachineOptions): Promise<Program> {
  const script = [
    "set -e",
    'echo "$2" > /proc/sys/kernel/hostname',
    "mount -t tmpfs tmpfs /run",
    "mkdir -p /run/netns /run/lock",
    'mount -t overlay -o "lowerdir=/var,upperdir=$1/var,workdir=$1/var-work" overlay /var',
    "mount --make-rshared /",
    'touch "$1/holder-ready"',
    "exec sleep infinity",
  ].join("\n");
  const holder = startProgram({
    name: `namespaces of ${host.name}`,
    command: [
      ...["nsenter", `--net=/run/netns/${host.ns.name}`, "unshare", "--mount", "--uts", "--propagation", "private"],
      ...["--", "sh", "-c", script, "sh", dir, host.name],
    ],
    logFile: join(dir, "holder.log"),
  });
  await waitUntil(`the namespaces of ${host.name}`, () => existsSync(join(dir, "holder-ready")), {
    explain: () => holder.logTail(),
  });
  return holder;
}

async function importImages(enter: readonly string[], images: readonly string[], containerd: Program): Promise<void> {
  const ctr = [...enter, "ctr", "--address", CONTAINERD_SOCKET, "--namespace", "k8s.io"];
  await waitUntil(`${containerd.name} to answer`, async () => (await runProgram([...ctr, "version"])).code === 0, {
    explain: () => containerd.logTail(),
    intervalMs: 100,
    deadlineMs: 60_000,
  });
  for (const image of images) await runToEnd([...ctr, "images", "import", image]);
}

/** A runtime that is ended while it deletes a container leaves it frozen; in version 1 nothing can end it then. */
function thaw(pid: number): void {
  try {
    const path = /^\d+:freezer:(.+)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1];
    if (path !== undefined && path !== "/") writeFileSync(`/sys/fs/cgroup/freezer${path}/freezer.state`, "THAWED");
  } catch {
    // It has ended meanwhile.
  }
}

function cgroupName(node: string): string {
  return `${process.env[WORLD_CGROUP_VARIABLE]}/${node}`;
}

/** A folder for the node in every hierarchy (version 1), or in the only one (version 2); returns its name for kubelet. */
function makeCgroups(node: string): string {
  const name = cgroupName(node);
  const world = dirname(name);
  const base = "/sys/fs/cgroup";
  if (existsSync(`${base}/cgroup.controllers`)) {
    const controllers = readFileSync(`${base}/cgroup.controllers`, "utf8").trim().split(/\s+/);
    const enabled = controllers.map((controller) => `+${controller}`).join(" ");
    mkdirSync(join(base, name), { recursive: true });
    for (const folder of [base, join(base, world)]) writeFileSync(join(folder, "cgroup.subtree_control"), enabled);
    return `/${name}`;
  }
  for (const hierarchy of readdirSync(base).filter((each) => each !== "unified")) {
    for (const folder of [world, name]) {
      mkdirSync(join(base, hierarchy, folder), { recursive: true });
      if (hierarchy !== "cpuset") continue;
      for (const file of ["cpuset.cpus", "cpuset.mems"]) {
        writeFileSync(join(base, hierarchy, folder, file), readFileSync(join(base, hierarchy, file)));
      }
    }
  }
  return `/${name}`;
}

/** As K3s and kubeadm want it, where the kernel has it. */
async function allowBridgeFilter(host: TopologyNode): Promise<void> {
  for (const name of ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"]) {
    await host.ns.setSysctl(`net.bridge.${name}`, 1);
  }
}

/** As a node's default route does: without any, its own programs can't begin to ask a Service, whatever kube-proxy would make of it. */
async function routeToServices(host: TopologyNode): Promise<void> {
  await host.ns.run("ip", ["route", "add", SERVICE_RANGES.IPv4, "dev", "eth0"]);
  if (host.ip6 !== "") await host.ns.run("ip", ["-6", "route", "add", SERVICE_RANGES.IPv6, "dev", "eth0"]);
}

function kubeletArgs({ host, dir, kubeconfig }: NodeMachineOptions): readonly string[] {
  return [
    `--config=${join(dir, "kubelet.json")}`,
    `--kubeconfig=${kubeconfig}`,
    `--hostname-override=${host.name}`,
    `--node-ip=${[host.ip4, host.ip6].filter((ip) => ip !== "").join(",")}`,
    // As K3s starts it: the addresses in the Node's status are those of whoever plays the cloud.
    "--cloud-provider=external",
    "--root-dir=/var/lib/kubelet",
    "--cert-dir=/var/lib/kubelet/pki",
  ];
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
