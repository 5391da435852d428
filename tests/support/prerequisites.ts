// Tools of the system that tests, benchmarks and the demo need, and how they get there: installed from Debian when this runs
// as root on a Debian machine, else named together with the command that installs them.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";

/** One program and the Debian package that has it. */
interface Tool {
  readonly program: string;
  readonly debianPackage: string;
  /** What it is needed for, in a few words. */
  readonly purpose: string;
}

const NAMESPACE_TOOLS: readonly Tool[] = [
  { program: "unshare", debianPackage: "util-linux", purpose: "private namespaces" },
  { program: "ip", debianPackage: "iproute2", purpose: "network namespaces and links" },
  { program: "iptables-restore", debianPackage: "iptables", purpose: "forwarding rules" },
  { program: "conntrack", debianPackage: "conntrack", purpose: "connection tracking" },
  { program: "nft", debianPackage: "nftables", purpose: "foreign firewall chains" },
  { program: "sysctl", debianPackage: "procps", purpose: "kernel settings of namespaces" },
  { program: "openssl", debianPackage: "openssl", purpose: "certificates of the test API server" },
];

const BENCH_TOOLS: readonly Tool[] = [
  { program: "wrk", debianPackage: "wrk", purpose: "HTTP load" },
  { program: "time", debianPackage: "time", purpose: "memory of other programs" },
  { program: "xz", debianPackage: "xz-utils", purpose: "size of the packed binary" },
  {
    program: "/usr/lib/cni/portmap",
    debianPackage: "containernetworking-plugins",
    purpose: "the hostPort path to compare with",
  },
];

const EMULATION_TOOLS: readonly Tool[] = [
  { program: "qemu-aarch64", debianPackage: "qemu-user", purpose: "starting the arm64 binary" },
  {
    program: "/usr/aarch64-linux-gnu/lib/libc.so.6",
    debianPackage: "libc6-arm64-cross",
    purpose: "the C library of arm64",
  },
  {
    program: "/usr/aarch64-linux-gnu/lib/libstdc++.so.6",
    debianPackage: "libstdc++6-arm64-cross",
    purpose: "the C++ library of arm64",
  },
];

const RELEASE_TOOLS: readonly Tool[] = [
  { program: "dpkg-deb", debianPackage: "dpkg", purpose: "Debian packages" },
  { program: "rpmbuild", debianPackage: "rpm", purpose: "RPMs" },
  { program: "readelf", debianPackage: "binutils", purpose: "which libraries the image's programs load" },
  { program: "xz", debianPackage: "xz-utils", purpose: "compressed archives" },
];

const FRESH_ROOT_TOOLS: readonly Tool[] = [
  { program: "mmdebstrap", debianPackage: "mmdebstrap", purpose: "a fresh Debian for the packages" },
];

const MONITORING_TOOLS: readonly Tool[] = [
  { program: "prometheus", debianPackage: "prometheus", purpose: "reading the metrics" },
  { program: "promtool", debianPackage: "prometheus", purpose: "checking rules and metrics" },
];

const BROWSER_TOOLS: readonly Tool[] = [
  { program: "/usr/bin/chromium", debianPackage: "chromium", purpose: "looking at the page" },
  { program: "/usr/share/fonts/truetype/dejavu", debianPackage: "fonts-dejavu-core", purpose: "letters of the page" },
];

const NODE_TOOLS: readonly Tool[] = [
  { program: "containerd", debianPackage: "containerd", purpose: "containers of real nodes" },
  { program: "runc", debianPackage: "runc", purpose: "containers of real nodes" },
  {
    program: "/usr/lib/cni/bridge",
    debianPackage: "containernetworking-plugins",
    purpose: "the network of real pods",
  },
  { program: "/bin/busybox", debianPackage: "busybox-static", purpose: "a shell in test images" },
  { program: "go", debianPackage: "golang-go", purpose: "kubelet and kube-proxy" },
];

