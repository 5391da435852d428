// Text of the systemd units. Pure. Options by systemd.exec(5), systemd.service(5), systemd.unit(5); what K3s's own unit has is kept
// where it matters (k3s `install.sh`): Type=notify, Restart=always, environment files, no start timeout.

/** Programs that run as units. */
export type UnitName = "k3slb-server" | "k3slb-agent";

/** What a unit is made for. */
export interface SystemdUnitOptions {
  /**
   * Path of the program.
   * @default {"/usr/local/bin/k3slb"}
   */
  readonly program?: string;
  /**
   * Folder that the server writes packaged manifests to.
   * @default {"/var/lib/rancher/k3s"}
   */
  readonly dataDir?: string;
}

/**
 * Settings of the runtime inside the binary, for a small memory and little work while nothing happens. They are read before the program's
 * first line, so units set them.
 */
export function runtimeEnvironment(role: "server" | "agent"): Readonly<Record<string, string>> {
  return {
    ...RUNTIME_ENVIRONMENT,
    // Milliseconds between looks for memory to give back in half-used pages; after each turn of the event loop by itself. What hundreds of Services
    // that come at once leave behind is a sixth of what they cost a node; a server has less of it, and idles more cheaply.
    "MIMALLOC_PURGE_HOLES_MIN_INTERVAL": role === "agent" ? "15000" : "120000",
    ...(role === "server" ? SERVER_ENVIRONMENT : {}),
  };
}

const RUNTIME_ENVIRONMENT: Readonly<Record<string, string>> = {
  "BUN_JSC_useJIT": "0",
  // The engine looks for garbage when enough was made. By the clock as well, an idle program would take twice the time.
  "BUN_GC_TIMER_DISABLE": "1",
  // Threads that look for garbage: others would be woken and ended again for a heap that one walks in milliseconds.
  "BUN_JSC_numberOfGCMarkers": "1",
};

/** An agent goes without: what hundreds of Services leave behind is given back soon so. */
const SERVER_ENVIRONMENT: Readonly<Record<string, string>> = {
  // The engine has clocks of its own, which look twice a minute where little garbage is: so seldom that only what was made counts.
  "BUN_JSC_percentCPUPerMBForFullTimer": "0.0000001",
  "BUN_JSC_percentCPUPerMBForEdenTimer": "0.0000001",
  // Looks in one go of some 5 ms. By pieces each wake-up takes 0.5 ms more for half a minute.
  "BUN_JSC_useConcurrentGC": "0",
};

/** Text of the unit file `NAME.service`. */
export function renderSystemdUnit(name: UnitName, options: SystemdUnitOptions = {}): string {
  const { program = "/usr/local/bin/k3slb" } = options;
  const isAgent = name === "k3slb-agent";
  return [
    "[Unit]",
    `Description=k3slb ${isAgent ? "agent: forwards Services of type LoadBalancer on this node" : "server"}`,
    "Wants=network-online.target",
    "After=network-online.target",
    "",
    "[Service]",
    '# Readiness is said by a child process, systemd-notify, which "exec" would not let speak for its parent without CAP_SYS_ADMIN.',
    "Type=notify",
    "NotifyAccess=all",
    "# The engine interprets instead of compiling: 58 MB instead of 91 for an agent with 100 Services, 56 instead of 81 for the server.",
    "# Above some 1,000 Services on a node compiling pays: set BUN_JSC_useJIT=1 in one of the environment files.",
    ...Object.entries(runtimeEnvironment(isAgent ? "agent" : "server")).map(([key, value]) =>
      `Environment=${key}=${value}`
    ),
    "# K3SLB_* and proxy variables; mode 0600 if they hold secrets.",
    ...ENVIRONMENT_FILES.map((path) => `EnvironmentFile=-${path}`),
    `ExecStart=${quoteWord(program)} ${isAgent ? "agent" : "server"}`,
    "Restart=always",
    "RestartSec=5s",
    "# Ready means that the cluster was reached, however long that takes.",
    "TimeoutStartSec=infinity",
    "# The main process first, so that a running iptables-restore ends by itself. Rules in the kernel stay.",
    "KillMode=mixed",
    "TimeoutStopSec=20s",
    "LimitNOFILE=1048576",
    "",
    ...(isAgent ? AGENT_RIGHTS : SERVER_RIGHTS),
    // The server looks for a K3s that runs on the same folder.
    ...(isAgent ? ["ProtectProc=invisible"] : []),
    ...(isAgent ? [] : writableFolder(options.dataDir ?? "/var/lib/rancher/k3s")),
    ...SANDBOX,
    "",
    "[Install]",
    "WantedBy=multi-user.target",
    "",
  ].join("\n");
}

/** Under /var/lib systemd makes the folder itself, else it may be absent at the first start. */
function writableFolder(dataDir: string): readonly string[] {
  const state = /^\/var\/lib\/(?<top>[^/]+)/.exec(dataDir)?.groups?.top;
  return state === undefined ? [`ReadWritePaths=-${quoteWord(dataDir)}`] : [`StateDirectory=${quoteWord(state)}`];
}

/** One word of ExecStart: `%` and `$` would be expanded, blanks and quotes would split it (systemd.service(5), "Command lines"). */
function quoteWord(word: string): string {
  const escaped = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
  if (/^[\w./:=,@%$+-]+$/.test(escaped)) return escaped;
  return `"${escaped.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")}"`;
}

const ENVIRONMENT_FILES: readonly string[] = [
  "/etc/default/%N",
  "/etc/sysconfig/%N",
  "/etc/systemd/system/%N.service.env",
];

const AGENT_RIGHTS: readonly string[] = [
  "# root, because the kubelet's kubeconfig and keys are files of root with mode 0600; as their owner it needs no capability.",
  "# NET_ADMIN and NET_RAW are for iptables and conntrack. Who holds a port is named by its service or container, which ss tells",
  "# (iproute2 5.9 or later); for a process's name and pid add CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH in a drop-in.",
  "User=root",
  "CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW",
  "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
  "# iptables takes its lock, which it shares with kube-proxy and the network plugin, in /run/xtables.lock.",
  "ReadWritePaths=/run",
];

const SERVER_RIGHTS: readonly string[] = [
  "# root, because an administrator's kubeconfig is a file of root with mode 0600; no capability is needed.",
  "User=root",
  "CapabilityBoundingSet=",
  "# AF_NETLINK: the C library lists this host's addresses through it.",
  "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
];

// MemoryDenyWriteExecute is left out: the JavaScript engine makes machine code while it runs, unless it is told not to.
const SANDBOX: readonly string[] = [
  "NoNewPrivileges=yes",
  "ProtectSystem=strict",
  "ProtectHome=read-only",
  "PrivateTmp=yes",
  "PrivateDevices=yes",
  "PrivateMounts=yes",
  "ProtectClock=yes",
  "ProtectControlGroups=yes",
  "ProtectHostname=yes",
  "ProtectKernelLogs=yes",
  "ProtectKernelModules=yes",
  "ProtectKernelTunables=yes",
  "LockPersonality=yes",
  "RestrictNamespaces=yes",
  "RestrictRealtime=yes",
  "RestrictSUIDSGID=yes",
  "SystemCallArchitectures=native",
  "# What a network service calls; of the rest, root's own calls and changes of priorities fail as they do for other users.",
  "SystemCallFilter=@system-service",
  "SystemCallFilter=~@privileged @resources",
  "SystemCallErrorNumber=EPERM",
  "UMask=0077",
];
