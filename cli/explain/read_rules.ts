// The rules and addresses of this machine, for `explain`: read, never written. Adapter.
import { networkInterfaces } from "node:os";
import process from "node:process";
import { errorMessage, isK3slbError } from "../../core/shared/errors.ts";
import { IP_FAMILIES, type IpFamily } from "../../core/shared/ip.ts";
import { canonicalIp } from "../../core/shared/ip_ranges.ts";
import type { Exec } from "../../node_agent/host/exec.ts";
import type { Backend } from "../../node_agent/host/iptables.ts";
import { SERVICES_CHAIN } from "../../node_agent/rules/desired_chain_names.ts";
import { type TracedRules, tracedRules } from "../../node_agent/rules/trace_packet.ts";

/** Our rules by family, or why they are not known. */
export type ReadRules =
  | { readonly backend: Backend; readonly rules: Readonly<Partial<Record<IpFamily, TracedRules>>> }
  | { readonly unknown: string };

/** The rules that an agent has written on this machine, in whichever back end they are. Throws only if `signal` is aborted. */
export async function readRules(
  exec: Exec,
  { signal, isRoot = process.getuid?.() === 0 }: { readonly signal: AbortSignal; readonly isRoot?: boolean },
): Promise<ReadRules> {
  const refusals: string[] = [];
  for (const tool of ["iptables-nft-save", "iptables-legacy-save", "iptables-save"]) {
    const saved = await Promise.all(
      IP_FAMILIES.map(async (family) => ({ family, ...await save(exec, tool, family, signal) })),
    );
    const ours = saved.filter(({ text = "" }) => text.includes(`:${SERVICES_CHAIN} `));
    if (ours.length > 0) {
      try {
        return {
          backend: ours.some(({ text = "" }) => text.includes("(nf_tables)")) ? "nft" : "legacy",
          rules: Object.fromEntries(ours.map(({ family, text = "" }) => [family, tracedRules(text)])),
        };
      } catch (error) {
        return { unknown: `the rules of this machine are not as this program writes them: ${errorMessage(error)}` };
      }
    }
    refusals.push(...saved.flatMap(({ refusal }) => refusal ?? []));
  }
  const [refusal] = refusals;
  // Some tools show others nothing, and call it well.
  if (!isRoot) return { unknown: `only root may read the rules${refusal === undefined ? "" : ` (${refusal})`}` };
  return { unknown: refusal ?? "no agent has written rules on this machine" };
}

/** Addresses of this machine, in canonical form; none where a sandbox hides them. */
export function localIps(): readonly string[] {
  try {
    return Object.values(networkInterfaces()).flatMap((list) =>
      (list ?? []).flatMap(({ address }) => canonicalIp(address) ?? [])
    );
  } catch {
    return [];
  }
}

/** All tables that exist: asking the legacy tools for one by its name would make it. Nothing for a tool that is missing. */
async function save(
  exec: Exec,
  tool: string,
  family: IpFamily,
  signal: AbortSignal,
): Promise<{ readonly text?: string; readonly refusal?: string }> {
  const command = family === "IPv4" ? tool : tool.replace("iptables", "ip6tables");
  try {
    const { code, stdout, stderr } = await exec.run(command, [], { timeoutMs: TIMEOUT_MS, signal });
    if (code === 0) return { text: stdout };
    return { refusal: `${command}: ${stderr.trim().split("\n")[0] || `exit code ${code}`}` };
  } catch (error) {
    signal.throwIfAborted();
    return isK3slbError(error, "command-missing") ? {} : { refusal: errorMessage(error) };
  }
}

/** A table of tens of thousands of rules, beside a large kube-proxy, takes seconds. */
const TIMEOUT_MS = 10_000;
