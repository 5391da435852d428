// What `k3slb check` looks at, what follows from the facts, and how it is printed. Pure.
import { renderRows } from "../output/render_rows.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import { clusterChecks, type ClusterFacts } from "./cluster_checks.ts";
import { failed, type Finding, ok, skipped } from "./finding.ts";

/** What was found on this host. A sysctl that is not there is `undefined`. */
export interface HostFacts {
  /** The data plane's tools: back end and families that work, or why none does. */
  readonly iptables: { readonly backend: string; readonly families: readonly IpFamily[] } | {
    readonly failure: string;
  };
  /** Rules in either back end; absent: its tools are not there. */
  readonly rules: { readonly nft?: number; readonly legacy?: number };
  readonly ipForward: string | undefined;
  readonly ipv6Forwarding: string | undefined;
  readonly conntrackCount: string | undefined;
  readonly conntrackMax: string | undefined;
  /** Whether what passes a bridge passes iptables. */
  readonly bridgeNetfilter: string | undefined;
  /** As kube-proxy itself says it; absent: it does not answer here. */
  readonly kubeProxyMode: string | undefined;
  /** Sentences of the look for firewalls of others. */
  readonly foreignDrops: readonly string[];
}

/** Why nothing is known of the cluster. */
export interface NoCluster {
  readonly reason: string;
  /** Whether credentials were there and it did not answer. */
  readonly isFailure: boolean;
  /** What to do about a failure that has a remedy of its own. */
  readonly remedy?: string;
}

/** One check, as `-o json` prints it. */
export interface CheckRow extends Finding {
  readonly category: "host" | "cluster";
  /** Stable name. */
  readonly check: string;
}

/** Every check, in the order in which they are printed. */
export function checkRows(host: HostFacts, cluster: ClusterFacts | NoCluster): readonly CheckRow[] {
  const about = "reason" in cluster ? undefined : cluster;
  const rows: readonly (readonly [CheckRow["category"], string, Finding])[] = [
    ["host", "iptables", iptables(host)],
    ["host", "iptables-backends", backends(host)],
    ["host", "ipv4-forwarding", sysctl("net.ipv4.ip_forward", host.ipForward)],
    ["host", "ipv6-forwarding", ipv6Forwarding(host, about)],
    ["host", "conntrack-table", conntrack(host)],
    ["host", "foreign-firewall", foreignFirewall(host)],
    ["host", "bridge-netfilter", bridgeNetfilter(host)],
    ["host", "kube-proxy", kubeProxy(host)],
    ["cluster", "api-server", apiServer(cluster)],
    ...clusterChecks(about).map(([check, finding]) => ["cluster", check, finding] as const),
  ];
  return rows.map(([category, check, finding]) => ({ category, check, ...finding }));
}

/** Failures, as the exit code says them. */
export function failures(rows: readonly CheckRow[]): number {
  return Math.min(MAX_EXIT_CODE, rows.filter(({ result }) => result === "failed").length);
}

/** The table, `width` characters wide, and how many ended in which way. */
export function renderChecks(rows: readonly CheckRow[], width: number): string {
  const count = (result: CheckRow["result"]): number => rows.filter((row) => row.result === result).length;
  const counts = `${count("ok")} well, ${count("failed")} failed, ${count("skipped")} skipped`;
  const table = renderRows(
    ["", "CHECK", "WHAT WAS FOUND, AND WHAT TO DO"],
    rows.map(({ category, check, result, message, remedy }) => [
      SIGNS[result],
      `${category}/${check}`,
      remedy === undefined ? message : `${message}. To do: ${remedy}`,
    ]),
    width,
  );
  return `${table}\n${counts}\n`;
}

function iptables({ iptables }: HostFacts): Finding {
  if ("failure" in iptables) {
    return failed(iptables.failure, "run this as root, with the package iptables installed");
  }
  return ok(`back end ${iptables.backend}, ${iptables.families.join(" and ")}`);
}

