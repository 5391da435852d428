// A machine of its own for a systemd: process, mount, host name and control group namespaces inside a node's network namespace, and
// a copy-on-write view of this machine's files. The service manager is the real one; of the units that Debian starts, none is.
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import type { Netns } from "./netns.ts";
import { type Program, runProgram, type RunResult, startProgram } from "./programs.ts";
import { waitUntil } from "./wait.ts";

const SYSTEMD = "/lib/systemd/systemd";

/** Why no systemd can be run here, or `undefined` if one can. */
export function systemdObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return "a service manager of its own needs root";
  if (!existsSync(SYSTEMD)) return "systemd is not installed";
  const probe = 'mount -t cgroup2 cgroup2 "$1" && mkdir "$1/k3slb-probe" && rmdir "$1/k3slb-probe"';
  const done = spawnSync("unshare", ["-mC", "sh", "-c", probe, "sh", "/mnt"], { encoding: "utf8" });
  return done.status === 0 ? undefined : `control groups cannot be had here: ${done.stderr.trim()}`;
}

/** What {@linkcode SystemdMachine.start} takes. */
export interface SystemdMachineOptions {
  readonly ns: Netns;
  readonly hostName: string;
  /** Folder for the machine's files and logs. */
  readonly dir: string;
  /** Texts by path on the machine; folders are made. */
  readonly files: Readonly<Record<string, string>>;
  /** Programs by path on the machine: files of this one. */
  readonly programs: Readonly<Record<string, string>>;
  /**
   * Folder with the files below the machine's own.
   * @default {"/"}
   */
  readonly base?: string;
  /**
   * Who starts services. OpenRC's tools are those of `base`; it is as after a start into its default runlevel.
   * @default {"systemd"}
   */
  readonly init?: "systemd" | "openrc";
}

/** A running service manager. */
export class SystemdMachine {
  readonly #manager: Program;
  readonly #pid: number;
  readonly #root: string;
  readonly #cgroup: string;

  private constructor(
    manager: Program,
    parts: { readonly pid: number; readonly root: string; readonly cgroup: string },
  ) {
    this.#manager = manager;
    this.#pid = parts.pid;
    this.#root = parts.root;
    this.#cgroup = parts.cgroup;
  }

  /** Starts systemd and resolves when it takes orders. */
  static async start(options: SystemdMachineOptions): Promise<SystemdMachine> {
    const { ns, hostName, dir, files, programs, base = "/", init = "systemd" } = options;
    const staged = join(dir, "files");
    const write = (path: string): string => {
      mkdirSync(dirname(join(staged, path)), { recursive: true });
      return join(staged, path);
    };
    for (const [path, text] of Object.entries({ ...(init === "systemd" ? MANAGER_FILES : {}), ...files })) {
      writeFileSync(write(path), text, { mode: 0o600 });
    }
    for (const [path, source] of Object.entries(programs)) copyFileSync(source, write(path));
    const script = join(dir, "enter.sh");
    writeFileSync(script, ENTER_SCRIPT);
    // Two managers in one control group would end each other's units.
    const cgroup = `k3slb-machine-${randomBytes(4).toString("hex")}`;
    const enter = ["unshare", "-mpiuC", "--fork", "--kill-child", "--", "sh", script, dir, hostName, base, init];
    const manager = startProgram({
      name: `systemd of ${hostName}`,
      command: ns.command(withCgroups('mkdir "$0" && echo $$ > "$0/cgroup.procs" && exec "$@"', cgroup, ...enter)),
      logFile: join(dir, "systemd.log"),
    });
    const explain = (): string => manager.logTail();
    try {
      const first = init === "systemd" ? "systemd" : "bash";
      const pid = await waitUntil(`${first} to be process 1`, () => {
        const [child] = childrenOf(manager.pid);
        return child !== undefined && readFileSync(`/proc/${child}/comm`, "utf8").trim() === first && child;
      }, { explain, deadlineMs: 60_000 });
      const machine = new SystemdMachine(manager, { pid, root: join(dir, "root"), cgroup });
      if (init === "openrc") return machine;
      await waitUntil("systemd to take orders", async () => {
        const { stdout } = await machine.run(["systemctl", "is-active", "k3slb-test.target"]);
        return stdout.trim() === "active";
      }, { explain, deadlineMs: 60_000 });
      return machine;
    } catch (error) {
      await manager.kill();
      throw error;
    }
  }