const PACKAGED_TOOLS: readonly Tool[] = [
  { program: "bash", debianPackage: "bash", purpose: "klipper-helm's script" },
  { program: "jq", debianPackage: "jq", purpose: "klipper-helm's script" },
  { program: "curl", debianPackage: "curl", purpose: "asking Traefik" },
];

const UPSTREAM_TOOLS: readonly Tool[] = [
  { program: "bash", debianPackage: "bash", purpose: "test pods" },
  { program: "curl", debianPackage: "curl", purpose: "test pods" },
  { program: "nc.openbsd", debianPackage: "netcat-openbsd", purpose: "test pods" },
  { program: "wget", debianPackage: "wget", purpose: "test pods" },
];

/** What the tools are wanted for. */
export type ToolPurpose =
  | "upstream"
  | "packaged"
  | "release"
  | "namespaces"
  | "bench"
  | "emulation"
  | "freshRoot"
  | "nodes"
  | "monitoring"
  | "browser";

const TOOLS: Readonly<Record<ToolPurpose, readonly Tool[]>> = {
  namespaces: NAMESPACE_TOOLS,
  bench: BENCH_TOOLS,
  emulation: EMULATION_TOOLS,
  freshRoot: FRESH_ROOT_TOOLS,
  release: RELEASE_TOOLS,
  nodes: NODE_TOOLS,
  monitoring: MONITORING_TOOLS,
  browser: BROWSER_TOOLS,
  packaged: PACKAGED_TOOLS,
  upstream: UPSTREAM_TOOLS,
};

/**
 * Makes sure that the tools for `purposes` are there; installs missing ones from Debian when run as root.
 *
 * @throws {Error} If a tool is missing and can't be installed; the message has the command that installs it.
 */
export function ensureTools(purposes: readonly ToolPurpose[], log: (line: string) => void): void {
  const missing = purposes.flatMap((purpose) => TOOLS[purpose]).filter((tool) => !isInstalled(tool));
  if (missing.length === 0) return;
  const packages = [...new Set(missing.map((tool) => tool.debianPackage))].sort();
  const install = `apt-get install -y ${packages.join(" ")}`;
  const what = missing.map((tool) => `${tool.program} (${tool.purpose})`).join(", ");
  if (process.getuid?.() !== 0 || !isOnPath("apt-get")) {
    throw new Error(`Missing tools: ${what}\n  hint: Install them with: sudo ${install}`);
  }
  log(`Installing from Debian, for ${what}: ${install}`);
  if (!installFromDebian(packages)) {
    throw new Error(
      `Cannot install ${packages.join(", ")}\n  hint: Run "apt-get update && ${install}" and read what it prints`,
    );
  }
  const still = missing.filter((tool) => !isInstalled(tool));
  if (still.length > 0) {
    throw new Error(`Still missing after the installation: ${still.map((t) => t.program).join(", ")}`);
  }
}

function installFromDebian(packages: readonly string[]): boolean {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = (): boolean =>
    spawnSync("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...NO_SERVICES, ...packages], {
      env,
      stdio: ["ignore", "ignore", "inherit"],
    }).status === 0;
  // A fresh machine has no package lists, or old ones: one update, then once more.
  return install() ||
    (spawnSync("apt-get", ["update", "-qq"], { env, stdio: ["ignore", "ignore", "inherit"] }).status === 0 &&
      install());
}

/** Units and start scripts stay out: the program is wanted, and nothing of it is enabled or started on this machine. */
const NO_SERVICES = ["/lib/systemd/system", "/usr/lib/systemd/system", "/etc/init.d"]
  .map((folder) => `-oDPkg::Options::=--path-exclude=${folder}/*`);

function isInstalled(tool: Tool): boolean {
  return tool.program.startsWith("/") ? existsSync(tool.program) : isOnPath(tool.program);
}

function isOnPath(program: string): boolean {
  const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/sbin"];
  return folders.some((folder) => folder !== "" && existsSync(`${folder}/${program}`));
}