function backends({ iptables, rules: { nft, legacy } }: HostFacts): Finding {
  if ("failure" in iptables) return UNREADABLE_RULES;
  if (nft === undefined && legacy === undefined) return skipped("the tools could not be run");
  if (nft === undefined || legacy === undefined) return ok("the tools of one back end only");
  if (nft > 0 && legacy > 0) {
    return failed(
      `rules in both back ends: ${nft} in nft, ${legacy} in legacy; packets pass both`,
      "find who writes into which (iptables-nft-save, iptables-legacy-save), make all use one, then reboot",
    );
  }
  return ok(nft + legacy === 0 ? "no rules in either" : `rules in ${nft > 0 ? "nft" : "legacy"} only`);
}

function sysctl(name: string, value: string | undefined): Finding {
  if (value === "1") return ok(`${name}=1`);
  return failed(
    `${name}=${value ?? "unknown"}: this host forwards nothing`,
    `sysctl -w ${name}=1, and in /etc/sysctl.d`,
  );
}

function ipv6Forwarding({ ipv6Forwarding: value }: HostFacts, cluster: ClusterFacts | undefined): Finding {
  if (value === undefined) return skipped("this kernel has no IPv6");
  if (value === "1") return ok("net.ipv6.conf.all.forwarding=1");
  if (cluster === undefined || "failure" in cluster.node) {
    return skipped("off; whether this node has IPv6 is not known");
  }
  if (!cluster.node.families.includes("IPv6")) return skipped("off; this node has no IPv6 pods");
  return sysctl("net.ipv6.conf.all.forwarding", value);
}

function conntrack({ conntrackCount, conntrackMax }: HostFacts): Finding {
  const [count, max] = [Number(conntrackCount), Number(conntrackMax)];
  if (conntrackCount === undefined || conntrackMax === undefined || !(max > 0)) {
    return skipped("connection tracking is not loaded yet");
  }
  const words = `${count} of ${max} connections`;
  if (count < max * FULL) return ok(words);
  return failed(`${words}: new ones are dropped`, "sysctl -w net.netfilter.nf_conntrack_max=… with a larger number");
}

function foreignFirewall({ iptables, foreignDrops }: HostFacts): Finding {
  if ("failure" in iptables) return UNREADABLE_RULES;
  if (foreignDrops.length === 0) return ok("no chain of others drops what is forwarded");
  return failed(foreignDrops.map((text) => text.split("; let ")[0]).join("; "), 'let "ct status dnat" pass there');
}

function bridgeNetfilter({ bridgeNetfilter: value }: HostFacts): Finding {
  if (value === "1") return ok("net.bridge.bridge-nf-call-iptables=1");
  const what = value === undefined ? "br_netfilter is not loaded" : `net.bridge.bridge-nf-call-iptables=${value}`;
  return skipped(`${what}: right without a bridge; with one, pods of this node see the node's address as each other's`);
}

function kubeProxy({ kubeProxyMode: mode }: HostFacts): Finding {
  if (mode === undefined) return skipped("none answers on 127.0.0.1:10249; what stands in for it may be right");
  if (KUBE_PROXY_MODES.has(mode)) return ok(`mode ${mode}`);
  return failed(`mode "${mode}" is not known to k3slb`, "use iptables, nftables or ipvs");
}

function apiServer(cluster: ClusterFacts | NoCluster): Finding {
  if (!("reason" in cluster)) return ok("answers");
  return cluster.isFailure
    ? failed(cluster.reason, cluster.remedy ?? "see whether it is reached: kubectl get --raw /readyz")
    : skipped(cluster.reason);
}

/** Whoever may not see rules sees none. */
const UNREADABLE_RULES = skipped("the rules can't be read");
const KUBE_PROXY_MODES: ReadonlySet<string> = new Set(["iptables", "nftables", "ipvs"]);
const SIGNS: Readonly<Record<CheckRow["result"], string>> = { ok: "✓", failed: "✗", skipped: "-" };
const FULL = 0.9;
const MAX_EXIT_CODE = 99;
