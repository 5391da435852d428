// What `k3slb install` and `k3slb uninstall` do to a host, step by step, from what is there. Pure: the same plan is printed by
// --dry-run and carried out otherwise.
import { renderSystemdUnit, runtimeEnvironment } from "../../core/shared/systemd_unit.ts";

/** Which program. */
export type Role = "server" | "agent";

/** Who starts programs on this host. */
export type InitSystem = "systemd" | "openrc";

/** One thing to do. */
export type Step =
  | { readonly do: "write"; readonly path: string; readonly mode: number; readonly text: string }
  | { readonly do: "copy"; readonly from: string; readonly to: string }
  | { readonly do: "link"; readonly path: string; readonly target: string }
  | { readonly do: "remove"; readonly path: string }
  | { readonly do: "run"; readonly command: readonly string[] }
  | { readonly do: "clean up"; readonly what: "rules" | "cluster" }
  | { readonly do: "leave"; readonly path: string; readonly why: string };

/** What is on the host. */
export interface HostState {
  readonly init: InitSystem;
  /** Path of the running program. */
  readonly program: string;
  /** Whether the file that is installed has the running program's bytes. */
  readonly isSameProgram: boolean;
  /** Text of each file of {@linkcode installedFiles} that is there; links have their target. */
  readonly files: ReadonlyMap<string, string>;
  /** Whether the unit runs at this moment. */
  readonly isRunning: boolean;
  /** Whether the other program (server beside agent) is installed. */
  readonly hasOtherRole: boolean;
}

/** Texts that do not depend on the host. */
export interface InstallTexts {
  readonly config: string;
  readonly completion: string;
}

/** What is wanted beyond the role. */
export interface InstallWish {
  readonly role: Role;
  /** Folder that the server writes packaged manifests to. */
  readonly dataDir: string;
  /** Start it now, or only at the next boot. */
  readonly start: boolean;
}

/** Where the program goes unless a package brought it. */
export const PROGRAM_PATH = "/usr/local/bin/k3slb";
/** The config file that is written once. */
export const CONFIG_PATH = "/etc/rancher/k3slb/config.yaml";
const PACKAGED_PROGRAM = "/usr/bin/k3slb";
const PLUGIN_PATH = "/usr/local/bin/kubectl-k3slb";
const COMPLETION_PATH = "/usr/local/share/bash-completion/completions/k3slb";

/** Path of the unit or start script of `role`. */
export function unitPath(role: Role, init: InitSystem): string {
  return init === "systemd" ? `/etc/systemd/system/k3slb-${role}.service` : `/etc/init.d/k3slb-${role}`;
}

/** Path of the environment file of `role`. */
export function environmentPath(role: Role, init: InitSystem): string {
  return init === "systemd" ? `/etc/default/k3slb-${role}` : `/etc/conf.d/k3slb-${role}`;
}

/** What the program writes under OpenRC; systemd has its journal. */
function logPath(role: Role): string {
  return `/var/log/k3slb-${role}.log`;
}

/** Every file that an installation of `role` may write; facts are gathered of these. */
export function installedFiles(role: Role, init: InitSystem): readonly string[] {
  return [unitPath(role, init), environmentPath(role, init), CONFIG_PATH, COMPLETION_PATH, PLUGIN_PATH];
}

/** Steps from the host as it is to one that runs `role`. Nothing to do: no steps. */
export function installPlan(wish: InstallWish, texts: InstallTexts, host: HostState): readonly Step[] {
  const { role } = wish;
  const { init } = host;
  const isPackaged = host.program === PACKAGED_PROGRAM;
  const program = isPackaged ? PACKAGED_PROGRAM : PROGRAM_PATH;
  const unit = init === "systemd"
    ? renderSystemdUnit(`k3slb-${role}`, { program, dataDir: wish.dataDir })
    : renderOpenRcScript(role, program);
  const write = (path: string, text: string, mode: number): readonly Step[] =>
    host.files.get(path) === text ? [] : [{ do: "write", path, mode, text }];
  const writeOnce = (path: string, text: string): readonly Step[] =>
    host.files.has(path) ? [] : [{ do: "write", path, mode: 0o600, text }];
  const copied: readonly Step[] = isPackaged || host.isSameProgram || host.program === PROGRAM_PATH
    ? []
    : [{ do: "copy", from: host.program, to: PROGRAM_PATH }];
  const unitSteps = write(unitPath(role, init), unit, init === "systemd" ? 0o644 : 0o755);
  const files: readonly Step[] = [
    ...copied,
    ...unitSteps,
    ...writeOnce(environmentPath(role, init), environmentText(role, init)),
    ...writeOnce(CONFIG_PATH, texts.config),
    ...write(COMPLETION_PATH, texts.completion, 0o644),
    ...(host.files.get(PLUGIN_PATH) === program ? [] : [{ do: "link", path: PLUGIN_PATH, target: program } as const]),
  ];
  const isChanged = copied.length > 0 || unitSteps.length > 0;
  return [...files, ...startSteps(wish, { init, isChanged, isRunning: host.isRunning, isNew: unitSteps.length > 0 })];
}

