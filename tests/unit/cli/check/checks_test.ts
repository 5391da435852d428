import { deepEqual, equal, match, ok } from "node:assert/strict";
import { checkRows, failures, type HostFacts, type NoCluster, renderChecks } from "../../../../cli/check/checks.ts";
import type { ClusterFacts } from "../../../../cli/check/cluster_checks.ts";
import type { Right } from "../../../../cli/check/rights.ts";

const HOST: HostFacts = {
  iptables: { backend: "nft", families: ["IPv4", "IPv6"] },
  rules: { nft: 12, legacy: 0 },
  ipForward: "1",
  ipv6Forwarding: "1",
  conntrackCount: "10",
  conntrackMax: "1000",
  bridgeNetfilter: "1",
  kubeProxyMode: "iptables",
  foreignDrops: [],
};
const CLUSTER: ClusterFacts = {
  node: { name: "node1", families: ["IPv4", "IPv6"] },
  takesAll: true,
  ciliumPools: 0,
  rights: { program: "agent", asked: 10, missing: [], later: [] },
  takenPorts: [],
  versions: [{ who: "this program", version: "1.0.0" }, { who: "node1", version: "1.0.0" }],
  workloads: [{ name: "kube-system/svclb-web-1", isServiceLb: true, isOurs: true }, workload("kube-system/cilium")],
};

function workload(name: string, isServiceLb = false): NonNullable<ClusterFacts["workloads"]>[number] {
  return { name, isServiceLb, isOurs: false };
}

const RIGHT: Right = {
  namespace: "",
  group: "",
  resource: "nodes",
  subresource: "status",
  verb: "patch",
  name: "node1",
};

interface Case {
  readonly name: string;
  readonly host?: Partial<HostFacts>;
  readonly cluster?: Partial<ClusterFacts> | NoCluster;
  /** The check that fails; absent: none. */
  readonly failed?: string;
  readonly says?: RegExp;
}

