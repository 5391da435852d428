// A private network world for tests: named network namespaces with real interfaces, addresses, routes and firewalls.
// A test file enters the world by starting itself again inside `unshare` (no root needed where user namespaces are allowed), so nothing
// is ever added to the machine's own network and everything is gone when the process ends. Programs that talk: net_peer.ts.
import { fileURLToPath } from "node:url";
import { NetPeer } from "./net_peer_client.ts";
import type { PeerAnswer, PeerFlow, PeerListen, PeerRequest, PeerStream } from "./net_peer_client.ts";

export type { PeerAnswer, PeerFlow, PeerListen, PeerRequest, PeerStream } from "./net_peer_client.ts";

/** What a finished program left. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Whether this process already runs inside a private world. */
export function isInWorld(): boolean {
  return Deno.env.get("K3SLB_IN_WORLD") === "1";
}

/** What {@linkcode worldCommand} can be told. */
export interface WorldCommandOptions {
  /** For real nodes: only as root, and every process in the world, however it was started, ends with it. */
  readonly realNodes?: boolean;
}

/** Folder in every cgroup hierarchy below which a world of real nodes has its own; removed when the world has ended. */
export const WORLD_CGROUP_VARIABLE = "K3SLB_WORLD_CGROUP";

const PREPARE = "mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/lock && ip link set lo up && " +
  "export K3SLB_IN_WORLD=1";

/** Its shell stays as the first process: that one takes in orphans. */
const ENTER_REAL_NODES = `${PREPARE} && "$@"; code=$?; exit $code`;

/** Processes of the world are gone when `unshare` ends, so its cgroups are empty. */
const AROUND_REAL_NODES = `export ${WORLD_CGROUP_VARIABLE}="\${${WORLD_CGROUP_VARIABLE}:-k3slb}-$$"; ` +
  'unshare -nmp --fork --mount-proc --kill-child -- "$@"; code=$?; ' +
  `for dir in /sys/fs/cgroup/$${WORLD_CGROUP_VARIABLE} /sys/fs/cgroup/*/$${WORLD_CGROUP_VARIABLE}; do ` +
  '[ ! -d "$dir" ] || find "$dir" -depth -type d -exec rmdir {} +; done; exit $code';

/**
 * The command that runs `command` in a fresh world: own network and mount namespace (and user namespace unless root),
 * a tmpfs on `/run` so that `ip netns` works, and `lo` up.
 */
export function worldCommand(command: readonly string[], options: WorldCommandOptions = {}): readonly string[] {
  return options.realNodes
    ? ["sh", "-c", AROUND_REAL_NODES, "sh", "sh", "-c", ENTER_REAL_NODES, "sh", ...command]
    : ["unshare", Deno.uid() === 0 ? "-nm" : "-Urnm", "--", "sh", "-c", `${PREPARE} && exec "$@"`, "sh", ...command];
}

