import { deepEqual, equal, match, ok } from "node:assert/strict";
import {
  checkRows,
  type ClusterFacts,
  failures,
  type HostFacts,
  type NoCluster,
  renderChecks,
} from "../../../../cli/check/checks.ts";

const HOST: HostFacts = {
  iptables: { backend: "nft", families: ["IPv4", "IPv6"] },
  rules: { nft: 12, legacy: 0 },
  ipForward: "1",
  ipv6Forwarding: "1",
  conntrackCount: "10",
  conntrackMax: "1000",
  foreignDrops: [],
};
const CLUSTER: ClusterFacts = {
  node: { name: "node1", families: ["IPv4", "IPv6"] },
  takesAll: true,
  workloads: [{ name: "kube-system/svclb-web-1", isServiceLb: true, isOurs: true }, workload("kube-system/cilium")],
};

function workload(name: string, isServiceLb = false): NonNullable<ClusterFacts["workloads"]>[number] {
  return { name, isServiceLb, isOurs: false };
}

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
  const seen = new Set(CASES.map(({ failed }) => failed));
  deepEqual(checkRows(HOST, CLUSTER).map(({ check }) => check).filter((check) => !seen.has(check)), []);
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
  for (const line of text.split("\n")) ok(line.length <= 80, line);
});