const CASES: readonly Case[] = [
  { name: "a healthy node" },
  { name: "no iptables", host: { iptables: { failure: '"iptables" is not installed' } }, failed: "iptables" },
  {
    name: "mixed back ends",
    host: { rules: { nft: 3, legacy: 2 } },
    failed: "iptables-backends",
    says: /3 in nft, 2 in/,
  },
  { name: "one back end's tools", host: { rules: { legacy: 2 } } },
  {
    name: "forwarding off",
    host: { ipForward: "0" },
    failed: "ipv4-forwarding",
    says: /sysctl -w net\.ipv4\.ip_forward=1/,
  },
  { name: "IPv6 forwarding off", host: { ipv6Forwarding: "0" }, failed: "ipv6-forwarding" },
  {
    name: "IPv6 forwarding off where no pod has IPv6",
    host: { ipv6Forwarding: "0" },
    cluster: { node: { name: "node1", families: ["IPv4"] } },
  },
  {
    name: "IPv6 forwarding off where nothing is known of the node",
    host: { ipv6Forwarding: "0" },
    cluster: { reason: "none", isFailure: false },
  },
  { name: "no IPv6 in the kernel", host: { ipv6Forwarding: undefined } },
  { name: "connections nearly full", host: { conntrackCount: "900" }, failed: "conntrack-table", says: /900 of 1000/ },
  { name: "connections below that", host: { conntrackCount: "899" } },
  { name: "no connection tracking yet", host: { conntrackCount: undefined, conntrackMax: undefined } },
  {
    name: "a firewall that drops",
    host: {
      foreignDrops: ['The nft chain "inet fw forward" drops forwarded packets; let "ct status dnat" pass there'],
    },
    failed: "foreign-firewall",
    says: /inet fw forward/,
  },
  { name: "no answer", cluster: { reason: "refused", isFailure: true }, failed: "api-server" },
  {
    name: "a kubeconfig that can't be read",
    cluster: { reason: "Cannot read it", isFailure: true, remedy: "correct it" },
    failed: "api-server",
    says: /Cannot read it correct it/,
  },
  { name: "no credentials", cluster: { reason: "none", isFailure: false } },
  { name: "another host's name", cluster: { node: { failure: "no such Node" } }, failed: "node-name" },
  {
    name: "MetalLB",
    cluster: { workloads: [workload("metallb-system/metallb-speaker"), workload("metallb-system/metallb-controller")] },
    failed: "other-load-balancers",
    says: /MetalLB may/,
  },
  {
    name: "kube-vip",
    cluster: { workloads: [workload("kube-system/kube-vip-cloud-provider")] },
    failed: "other-load-balancers",
  },
  { name: "kube-vip for the control plane", cluster: { workloads: [workload("kube-system/kube-vip-ds")] } },
  { name: "K3s's", cluster: { workloads: [workload("kube-system/svclb-a", true)] }, failed: "other-load-balancers" },
  { name: "MetalLB beside a class", cluster: { takesAll: false, workloads: [workload("x/metallb-controller")] } },
  { name: "Cilium's pools", cluster: { ciliumPools: 1 }, failed: "other-load-balancers", says: /Cilium's LB IPAM/ },
  {
    name: "a right that is missing",
    cluster: { rights: { program: "agent", asked: 10, missing: [RIGHT], later: [] } },
    failed: "rights",
    says: /may not: patch nodes\/node1 --subresource=status use/,
  },
  {
    name: "a right that the first server grants",
    cluster: { rights: { program: "agent", asked: 2, missing: [], later: [RIGHT] } },
  },
  { name: "nobody to ask for rights", cluster: { rights: { unknown: "not said" } } },
  {
    name: "a port that a process has",
    cluster: { takenPorts: [{ port: "80/TCP", service: "shop/web", holder: 'process "nginx" (pid 7) on this node' }] },
    failed: "taken-ports",
    says: /process "nginx" \(pid 7\) on this node has 80\/TCP of shop\/web/,
  },
  { name: "Services that may not be listed", cluster: { takenPorts: undefined } },
  {
    name: "agents of another version",
    cluster: { versions: [...CLUSTER.versions, ...["a", "b"].map((who) => ({ who, version: "0.9.0" }))] },
    failed: "versions",
    says: /1\.0\.0 \(this program, node1\), 0\.9\.0 \(a, b\)/,
  },
  { name: "no bridge", host: { bridgeNetfilter: undefined } },
  { name: "a bridge that goes round iptables", host: { bridgeNetfilter: "0" } },
  { name: "no kube-proxy", host: { kubeProxyMode: undefined } },
  { name: "a kube-proxy of another kind", host: { kubeProxyMode: "userspace" }, failed: "kube-proxy" },
  { name: "workloads that may not be listed", cluster: { workloads: undefined } },
];

for (const { name, host = {}, cluster = {}, failed, says = /./ } of CASES) {
  Deno.test(`checkRows: ${name}: ${failed ?? "nothing"} fails`, () => {
    const rows = checkRows({ ...HOST, ...host }, "reason" in cluster ? cluster : { ...CLUSTER, ...cluster });
    const crossed = rows.filter(({ result }) => result === "failed");
    deepEqual(crossed.map(({ check }) => check), failed === undefined ? [] : [failed]);
    for (const row of rows) {
      ok(row.message !== "", row.check);
      equal(row.remedy !== undefined, row.result === "failed", row.check);
    }
    if (crossed[0] !== undefined) match(`${crossed[0].message} ${crossed[0].remedy}`, says);
    equal(failures(rows), crossed.length);
  });
}

Deno.test("checkRows: every check fails in a case", () => {
  // What passes a bridge is nobody's fault: it is told, not crossed.
  const seen = new Set([...CASES.map(({ failed }) => failed), "bridge-netfilter"]);
  deepEqual(checkRows(HOST, CLUSTER).map(({ check }) => check).filter((check) => !seen.has(check)), []);
});

Deno.test("checkRows: where no rules can be read, none is said to be well", () => {
  const rows = checkRows({ ...HOST, iptables: { failure: "you must be root" }, rules: {} }, CLUSTER);
  const said = rows.filter(({ check }) => ["iptables-backends", "foreign-firewall"].includes(check));
  deepEqual(said.map(({ result }) => result), ["skipped", "skipped"]);
});

Deno.test("failures: an exit code has no more than two digits", () => {
  const row = { category: "host", check: "x", result: "failed", message: "y" } as const;
  equal(failures(Array.from({ length: 256 }, () => row)), 99);
});

Deno.test("renderChecks: a sign, the name, what was found and what to do, within the width", () => {
  const text = renderChecks(checkRows({ ...HOST, ipForward: "0" }, { reason: "none", isFailure: false }), 80);
  match(text, /^✓ {2}host\/iptables /m);
  match(text, /^✗ {2}host\/ipv4-forwarding /m);
  match(text, /^- {2}cluster\/node-name /m);
  match(text, /\n\n7 well, 1 failed, 6 skipped\n$/);
  for (const line of text.split("\n")) ok(line.length <= 80, line);
});