  /** Runs a program on the machine. */
  run(command: readonly string[]): Promise<RunResult> {
    return runProgram(["nsenter", `--target=${this.#pid}`, "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", ...command]);
  }

  /** `systemctl`, and throws unless its exit code is 0. Returns what it printed. */
  async systemctl(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(["systemctl", ...args]);
    if (code !== 0) throw new Error(`systemctl ${args.join(" ")} ended with ${code}: ${stderr}`);
    return stdout;
  }

  /** Properties of a unit. */
  async show(unit: string): Promise<Readonly<Record<string, string>>> {
    const lines = (await this.systemctl("show", unit)).split("\n").filter((line) => line.includes("="));
    return Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    );
  }

  /** Text of a file on the machine. */
  async read(path: string): Promise<string> {
    return (await this.run(["cat", path])).stdout;
  }

  /** Writes a file on the machine, in a folder that is there. */
  async write(path: string, text: string): Promise<void> {
    const { code, stderr } = await this.run(["sh", "-c", 'printf %s "$2" > "$1"', "sh", path, text]);
    if (code !== 0) throw new Error(`Cannot write ${path}: ${stderr}`);
  }

  /** What the manager and the units wrote. */
  async logs(): Promise<string> {
    const { stdout } = await this.run(["sh", "-c", "tail -n 25 /run/unit-logs/* /var/log/k3slb-*"]);
    return `${this.#manager.logTail()}\n${stdout}`;
  }

  /** Ends the machine and everything on it. */
  async stop(): Promise<void> {
    await this.#manager.kill();
    rmSync(this.#root, { recursive: true, force: true });
    // Its processes take a moment to be gone.
    const remove = withCgroups('find "$0" -depth -type d -exec rmdir {} +', this.#cgroup);
    await waitUntil("its control group to be empty", async () => (await runProgram(remove)).code === 0);
  }
}

/** A command that runs a shell script in the root of the control groups (version 2), wherever this machine has them. */
function withCgroups(script: string, ...args: readonly string[]): readonly string[] {
  return ["unshare", "-m", "sh", "-c", `mount -t cgroup2 cgroup2 /mnt && cd /mnt && ${script}`, ...args];
}

function childrenOf(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
  return text === "" ? [] : text.split(" ").map(Number);
}

/** Units write to files, as there is no journal; the drop-in for all services changes nothing else of them. */
const MANAGER_FILES: Readonly<Record<string, string>> = {
  "/etc/fstab": "",
  "/etc/systemd/system/k3slb-test.target": "[Unit]\nDescription=Nothing but what tests start\n",
  "/etc/systemd/system/service.d/output.conf":
    "[Service]\nStandardOutput=append:/run/unit-logs/%N.log\nStandardError=append:/run/unit-logs/%N.log\n",
};

/**
 * Lays this machine's files below the prepared ones and starts systemd on that. Kernel settings are read-only, as systemd raises limits
 * of the whole kernel when it starts; folders that say what Debian starts are empty.
 */
const ENTER_SCRIPT = `set -e
dir=$1
hostname "$2"
mount --make-rprivate /
mkdir -p $dir/root $dir/layers
mount -t tmpfs tmpfs $dir/layers
mkdir $dir/layers/upper $dir/layers/work
mount -t overlay overlay -o lowerdir=$3,upperdir=$dir/layers/upper,workdir=$dir/layers/work $dir/root
cd $dir/root
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir run/unit-logs
for name in sysinit sockets timers local-fs multi-user basic; do
  test ! -d usr/lib/systemd/system/$name.target.wants || mount -t tmpfs tmpfs usr/lib/systemd/system/$name.target.wants
done
mount -t tmpfs -o mode=755 tmpfs etc/systemd/system
cp -r $dir/files/. .
chmod -R u=rwX,go=rX etc/systemd usr/local
if [ "$4" = openrc ]; then
  mkdir run/openrc
  for name in daemons exclusive failed inactive options scheduled started starting stopping tmp wasinactive; do
    mkdir run/openrc/$name
  done
  touch run/openrc/softlevel
  # bash takes leave of what ends without a parent, as process 1 has to.
  init="bash -c 'while sleep 60; do :; done'"
else
  init='${SYSTEMD} --system --unit=k3slb-test.target --log-target=console --show-status=no'
fi
mkdir -p old
pivot_root . old
exec env -i container=k3slb PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c "umount -l /old && exec $init"
`;
