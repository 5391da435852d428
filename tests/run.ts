// Runs suites one after the other and prints one closing line over all of them: `N passed, N failed`.
// Usage: deno run -A tests/run.ts SUITE...   Suites: unit, cli, build, demo, netns, page, memory, source, real, nodes, nodes-ipv4, upstream.
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { readdirSync } from "node:fs";
import { worldCommand } from "./support/netns.ts";
import { ensureTools, type ToolPurpose } from "./support/prerequisites.ts";

/** One group of tests and what it needs. */
interface Suite {
  readonly paths: readonly string[];
  readonly tools: readonly ToolPurpose[];
  /** Run each file in a private network world of its own. */
  readonly isolated: boolean;
  /** The worlds have real nodes: only as root. */
  readonly realNodes: boolean;
  readonly needsBinary: boolean;
  readonly env: Readonly<Record<string, string>>;
  /** Test files side by side, in one process. */
  readonly parallel: boolean;
  /** Isolated files that run at a time; what each prints is shown at its end if there are several. */
  readonly atOnce: number;
}

const NODE_FILES = [
  ...[
    "agent_decides",
    "dead_nodes",
    "iptables_faults",
    "kubelet_conformance",
    "networking_page",
    "node_name",
    "obstacles",
    "ownership",
    "packaged",
  ],
  ...["rbac", "servers", "systemd", "tenant", "traffic", "world"],
];

const SUITES: Readonly<Record<string, Suite>> = {
  unit: suite(["tests/architecture_test.ts", "tests/unit"], { parallel: true, tools: ["namespaces"] }),
  cli: suite(["tests/cli"], { needsBinary: true }),
  build: suite(["tests/build"], { tools: ["emulation", "release"] }),
  demo: suite(["tests/demo"], { tools: ["namespaces"], needsBinary: true }),
  // The page in a browser.
  page: suite(["tests/page"], { needsBinary: true, tools: ["browser"] }),
  netns: suite(["tests/netns"], { isolated: true, tools: ["namespaces"] }),
  memory: suite(["tests/cluster"], {
    isolated: true,
    needsBinary: true,
    tools: ["namespaces", "monitoring"],
    // They wait more than they work.
    atOnce: 4,
    env: { K3SLB_WORLD: "memory" },
  }),
  // The same suite on the sources: a fault of one runtime shows as a difference.
  source: suite(["tests/cluster"], {
    isolated: true,
    tools: ["namespaces", "monitoring"],
    env: { K3SLB_WORLD: "memory", K3SLB_PROGRAM: `${Deno.execPath()} run -A cli/main.ts` },
  }),
  real: suite(["tests/cluster"], {
    isolated: true,
    needsBinary: true,
    tools: ["namespaces", "monitoring"],
    env: { K3SLB_WORLD: "real" },
  }),
  // Of the end-to-end suite what kubelets and containers have a part in: the rest shows on the real control plane already.
  nodes: suite(["tests/nodes", ...NODE_FILES.map((name) => `tests/cluster/${name}_test.ts`)], {
    isolated: true,
    realNodes: true,
    needsBinary: true,
    tools: ["namespaces", "nodes"],
    env: { K3SLB_WORLD: "nodes" },
  }),
  // The other kube-proxy, and nodes of one family.
  "nodes-ipv4": suite(["tests/cluster/traffic_test.ts"], {
    isolated: true,
    realNodes: true,
    needsBinary: true,
    tools: ["namespaces", "nodes"],
    env: { K3SLB_WORLD: "nodes", K3SLB_IP_FAMILIES: "IPv4", K3SLB_KUBE_PROXY: "nftables" },
  }),
  upstream: suite(["tests/upstream"], {
    isolated: true,
    // Pods take their time to come and to end.
    atOnce: 2,
    realNodes: true,
    needsBinary: true,
    tools: ["namespaces", "nodes", "upstream"],
    env: { K3SLB_WORLD: "nodes" },
  }),
  // Started by tests/packaged/run.ts, which finds the real parts first.
  packaged: suite(["tests/packaged"], {
    isolated: true,
    realNodes: true,
    needsBinary: true,
    tools: ["namespaces", "nodes", "packaged"],
    env: { K3SLB_WORLD: "nodes" },
  }),
};

