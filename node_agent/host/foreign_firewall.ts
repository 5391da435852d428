// Firewalls of others that drop forwarded packets in nft tables of their own. An accept in iptables does not overrule them, so all
// that can be done is to say so. firewalld lets translated packets pass by a rule on `ct status dnat`: that is looked for.
import { isK3slbError } from "../../core/shared/errors.ts";
import type { Exec } from "./exec.ts";

const TIMEOUT_MS = 5_000;

/** Tables that the iptables tools own; rules there are seen and placed by iptables itself. */
const IPTABLES_TABLES: readonly string[] = ["filter", "nat", "mangle", "raw", "security"];

/** One sentence for each foreign chain at the forward hook that drops whatever comes. Empty without the `nft` tool. */
export async function findForeignDrops(exec: Exec, signal?: AbortSignal): Promise<readonly string[]> {
  const chains = (await listJson(exec, ["list", "chains"], signal)).flatMap((item) => isForwardChain(item["chain"]));
  const warnings: string[] = [];
  for (const chain of chains) {
    const { family, table, name, policy } = chain;
    const fate = await fateIn(chain, { exec, signal }) ?? policy;
    if (fate !== "drop") continue;
    warnings.push(
      `The nft chain "${family} ${table} ${name}" drops forwarded packets; let "ct status dnat" pass there`,
    );
  }
  return warnings;
}

type Rule = readonly Readonly<Record<string, unknown>>[];

/** What becomes of a connection's first packet to a pod in a chain and those that every packet goes on to from there; absent: nothing. */
async function fateIn(
  chain: ChainName,
  asking: { readonly exec: Exec; readonly signal: AbortSignal | undefined },
  depth = 0,
): Promise<"drop" | "accept" | undefined> {
  const { family, table, name } = chain;
  const listed = await listJson(asking.exec, ["list", "chain", family, table, name], asking.signal);
  for (const { rule } of listed) {
    const { expr = [] } = (rule ?? {}) as { readonly expr?: Rule };
    if (isAcceptOfTranslated(expr)) return "accept";
    if (!isForAll(expr)) continue;
    const statement = Object.assign({}, ...expr) as Readonly<Record<string, unknown>>;
    if ("drop" in statement || "reject" in statement) return "drop";
    if ("accept" in statement) return "accept";
    const next = (statement["jump"] ?? statement["goto"]) as { readonly target?: string } | undefined;
    // Each chain costs a process, and kube-proxy looks at first packets in several that drop certain ones.
    if (next?.target === undefined || "match" in statement || depth >= MAX_DEPTH) continue;
    const fate = await fateIn({ family, table, name: next.target }, asking, depth + 1);
    if (fate !== undefined || "goto" in statement) return fate;
  }
  return undefined;
}

/** As firewalld has it. */
function isAcceptOfTranslated(expr: Rule): boolean {
  const text = JSON.stringify(expr);
  return text.includes('"status"') && text.includes('"dnat"') && text.includes('"accept"');
}

/** Whether a rule is for every packet, or for every first one of a connection. */
function isForAll(expr: Rule): boolean {
  return expr.every(({ match, vmap }) => vmap === undefined && (match === undefined || isOfNewConnections(match)));
}

function isOfNewConnections(match: unknown): boolean {
  const { op } = match as { readonly op?: unknown };
  return op !== "!=" && /"state".*"new"/.test(JSON.stringify(match));
}

const MAX_DEPTH = 4;

interface ChainName {
  readonly family: string;
  readonly table: string;
  readonly name: string;
}

interface ForwardChain extends ChainName {
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
