// Gathers what `k3slb check` decides on of this host: from /proc, the iptables tools and kube-proxy. Changes nothing that stays. Adapter.
import { get } from "node:http";
import { errorMessage, isK3slbError } from "../../core/shared/errors.ts";
import { IP_FAMILIES } from "../../core/shared/ip.ts";
import { visibleLine } from "../../core/shared/visible_text.ts";
import { probeCapabilities, type ProbeOptions } from "../../node_agent/host/capabilities.ts";
import type { Exec } from "../../node_agent/host/exec.ts";
import { findForeignDrops } from "../../node_agent/host/foreign_firewall.ts";
import type { ProgramHost } from "../program_host.ts";
import type { HostFacts } from "./checks.ts";

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
    bridgeNetfilter: await sysctl("bridge/bridge-nf-call-iptables"),
    kubeProxyMode: await readKubeProxyMode(signal),
    foreignDrops: await findForeignDrops(exec, signal),
  };
}

/** kube-proxy's own answer, on its usual address. Not by `fetch`, which asks a proxy that the environment names. */
function readKubeProxyMode(signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const asked = get(KUBE_PROXY_MODE_URL, { signal, timeout: KUBE_PROXY_TIMEOUT_MS }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part: string) => text = (text + part).slice(0, MAX_MODE_LENGTH));
      answer.on("end", () => resolve(answer.statusCode === 200 ? visibleLine(text.trim()) : undefined));
    });
    asked.on("timeout", () => asked.destroy());
    // Nobody there is an answer too.
    asked.on("error", () => resolve(undefined));
  });
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

const TOOL_TIMEOUT_MS = 10_000;
const KUBE_PROXY_TIMEOUT_MS = 1_000;
const KUBE_PROXY_MODE_URL = "http://127.0.0.1:10249/proxyMode";
const MAX_MODE_LENGTH = 40;