function suite(paths: readonly string[], options: Partial<Omit<Suite, "paths">>): Suite {
  return {
    paths,
    tools: [],
    isolated: false,
    realNodes: false,
    needsBinary: false,
    env: {},
    parallel: false,
    atOnce: 1,
    ...options,
  };
}

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const COUNTS_REGEXP = /\b(\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed(?: \(\d+ steps?\))?(?: \| (\d+) ignored)?/;

/** What one suite counted. */
interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

async function main(names: readonly string[]): Promise<number> {
  const suites = names.map((name) => {
    const found = SUITES[name];
    if (!found) throw new Error(`Unknown suite "${name}"; there are: ${Object.keys(SUITES).join(", ")}`);
    return { name, ...found };
  });
  if (suites.some((one) => one.realNodes) && Deno.uid() !== 0) {
    throw new Error(
      "Real nodes need root\n  hint: Run it with sudo, or run the same tests with: deno task test:cluster",
    );
  }
  ensureTools([...new Set(suites.flatMap((one) => one.tools))], print);
  if (suites.some((one) => one.needsBinary)) await must("build the binary", ["deno", "task", "build"]);
  const prepare = ["deno", "run", "-A", "tests/support/prepare_control_plane.ts"];
  if (suites.some((one) => one.realNodes)) await must("prepare the nodes", [...prepare, ...names]);
  else if (names.includes("real")) await must("prepare the control plane", prepare);
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  for (const one of suites) {
    print(`\n== ${one.name}: ${one.paths.join(" ")}`);
    const counts = await runSuite(one);
    total.passed += counts.passed;
    total.failed += counts.failed;
    total.skipped += counts.skipped;
  }
  print("");
  print(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

async function runSuite(one: Suite): Promise<Counts> {
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const waiting = one.isolated ? one.paths.flatMap(testFiles).map((file) => [file]) : [one.paths];
  const worker = async (): Promise<void> => {
    for (let paths = waiting.shift(); paths !== undefined; paths = waiting.shift()) {
      const test = ["deno", "test", "-A", "--quiet", ...(one.parallel ? ["--parallel"] : []), ...paths];
      const command = one.isolated ? worldCommand(test, one) : test;
      const result = await run(command, { ...one.env, DENO_JOBS: "2" }, { showsAtEnd: one.atOnce > 1 });
      count(result, total);
    }
  };
  await Promise.all(Array.from({ length: one.atOnce }, worker));
  return total;
}

function count({ code, output }: { readonly code: number; readonly output: string }, total: Counts): void {
  const match = COUNTS_REGEXP.exec(output);
  const failed = Number(match?.[2] ?? 0);
  total.passed += Number(match?.[1] ?? 0);
  // A run that fails without a failed test (a module that does not load, a leaked process) is a failure too.
  total.failed += (code !== 0 || !match) && failed === 0 ? 1 : failed;
  total.skipped += Number(match?.[3] ?? 0);
}

function testFiles(path: string): string[] {
  if (path.endsWith("_test.ts")) return [path];
  const names = readdirSync(`${ROOT}/${path}`).filter((name) => name.endsWith("_test.ts")).sort();
  const [longest, others] = [names.filter((name) => name === LONGEST), names.filter((name) => name !== LONGEST)];
  return [...longest, ...others].map((name) => `${path}/${name}`);
}

/** Begun last, it would be waited for alone where several files run at a time. */
const LONGEST = "manifests_kill_test.ts";

async function must(what: string, command: readonly string[]): Promise<void> {
  const { code } = await run(command, {});
  if (code !== 0) throw new Error(`Cannot ${what}: "${command.join(" ")}" exits with ${code}`);
}

/** Runs a command with its output kept and shown, as it comes or at the end. `deno` means the one that runs this. */
function run(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  { showsAtEnd = false }: { readonly showsAtEnd?: boolean } = {},
): Promise<{ code: number; output: string }> {
  const [program = "", ...args] = command.map((word) => word === "deno" ? Deno.execPath() : word);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      // Ordinary users don't have the folders of iptables and its like in their path.
      env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8");
      stream.on("data", (text: string) => {
        output += text;
        if (!showsAtEnd) process.stdout.write(text);
      });
    }
    child.on("error", reject);
    child.on("close", (code) => {
      if (showsAtEnd) process.stdout.write(output);
      resolve({ code: code ?? 1, output });
    });
  });
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

if (import.meta.main) {
  try {
    process.exitCode = await main(Deno.args);
  } catch (error) {
    print(`error: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
