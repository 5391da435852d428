// Gathers what `k3slb check` decides on: from /proc, the iptables tools and the API. Changes nothing that stays. Adapter.
import type { KubeClient } from "../../core/kube/contract.ts";
import { isForbidden } from "../../core/kube/errors.ts";
import { DAEMON_SETS, DEPLOYMENTS, NODES } from "../../core/kube/resources.ts";
import type { KubeObject } from "../../core/kube/types.ts";
import { DATAPLANE_LABEL, SERVICE_NAME_LABEL } from "../../core/service/labels.ts";
import { errorMessage, isAbort, isK3slbError } from "../../core/shared/errors.ts";
import { IP_FAMILIES, type IpFamily } from "../../core/shared/ip.ts";
import { ipFamilyOf } from "../../core/shared/ip_ranges.ts";
import { probeCapabilities, type ProbeOptions } from "../../node_agent/host/capabilities.ts";
import type { Exec } from "../../node_agent/host/exec.ts";
import { findForeignDrops } from "../../node_agent/host/foreign_firewall.ts";
import type { ProgramHost } from "../program_host.ts";
import type { ClusterFacts, HostFacts, Workload } from "./checks.ts";

/** What is found on this host. */
export async function readHost(
  { exec, host, mode, signal }: {
    readonly exec: Exec;
    readonly host: Pick<ProgramHost, "readTextFile">;
    readonly mode: ProbeOptions["mode"];
    readonly signal: AbortSignal;
  },
): Promise<HostFacts> {
  const sysctl = async (path: string): Promise<string | undefined> =>
    (await host.readTextFile(`/proc/sys/net/${path}`))?.trim();
  const [nft, legacy] = await Promise.all([countRules(exec, "nft", signal), countRules(exec, "legacy", signal)]);
  return {
    iptables: await readTools(exec, { mode, signal }),
    rules: { ...(nft === undefined ? {} : { nft }), ...(legacy === undefined ? {} : { legacy }) },
    ipForward: await sysctl("ipv4/ip_forward"),
    ipv6Forwarding: await sysctl("ipv6/conf/all/forwarding"),
    conntrackCount: await sysctl("netfilter/nf_conntrack_count"),
    conntrackMax: await sysctl("netfilter/nf_conntrack_max"),
    foreignDrops: await findForeignDrops(exec, signal),
  };
}

async function readTools(exec: Exec, options: ProbeOptions): Promise<HostFacts["iptables"]> {
  try {
    const { backend, families } = await probeCapabilities(exec, options);
    return { backend, families: IP_FAMILIES.filter((family) => families[family] !== undefined) };
  } catch (error) {
    if (!isK3slbError(error)) throw error;
    return { failure: errorMessage(error) };
  }
}

/** Rules of both families; tables are not named, since the legacy tools would make one that is not there. */
async function countRules(exec: Exec, backend: string, signal: AbortSignal): Promise<number | undefined> {
  let count: number | undefined;
  for (const program of ["iptables", "ip6tables"]) {
    try {
      const { code, stdout } = await exec.run(`${program}-${backend}-save`, [], { timeoutMs: TOOL_TIMEOUT_MS, signal });
      if (code === 0) count = (count ?? 0) + (stdout.match(/^-A /gm)?.length ?? 0);
    } catch (error) {
      if (!isK3slbError(error)) throw error;
    }
  }
  return count;
}

/** What is found in the cluster; `findNode` says which node this is. */
export async function readCluster(
  client: KubeClient,
  { findNode, takesAll, signal }: {
    readonly findNode: () => Promise<string>;
    readonly takesAll: boolean;
    readonly signal: AbortSignal;
  },
): Promise<ClusterFacts> {
  await client.raw("GET", "/version", { signal });
  return { node: await readNode(client, findNode, signal), takesAll, workloads: await readWorkloads(client, signal) };
}

async function readNode(
  client: KubeClient,
  findNode: () => Promise<string>,
  signal: AbortSignal,
): Promise<ClusterFacts["node"]> {
  try {
    const name = await findNode();
    const { spec } = await client.get(NODES, { name }, { signal });
    const cidrs = spec?.podCIDRs ?? [];
    const families = cidrs.map((cidr) => ipFamilyOf(cidr.split("/")[0] ?? ""));
    return { name, families: families.filter((family): family is IpFamily => family !== undefined) };
  } catch (error) {
    if (isAbort(error) || !isK3slbError(error)) throw error;
    return { failure: errorMessage(error) };
  }
}

async function readWorkloads(client: KubeClient, signal: AbortSignal): Promise<readonly Workload[] | undefined> {
  const found: Workload[] = [];
  const each = ({ metadata }: KubeObject): void => {
    const labels = metadata?.labels ?? {};
    found.push({
      name: `${metadata?.namespace}/${metadata?.name}`,
      isServiceLb: labels[SERVICE_NAME_LABEL] !== undefined,
      isOurs: labels[DATAPLANE_LABEL] !== undefined,
    });
  };
  try {
    await client.list(DAEMON_SETS, { signal, each });
    await client.list(DEPLOYMENTS, { signal, each });
    return found;
  } catch (error) {
    if (isForbidden(error)) return undefined;
    throw error;
  }
}

const TOOL_TIMEOUT_MS = 10_000;