interface StartFacts {
  readonly init: InitSystem;
  readonly isChanged: boolean;
  readonly isRunning: boolean;
  readonly isNew: boolean;
}

/** A program that runs unchanged is not started again. */
function startSteps({ role, start }: InstallWish, facts: StartFacts): readonly Step[] {
  const name = `k3slb-${role}`;
  const run = (...command: readonly string[]): Step => ({ do: "run", command });
  const again = facts.isRunning && facts.isChanged;
  if (facts.init === "openrc") {
    return [
      ...(facts.isNew ? [run("rc-update", "add", name, "default")] : []),
      ...(again ? [run("rc-service", name, "restart")] : []),
      ...(start && !facts.isRunning ? [run("rc-service", name, "start")] : []),
    ];
  }
  return [
    ...(facts.isNew ? [run("systemctl", "daemon-reload"), run("systemctl", "enable", name)] : []),
    // It is ready when the cluster answers, which may take long: nobody waits here.
    ...(again ? [run("systemctl", "restart", "--no-block", name)] : []),
    ...(start && !facts.isRunning ? [run("systemctl", "start", "--no-block", name)] : []),
  ];
}

/** Steps that take an installation back. What an administrator wrote stays, and is named. */
export function uninstallPlan(
  { role, cluster, dataDir }: { readonly role: Role; readonly cluster: boolean; readonly dataDir: string },
  texts: InstallTexts,
  host: HostState,
): readonly Step[] {
  const { init, files } = host;
  const name = `k3slb-${role}`;
  const unit = unitPath(role, init);
  const run = (...command: readonly string[]): Step => ({ do: "run", command });
  const stop: readonly Step[] = !files.has(unit)
    ? []
    : init === "systemd"
    ? [run("systemctl", "disable", "--now", name)]
    : [run("rc-service", "--ifstarted", name, "stop"), run("rc-update", "del", name, "default")];
  const remove = (path: string): readonly Step[] => (files.has(path) ? [{ do: "remove", path }] : []);
  const removeOwn = (path: string, text: string): readonly Step[] =>
    !files.has(path)
      ? []
      : files.get(path) === text
      ? [{ do: "remove", path }]
      : [{ do: "leave", path, why: "it was changed since it was installed" }];
  const shared = host.hasOtherRole ? [] : [
    ...removeOwn(CONFIG_PATH, texts.config),
    ...remove(COMPLETION_PATH),
    ...remove(PLUGIN_PATH),
    ...(host.program === PACKAGED_PROGRAM ? [] : [{ do: "remove", path: PROGRAM_PATH } as const]),
  ];
  return [
    ...stop,
    ...(role === "agent" ? [{ do: "clean up", what: "rules" } as const] : []),
    ...(role === "server" && cluster ? [{ do: "clean up", what: "cluster" } as const] : []),
    ...remove(unit),
    ...(!files.has(unit)
      ? []
      : init === "systemd"
      ? [run("systemctl", "daemon-reload")]
      : [{ do: "remove", path: logPath(role) } as const]),
    ...removeOwn(environmentPath(role, init), environmentText(role, init)),
    ...shared,
    ...(role === "server" ? leftByServer({ cluster, dataDir }) : []),
  ];
}

function leftByServer({ cluster, dataDir }: { readonly cluster: boolean; readonly dataDir: string }): readonly Step[] {
  const folder = { do: "leave", path: `${dataDir}/server`, why: "manifests and charts are yours" } as const;
  if (cluster) return [folder];
  return [folder, {
    do: "leave",
    path: "what stands in the cluster",
    why: "another server may serve it; --cluster removes it",
  }];
}

/** The environment file before anybody has changed it; of packages the same, so that one after the other asks nobody what to keep. */
export function environmentText(role: Role, init: InitSystem): string {
  const note = `# Settings of k3slb-${role} as environment variables, such as K3SLB_LOG_LEVEL=debug.\n`;
  return init === "systemd" ? note : `${note}# Each line starts with "export".\n`;
}

/** A start script for OpenRC (openrc-run(8)), with its own supervisor. */
function renderOpenRcScript(role: Role, program: string): string {
  return [
    "#!/sbin/openrc-run",
    `# k3slb ${role}. Rules in the kernel stay when it stops.`,
    "supervisor=supervise-daemon",
    `command=${program}`,
    `command_args=${role}`,
    "respawn_delay=5",
    "respawn_max=0",
    `output_log=${logPath(role)}`,
    `error_log=${logPath(role)}`,
    ...Object.entries(runtimeEnvironment(role)).map(([key, value]) => `export ${key}=${value}`),
    "",
    "depend() {",
    // Not needed: nothing has to provide it on this host, and the programs wait for the cluster themselves.
    "  want net",
    "  after net firewall k3s",
    "}",
    "",
  ].join("\n");
}
