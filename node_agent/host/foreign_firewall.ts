// Firewalls of others that drop forwarded packets in nft tables of their own. An accept in iptables does not overrule them, so all
// that can be done is to say so. firewalld lets translated packets pass by a rule on `ct status dnat`: that is looked for.
import { isK3slbError } from "../../core/shared/errors.ts";
import type { Exec } from "./exec.ts";

const TIMEOUT_MS = 5_000;

/** Tables that the iptables tools own; rules there are seen and placed by iptables itself. */
const IPTABLES_TABLES: readonly string[] = ["filter", "nat", "mangle", "raw", "security"];

/** One sentence for each foreign chain at the forward hook that ends in a drop. Empty without the `nft` tool. */
export async function findForeignDrops(exec: Exec, signal?: AbortSignal): Promise<readonly string[]> {
  const chains = (await listJson(exec, ["list", "chains"], signal)).flatMap((item) => isForwardChain(item["chain"]));
  const warnings: string[] = [];
  for (const chain of chains) {
    const rules = (await listJson(exec, ["list", "chain", chain.family, chain.table, chain.name], signal))
      .flatMap((item) => item["rule"] ? [JSON.stringify(item["rule"])] : []);
    if (chain.policy !== "drop" && !rules.some(isUnconditionalDrop)) continue;
    if (rules.some((rule) => rule.includes('"status"') && rule.includes('"dnat"') && rule.includes('"accept"'))) {
      continue;
    }
    warnings.push(
      `The nft chain "${chain.family} ${chain.table} ${chain.name}" drops forwarded packets; let "ct status dnat" pass there`,
    );
  }
  return warnings;
}

interface ForwardChain {
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly policy: unknown;
}

function isForwardChain(value: unknown): readonly ForwardChain[] {
  if (typeof value !== "object" || value === null) return [];
  const { family, table, name, hook, policy } = value as Readonly<Record<string, unknown>>;
  if (hook !== "forward" || typeof family !== "string" || typeof table !== "string" || typeof name !== "string") {
    return [];
  }
  if (!["ip", "ip6", "inet"].includes(family)) return [];
  if (family !== "inet" && IPTABLES_TABLES.includes(table)) return [];
  return [{ family, table, name, policy }];
}

/** A rule whose only statements are counters, logs and the verdict. */
function isUnconditionalDrop(rule: string): boolean {
  const { expr } = JSON.parse(rule) as { expr?: readonly Readonly<Record<string, unknown>>[] };
  const names = (expr ?? []).flatMap((statement) => Object.keys(statement));
  return names.some((name) => name === "drop" || name === "reject") && !names.some((name) => name === "match");
}

async function listJson(
  exec: Exec,
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<readonly Readonly<Record<string, unknown>>[]> {
  try {
    const result = await exec.run("nft", ["-j", ...args], { timeoutMs: TIMEOUT_MS, signal });
    if (result.code !== 0) return [];
    return (JSON.parse(result.stdout) as { nftables?: readonly Readonly<Record<string, unknown>>[] }).nftables ?? [];
  } catch (error) {
    if (isK3slbError(error)) return [];
    throw error;
  }
}
