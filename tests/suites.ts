// The suites of tests: which files, what they need, and how much of a machine with two cores they take. Run by run.ts.
import type { ToolPurpose } from "./support/prerequisites.ts";

/** One group of tests and what it needs. */
export interface Suite {
  /** Files, or folders of files; those of a suite that is parallel go to `deno test` as they are. */
  readonly paths: readonly string[];
  readonly tools: readonly ToolPurpose[];
  /** Run each file in a private network world of its own. */
  readonly isolated: boolean;
  /** The worlds have real nodes: only as root. */
  readonly realNodes: boolean;
  readonly needsBinary: boolean;
  readonly env: Readonly<Record<string, string>>;
  /** All files in one process, side by side, instead of a process each. */
  readonly parallel: boolean;
  /** How much one run takes of {@linkcode ROOM}. Most files wait more than they work. */
  readonly takes: number;
}

/** What runs at a time take together at most. */
export const ROOM = 6;

const NODE_FILES = [
  ...[
    "agent_decides",
    "answers",
    "check",
    "dead_nodes",
    "harmless_faults",
    "iptables_faults",
    "kubelet_conformance",
    "networking_page",
    "node_name",
    "obstacles",
    "ownership",
    "packaged",
  ],
  ...["rbac", "restore", "servers", "stolen_node", "systemd", "tenant", "traffic", "who_decides", "world"],
];

/** They compare times: on a real control plane nothing runs beside them. */
export const ALONE: readonly string[] = ["worst_day"];

/** Begun last, they would be waited for alone. */
export const LONGEST: readonly string[] = [
  "rollout",
  "in_cluster",
  "agent_decides",
  "manifests_kill",
  "dead_nodes",
  "harmless_faults",
];

/** By the names that the command line takes. */
export const SUITES: Readonly<Record<string, Suite>> = {
  unit: suite(["--doc", "mod.ts", ...[1, 2, 3].map((n) => `tests/units_${n}.ts`), "tests/architecture_test.ts"], {
    parallel: true,
    env: { DENO_JOBS: "3" },
    takes: 4,
    tools: ["namespaces"],
  }),
  cli: suite(["tests/cli"], { needsBinary: true }),
  build: suite(["tests/build"], { tools: ["emulation", "release"] }),
  demo: suite(["tests/demo"], { tools: ["namespaces"], needsBinary: true }),
  // The page in a browser.
  page: suite(["tests/page"], { needsBinary: true, tools: ["browser"], takes: ROOM / 2 }),
  netns: suite(["tests/netns"], { isolated: true, tools: ["namespaces"] }),
  memory: suite(["tests/cluster"], {
    isolated: true,
    needsBinary: true,
    tools: ["namespaces", "monitoring"],
    env: { K3SLB_WORLD: "memory" },
  }),
  // The same suite on the sources: a fault of one runtime shows as a difference.
  source: suite(["tests/cluster"], {
    isolated: true,
    takes: ROOM,
    tools: ["namespaces", "monitoring"],
    env: { K3SLB_WORLD: "memory", K3SLB_PROGRAM: `${Deno.execPath()} run -A cli/main.ts` },
  }),
  real: suite(["tests/cluster"], {
    isolated: true,
    takes: ROOM / 2,
    needsBinary: true,
    tools: ["namespaces", "monitoring"],
    env: { K3SLB_WORLD: "real" },
  }),
  // Of the end-to-end suite what kubelets and containers have a part in: the rest shows on the real control plane already.
  nodes: suite(["tests/nodes", ...NODE_FILES.map((name) => `tests/cluster/${name}_test.ts`)], {
    isolated: true,
    takes: ROOM / 2,
    realNodes: true,
    needsBinary: true,
    tools: ["namespaces", "nodes"],
    env: { K3SLB_WORLD: "nodes" },
  }),
  // The other kube-proxy, and nodes of one family.
  "nodes-ipv4": suite(["tests/cluster/traffic_test.ts"], {
    isolated: true,
    takes: ROOM / 2,
    realNodes: true,
    needsBinary: true,
    tools: ["namespaces", "nodes"],
    env: { K3SLB_WORLD: "nodes", K3SLB_IP_FAMILIES: "IPv4", K3SLB_KUBE_PROXY: "nftables" },
  }),
  upstream: suite(["tests/upstream"], {
    isolated: true,
    takes: ROOM / 2,
    realNodes: true,
    needsBinary: true,
    tools: ["namespaces", "nodes", "upstream"],
    env: { K3SLB_WORLD: "nodes" },
  }),
  // Started by tests/packaged/run.ts, which finds the real parts first.
  packaged: suite(["tests/packaged"], {
    isolated: true,
    takes: ROOM,
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
    takes: 1,
    ...options,
  };
}
