// What `k3slb check` makes of what the cluster says. Pure.
import { nameList } from "../../core/shared/name_list.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import { failed, type Finding, ok, skipped } from "./finding.ts";
import { type ProgramName, type Right, rightText } from "./rights.ts";

/** What was found in the cluster. */
export interface ClusterFacts {
  /** This host's node, or why it is not known. */
  readonly node: { readonly name: string; readonly families: readonly IpFamily[] } | { readonly failure: string };
  /** Whether Services without a class are taken. */
  readonly takesAll: boolean;
  /** `namespace/name` of DaemonSets and Deployments; absent: they may not be listed. */
  readonly workloads: readonly Workload[] | undefined;
  /** Pools of Cilium's own load balancer; 0 where it has none. */
  readonly ciliumPools: number;
  /** What these credentials may do of what the program does, or why that is not known. */
  readonly rights: { readonly unknown: string } | {
    readonly program: ProgramName;
    readonly asked: number;
    readonly missing: readonly Right[];
    /** Rights that are not there yet, as the first server grants them. */
    readonly later: readonly Right[];
  };
  /** Ports of Services on which a process of this host listens; absent: Services may not be listed. */
  readonly takenPorts: readonly TakenPort[] | undefined;
  /** Versions by who runs them; the program that asks is one. */
  readonly versions: readonly { readonly who: string; readonly version: string }[];
}

/** A port of a Service that a process of the host has. */
export interface TakenPort {
  /** Such as `80/TCP`. */
  readonly port: string;
  readonly service: string;
  readonly holder: string;
}

/** A DaemonSet or Deployment. */
export interface Workload {
  readonly name: string;
  /** Made by a ServiceLB for one Service. */
  readonly isServiceLb: boolean;
  /** Made by this program. */
  readonly isOurs: boolean;
}

/** The checks of the cluster by name; each skipped if nothing is known of it. */
export function clusterChecks(about: ClusterFacts | undefined): readonly (readonly [string, Finding])[] {
  const checks: readonly (readonly [string, (facts: ClusterFacts) => Finding])[] = [
    ["node-name", nodeName],
    ["rights", rights],
    ["taken-ports", takenPorts],
    ["other-load-balancers", otherLoadBalancers],
    ["versions", versions],
  ];
  return checks.map(([name, check]) => [name, about === undefined ? NOT_REACHED : check(about)]);
}

function nodeName({ node }: ClusterFacts): Finding {
  return "failure" in node
    ? failed(node.failure, "run this on a node, or name it with --node-name")
    : ok(`this host is node ${node.name}`);
}

function rights({ rights }: ClusterFacts): Finding {
  if ("unknown" in rights) return skipped(rights.unknown);
  const { program, asked, missing, later } = rights;
  if (missing.length > 0) {
    return failed(
      `these credentials may not: ${nameList(missing.map(rightText), MAX_NAMED)}`,
      program === "server"
        ? "kubectl apply -f deploy/rbac.yaml, or use an administrator's kubeconfig"
        : "use the kubelet's kubeconfig, or the ClusterRole k3slb-agent of deploy/k3slb.yaml; endpointslices are granted by the first server",
    );
  }
  const rest = later.length === 0 ? "" : "; a server grants the rest when it first runs";
  return ok(`all ${asked - later.length} that k3slb ${program} uses${rest}`);
}

function takenPorts({ takenPorts }: ClusterFacts): Finding {
  if (takenPorts === undefined) return skipped("these credentials may not list Services");
  if (takenPorts.length === 0) return ok("no process listens on a Service's port");
  const named = takenPorts.map(({ port, service, holder }) => `${holder} has ${port} of ${service}`);
  return failed(
    `${nameList(named, MAX_NAMED)}: not served here`,
    "end the process or move it to another port, or change the Service's",
  );
}

function otherLoadBalancers({ workloads, takesAll, ciliumPools }: ClusterFacts): Finding {
  if (workloads === undefined) return skipped("these credentials may not list DaemonSets and Deployments");
  const found = new Set(workloads.flatMap((workload) => loadBalancerOf(workload) ?? []));
  if (ciliumPools > 0) found.add("Cilium's LB IPAM");
  if (found.size === 0) return ok("none was found");
  const names = [...found].sort().join(", ");
  if (!takesAll) return ok(`${names}; k3slb takes only Services of its class`);
  return failed(
    `${names} may serve Services without a class, as k3slb does`,
    "remove one of them (K3s: --disable servicelb), or run k3slb server with --lb-default=false",
  );
}

function loadBalancerOf({ name, isServiceLb, isOurs }: Workload): string | undefined {
  if (isServiceLb) return isOurs ? undefined : "K3s ServiceLB";
  const last = name.slice(name.indexOf("/") + 1);
  return KNOWN.find(([pattern]) => pattern.test(last))?.[1];
}

function versions({ versions }: ClusterFacts): Finding {
  const texts = [...Map.groupBy(versions, ({ version }) => version)].map(([version, all]) =>
    `${version} (${nameList(all.map(({ who }) => who), MAX_NAMED)})`
  );
  return texts.length <= 1
    ? ok(texts[0] ?? "unknown")
    : failed(texts.join(", "), "upgrade those that are older; servers first");
}

/** By the names that their own manifests and charts give; kube-vip without its provider serves the control plane alone. */
const KNOWN: readonly (readonly [RegExp, string])[] = [
  [/(^|-)metallb-(controller|speaker)$/, "MetalLB"],
  [/^kube-vip-cloud-provider$/, "kube-vip"],
  [/^(lbnodeagent|purelb-lbnodeagent)$/, "PureLB"],
  [/^openelb-(manager|controller|speaker)$/, "OpenELB"],
];

const NOT_REACHED = skipped("the cluster was not reached");
const MAX_NAMED = 5;
