// docs/json.md against what the commands print: every field of the results has its place in the page, and the page names none that is gone.
// The samples have all fields by their types: one that is new does not compile until it is here, and fails until it is in the page.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { PacketAnswer } from "../../../cli/explain/packet_paths.ts";
import type { ExplainAnswer } from "../../../cli/output/render_answer.ts";
import type { CheckRow } from "../../../cli/check/checks.ts";
import type { ProbeAnswer } from "../../../cli/probe/probe_result.ts";
import type { PortRow } from "../../../cli/answers/ports_command.ts";
import type { ClusterStatus } from "../../../core/status/cluster_status.ts";

const PAGE = fileURLToPath(new URL("../../../docs/json.md", import.meta.url));

/** The same with every field. */
type Whole<T> = T extends readonly (infer Item)[] ? readonly Whole<Item>[]
  : T extends object ? { readonly [Key in keyof T]-?: Whole<T[Key]> }
  : T;
type Known = Extract<PacketAnswer, { readonly node: string }>;

const PACKETS: Whole<Known> = {
  node: "node1",
  backend: "nft",
  paths: [{
    ...{ address: "192.0.2.11", port: "80/TCP", client: "outside", from: "192.0.2.1", otherEnds: 1 },
    ends: [{ to: "10.42.0.9:8080", share: 1, masqueraded: false, chains: ["K3SLB-SERVICES"] }],
  }],
  otherTargets: 1,
};
const EXPLAIN: Whole<Omit<ExplainAnswer, "packets">> & {
  readonly packets: Whole<Known> & { readonly unknown: string };
} = {
  ...{ namespace: "default", name: "web", ports: ["80/TCP"], families: ["IPv4"], trafficPolicy: "Cluster" },
  ...{ sourceRanges: [], ours: true, problem: false, addresses: ["192.0.2.11"], wantedAddresses: ["192.0.2.11"] },
  served: { status: "True", reason: "Served", message: "m", remedy: "r" },
  condition: { status: "True", reason: "Served", message: "m" },
  daemonSet: { namespace: "kube-system", name: "svclb-web", pods: 1, exists: true },
  endpoints: { ready: 1, terminating: 0, closed: 0 },
  nodes: [{ node: "node1", serves: false, addresses: ["192.0.2.11"], reason: "NoPod", message: "m", remedy: "r" }],
  packets: { ...PACKETS, unknown: "why" },
};
const PORTS: readonly Whole<PortRow>[] = [{
  ...{ node: "node1", port: "80/TCP", service: "default/web", state: "serves", message: "", remedy: "r" },
  addresses: ["192.0.2.11"],
}];
const ROW = { name: "n", state: "Served", message: "", problem: false };
const STATUS: Whole<ClusterStatus> = {
  server: ROW,
  nodes: [{ ...ROW, addresses: ["192.0.2.11"] }],
  services: [{
    ...ROW,
    ...{ ports: ["80/TCP"], addresses: ["192.0.2.11"], serving: 1, families: ["IPv4"], trafficPolicy: "Local" },
    endpoints: { ready: 1, terminating: 0, closed: 0 },
  }],
  charts: [ROW],
  addOns: [ROW],
};

const PROBE: Whole<ProbeAnswer> = {
  ...{ namespace: "default", name: "web", addresses: ["192.0.2.11"] },
  results: [{
    ...{ from: "node1", address: "192.0.2.11", port: 80, protocol: "TCP", state: "Failed", latencyMs: 1 },
    ...{ httpStatus: 200, detail: "EACCES", message: "m", problem: true },
  }],
  silent: [{ node: "node2", message: "m", problem: true }],
};
const CHECK: readonly Whole<CheckRow>[] = [
  { category: "host", check: "iptables", result: "failed", message: "m", remedy: "r" },
];
const SAMPLES = [
  ["explain", EXPLAIN],
  ["ports", PORTS],
  ["status", STATUS],
  ["probe", PROBE],
  ["check", CHECK],
] as const;

/** Paths of fields, such as `nodes[].reason`. */
function pathsOf(value: unknown, at = ""): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((item) => pathsOf(item, `${at}[]`));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => {
    const path = at === "" ? name : `${at}.${name}`;
    return [path, ...pathsOf(inner, path)];
  });
}

/** Fields that a part of the page speaks of: its first column, and what a line says of the inside of its field. */
function saidIn(part: string): { readonly named: ReadonlySet<string>; readonly inner: ReadonlySet<string> } {
  const named = new Set<string>();
  const inner = new Set<string>();
  for (const [, fields = "", meaning = ""] of part.matchAll(/^\| (`.*?) \| (.*) \|$/gm)) {
    const names = [...fields.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name);
    for (const name of names) named.add(name);
    for (const [, word = ""] of meaning.matchAll(/`(\w+)`/g)) for (const name of names) inner.add(`${name}.${word}`);
  }
  return { named, inner };
}

const ROW_FIELDS = new Set(Object.keys(ROW));

for (const [command, sample] of SAMPLES) {
  Deno.test(`docs/json.md has every field of k3slb ${command}, and no other`, async () => {
    const page = await Deno.readTextFile(PAGE);
    const part = page.split(/^## /m).find((one) => one.startsWith(`\`k3slb ${command}\``));
    assert.ok(part, "there is such a part");
    const { named, inner } = saidIn(part);
    const paths = new Set(pathsOf(sample));
    const isRow = (path: string): boolean => command === "status" && ROW_FIELDS.has(path.split(".").at(-1) ?? "");
    const isSaid = (path: string): boolean =>
      named.has(path) || inner.has(path) || inner.has(path.replace("[].", ".")) || isRow(path);
    const missing = [...paths].filter((path) => !isSaid(path) && !isSaidAbove(path, isSaid, part));
    assert.deepEqual(missing, []);
    assert.deepEqual([...named].filter((path) => !paths.has(path)), []);
  });
}

/** What stands as for `explain` is said there. */
function isSaidAbove(path: string, isSaid: (path: string) => boolean, part: string): boolean {
  const parent = path.replace(/(\[\])?\.\w+$/, "");
  return parent !== path && isSaid(parent) && new RegExp(`\`${RegExp.escape(parent)}\` \\| as for`).test(part);
}