/** Why no world can be made on this machine, or `undefined` if one can. */
export async function worldObstacle(options: WorldCommandOptions = {}): Promise<string | undefined> {
  if (options.realNodes && Deno.uid() !== 0) return "real nodes need root";
  const [program = "", ...args] = worldCommand(["ip", "netns", "add", "probe"], options);
  try {
    const output = await new Deno.Command(program, { args, stdout: "null", stderr: "piped" }).output();
    return output.success
      ? undefined
      : new TextDecoder().decode(output.stderr).trim() || `unshare ended with ${output.code}`;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * For the first line of a test file: `if (await enterWorld(import.meta.url)) { Deno.test(...) }`.
 * Outside a world it returns `false` and registers one test that runs the whole file inside a world (skipped with its reason where
 * that is impossible); inside, it returns `true`. So `deno test -A tests/netns` works by itself.
 */
export async function enterWorld(moduleUrl: string): Promise<boolean> {
  if (isInWorld()) return true;
  const file = fileURLToPath(moduleUrl);
  const kind = { realNodes: Deno.env.get("K3SLB_WORLD") === "nodes" };
  const obstacle = await worldObstacle(kind);
  const name = `${file.slice(file.lastIndexOf("/") + 1)} in a private network world`;
  Deno.test({
    name: obstacle === undefined ? name : `${name} (skipped: ${obstacle})`,
    ignore: obstacle !== undefined,
    fn: async () => {
      const command = worldCommand([Deno.execPath(), "test", "-A", ...Deno.args, file], kind);
      const output = await new Deno.Command(command[0] ?? "", {
        args: [...command.slice(1)],
        stdout: "inherit",
        stderr: "inherit",
      }).output();
      if (!output.success) throw new Error(`"${file}" failed in its world with exit code ${output.code}`);
    },
  });
  return false;
}

/** Options of {@linkcode Netns.exec}. */
export interface ExecOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** One named network namespace. */
export class Netns implements AsyncDisposable {
  readonly name: string;
  #peer: NetPeer | undefined;
  readonly #children = new Set<Deno.ChildProcess>();

  private constructor(name: string) {
    this.name = name;
  }

  /** Makes a namespace whose name begins with `label`, with `lo` up and duplicate address detection off. */
  static async create(label: string): Promise<Netns> {
    if (!isInWorld()) throw new Error("Namespaces are made only inside a private world: use enterWorld()");
    const netns = new Netns(`${label}-${nextNumber++}`);
    await runHere("ip", ["netns", "add", netns.name]);
    await netns.run("sh", [
      "-c",
      "ip link set lo up; for f in all default; do echo 0 > /proc/sys/net/ipv6/conf/$f/accept_dad; done",
    ]);
    return netns;
  }

  /** The network namespace of a process, which stays as long as something is in it. */
  static async attach(label: string, pid: number): Promise<Netns> {
    const netns = new Netns(`${label}-${nextNumber++}`);
    await runHere("ip", ["netns", "attach", netns.name, String(pid)]);
    return netns;
  }

  /** `command` with what is needed in front to run it in this namespace. */
  command(command: readonly string[]): readonly string[] {
    return ["ip", "netns", "exec", this.name, ...command];
  }

  /** Runs a program in this namespace; any exit code is an answer. */
  exec(program: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<Finished> {
    return execHere("ip", ["netns", "exec", this.name, program, ...args], options);
  }

  /** As {@linkcode exec}, and throws unless the exit code is 0. Returns standard output. */
  run(program: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<string> {
    return runHere("ip", ["netns", "exec", this.name, program, ...args], options);
  }

  /** Runs several `ip` commands, one a line, in one process. */
  async ip(...lines: readonly string[]): Promise<void> {
    await runHere("ip", ["-n", this.name, "-batch", "-"], { stdin: lines.join("\n") + "\n" });
  }

  /** Starts a long-running program; it is ended with the namespace at the latest. */
  spawn(
    program: string,
    args: readonly string[] = [],
    options: Omit<Deno.CommandOptions, "args"> = {},
  ): Deno.ChildProcess {
    const child = new Deno.Command("ip", {
      stdin: "null",
      stdout: "null",
      stderr: "null",
      ...options,
      args: ["netns", "exec", this.name, program, ...args],
    }).spawn();
    this.#children.add(child);
    child.status.then(() => this.#children.delete(child));
    return child;
  }

  /** Sets a value below `/proc/sys`, such as `net.ipv4.ip_forward`. Returns `false` if the kernel doesn't have it. */
  async setSysctl(name: string, value: string | number): Promise<boolean> {
    const script = 'test -e "$1" || exit 3; printf %s "$2" > "$1"';
    const result = await this.exec("sh", ["-c", script, "sh", `/proc/sys/${name.replaceAll(".", "/")}`, String(value)]);
    if (result.code !== 0 && result.code !== 3) throw new Error(`Cannot set ${name}: ${result.stderr}`);
    return result.code === 0;
  }

  /** Adds an address with its prefix length (`10.0.0.1/24`). */
  addAddress(device: string, address: string): Promise<void> {
    return this.ip(`address add ${address} dev ${device}${address.includes(":") ? " nodad" : ""}`);
  }

  /** Adds a route to `to` (a range or `default`) by `via`. */
  addRoute(to: string, via: string): Promise<void> {
    return this.ip(`route add ${to} via ${via}`);
  }

  /** Adds a bridge, up. */
  addBridge(bridge: string): Promise<void> {
    return this.ip(`link add ${bridge} type bridge`, `link set ${bridge} up`);
  }

  /**
   * Links this namespace's new interface `device` to a bridge in another namespace. With `hairpin` the bridge sends packets back out of
   * the port they came from, as CNI plugins set it for pods.
   */
  async linkToBridge(device: string, far: { ns: Netns; bridge: string; hairpin?: boolean }): Promise<void> {
    const port = `p${nextNumber++}`;
    await this.ip(`link add ${device} type veth peer name ${port} netns ${far.ns.name}`, `link set ${device} up`);
    const hairpin = far.hairpin ? [`link set ${port} type bridge_slave hairpin on`] : [];
    await far.ns.ip(`link set ${port} master ${far.bridge}`, ...hairpin, `link set ${port} up`);
  }

  /** Serves an echo that names itself and the client address it sees. Resolves when it listens. */
  async listen(listen: PeerListen): Promise<void> {
    await this.#peerProcess().listen(listen);
  }

  /** Stops what {@linkcode listen} started. */
  async unlisten(listen: PeerListen): Promise<void> {
    await this.#peerProcess().unlisten(listen);
  }

  /** One new connection (or UDP exchange) from this namespace; refusal and timeout are answers, not errors. */
  request(request: PeerRequest): Promise<PeerAnswer> {
    return this.#peerProcess().request(request);
  }

  /** `count` new connections, at most 16 at once: how many each server (or outcome) got. */
  requestMany(request: PeerRequest, count: number): Promise<Readonly<Record<string, number>>> {
    return this.#peerProcess().requestMany(request, count);
  }

  /** A connection (or UDP socket) that stays open for several exchanges. */
  open(request: PeerRequest): Promise<PeerStream> {
    return this.#peerProcess().open(request);
  }

  /** New connections to each target every `intervalMs`, until it is stopped. */
  startFlow(targets: readonly PeerRequest[], intervalMs: number): Promise<PeerFlow> {
    return this.#peerProcess().startFlow(targets, intervalMs);
  }

  /** Ends the programs and removes the namespace. Safe to call twice. */
  async remove(): Promise<void> {
    await this.#peer?.close();
    this.#peer = undefined;
    for (const child of [...this.#children]) {
      child.kill("SIGKILL");
      await child.status;
    }
    await execHere("ip", ["netns", "del", this.name]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }

  #peerProcess(): NetPeer {
    this.#peer ??= new NetPeer(this.command([Deno.execPath(), "run", "-A", "--no-lock", "--no-config", PEER_PATH]));
    return this.#peer;
  }
}

/** Runs a program in the namespace of this process; any exit code is an answer. */
export async function execHere(program: string, args: readonly string[], options: ExecOptions = {}): Promise<Finished> {
  const child = new Deno.Command(program, {
    args: [...args],
    stdin: options.stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    ...(options.env ? { env: { ...options.env } } : {}),
  }).spawn();
  const output = child.output();
  if (options.stdin !== undefined) {
    const writer = child.stdin.getWriter();
    // A program that ends without reading all of its input is judged by its exit code.
    await writer.write(new TextEncoder().encode(options.stdin)).then(() => writer.close()).catch(() => {});
  }
  const { code, stdout, stderr } = await output;
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

async function runHere(program: string, args: readonly string[], options: ExecOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await execHere(program, args, options);
  if (code !== 0) {
    throw new Error(`"${[program, ...args].join(" ")}" ended with ${code}: ${stderr.trim() || stdout.trim()}`);
  }
  return stdout;
}

const PEER_PATH = fileURLToPath(new URL("./net_peer.ts", import.meta.url));

let nextNumber = 1;
