// What this node's tools and kernel can do, found out once at start by trying, never by loaded modules (built-in ones are not listed)
// or version numbers. The backend is the one that the kubelet uses: its hint chains say so (as iptables-wrappers does it).
import { errorMessage, isAbort, isK3slbError, K3slbError } from "../../core/shared/errors.ts";
import { IP_FAMILIES, type IpFamily } from "../../core/shared/ip.ts";
import { CHAIN_PREFIX } from "../rules/desired_chain_names.ts";
import type { Exec } from "./exec.ts";
import {
  type Backend,
  createIptables,
  type Iptables,
  IPTABLES_TIMEOUT_MS,
  type IptablesProgram,
  runIptables,
} from "./iptables.ts";

/** What one address family can do. */
export interface FamilyCapabilities {
  readonly program: IptablesProgram;
  readonly randomFully: boolean;
  readonly sctp: boolean;
  readonly recent: boolean;
}

/** What this node can do. Frozen. */
export interface Capabilities {
  readonly backend: Backend;
  /** Why this backend, in a few words. */
  readonly backendReason: string;
  readonly families: Readonly<Partial<Record<IpFamily, FamilyCapabilities>>>;
  /** Why a family is absent. */
  readonly missing: Readonly<Partial<Record<IpFamily, string>>>;
}

/** Options of {@linkcode probeCapabilities}. */
export interface ProbeOptions {
  readonly mode: "auto" | Backend;
  /** @default {IPTABLES_TIMEOUT_MS} */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Tries the tools and the kernel. Leaves nothing behind.
 * @throws {K3slbError} code "iptables-missing" without any tool, "iptables-locked" if others hold the lock for long, else "iptables-failed" or
 * "iptables-timeout" if no family works
 */
export async function probeCapabilities(exec: Exec, options: ProbeOptions): Promise<Capabilities> {
  const probe: Probe = {
    exec,
    timeoutMs: options.timeoutMs ?? IPTABLES_TIMEOUT_MS,
    signal: options.signal,
  };
  const { backend, reason } = await chooseBackend(probe, options.mode);
  const families: Partial<Record<IpFamily, FamilyCapabilities>> = {};
  const missing: Partial<Record<IpFamily, string>> = {};
  let failure: unknown;
  for (const family of IP_FAMILIES) {
    try {
      const name = await programName(probe, family, backend);
      families[family] = Object.freeze(await whileLocked(() => probeFamily(probe, { family, backend, name })));
    } catch (error) {
      // What a lock hides is there: a family that counts as missing stays so for as long as this program runs.
      if (isAbort(error) || isK3slbError(error, "iptables-locked")) throw error;
      failure ??= error;
      missing[family] = errorMessage(error);
    }
  }
  if (Object.keys(families).length === 0) throw failure;
  return Object.freeze({
    backend,
    backendReason: reason,
    families: Object.freeze(families),
    missing: Object.freeze(missing),
  });
}

/** The backends other than `backend` whose tools are there, for finding what an earlier run left in them. */
export async function otherPrograms(
  exec: Exec,
  backend: Backend,
  signal?: AbortSignal,
): Promise<readonly IptablesProgram[]> {
  const other: Backend = backend === "nft" ? "legacy" : "nft";
  const found: IptablesProgram[] = [];
  for (const family of IP_FAMILIES) {
    const name = `${baseName(family)}-${other}`;
    if (await versionOf({ exec, timeoutMs: IPTABLES_TIMEOUT_MS, signal }, name) !== undefined) {
      found.push({ family, backend: other, name });
    }
  }
  return found;
}

interface Probe {
  readonly exec: Exec;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

async function chooseBackend(probe: Probe, mode: "auto" | Backend): Promise<{ backend: Backend; reason: string }> {
  if (mode !== "auto") return { backend: mode, reason: "chosen by option" };
  const seen = new Map<Backend, { hinted: boolean; rules: number }>();
  for (const backend of ["nft", "legacy"] as const) {
    const found = await inspectBackend(probe, backend);
    if (found) seen.set(backend, found);
  }
  const hinted = [...seen].filter(([, found]) => found.hinted);
  if (hinted[0]) return { backend: hinted[0][0], reason: "the kubelet's hint chain is there" };
  const [nft, legacy] = [seen.get("nft"), seen.get("legacy")];
  if ((legacy?.rules ?? 0) > (nft?.rules ?? 0)) return { backend: "legacy", reason: "most rules are there" };
  if ((nft?.rules ?? 0) > 0) return { backend: "nft", reason: "most rules are there" };
  const version = await versionOf(probe, "iptables") ?? await versionOf(probe, "ip6tables");
  if (version) return { backend: version, reason: "the system's default" };
  if (nft) return { backend: "nft", reason: "the only tools" };
  if (legacy) return { backend: "legacy", reason: "the only tools" };
  throw new K3slbError('Cannot program forwarding rules: "iptables" is not installed', {
    code: "iptables-missing",
    hint: 'Install the package "iptables" on this node',
  });
}

/** Only existing tables are read: asking the legacy tools for a table by name would create it. */
async function inspectBackend(probe: Probe, backend: Backend): Promise<{ hinted: boolean; rules: number } | undefined> {
  let found: { hinted: boolean; rules: number } | undefined;
  for (const family of IP_FAMILIES) {
    const command = `${baseName(family)}-${backend}-save`;
    const text = await output(probe, command, backend === "nft" ? ["-t", "mangle"] : []);
    if (text === undefined) continue;
    found = {
      hinted: (found?.hinted ?? false) || /^:(KUBE-IPTABLES-HINT|KUBE-KUBELET-CANARY) /m.test(text),
      rules: (found?.rules ?? 0) + (text.match(/^-A /gm)?.length ?? 0),
    };
  }
  return found;
}

async function programName(probe: Probe, family: IpFamily, backend: Backend): Promise<string> {
  const plain = baseName(family);
  for (const name of [`${plain}-${backend}`, plain]) if (await versionOf(probe, name) === backend) return name;
  throw new K3slbError(`Cannot program ${family} rules: no "${plain}" with the ${backend} backend is installed`, {
    code: "iptables-missing",
    hint: `Install the package "iptables" on this node, or choose another backend with --iptables-mode`,
  });
}

/** Backend of the tool `name`, `undefined` if there is none. Versions before 1.8 know legacy only and name no backend. */
async function versionOf(probe: Probe, name: string): Promise<Backend | undefined> {
  const text = await output(probe, name, ["--version"]);
  if (text === undefined) return undefined;
  return text.includes("(nf_tables)") ? "nft" : "legacy";
}

/** The tools wait for the lock by themselves, some seconds each time. At a node's start others may hold it for longer. */
async function whileLocked<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1;; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt >= LOCK_TRIES || !isK3slbError(error, "iptables-locked")) throw error;
    }
  }
}

const LOCK_TRIES = 6;

async function probeFamily(probe: Probe, program: IptablesProgram): Promise<FamilyCapabilities> {
  const iptables = createIptables(probe.exec, program, probe.timeoutMs);
  const ip = program.family === "IPv4" ? "192.0.0.8:1" : "[100::1]:1";
  const rules = {
    randomFully: "-j MASQUERADE --random-fully",
    sctp: `-p sctp -m sctp --dport 1 -j DNAT --to-destination ${ip}`,
    recent: "-m recent --rcheck --seconds 1 --reap --name K3SLB-PROBE --rsource",
  };
  // What every kernel must have comes first, so that its failure is told apart.
  await tryRules(iptables, [
    "-m addrtype --dst-type LOCAL -m mark --mark 0x1/0x1 -m statistic --mode random --probability 0.5 -j MASQUERADE",
  ], probe.signal);
  const able = async (rule: string): Promise<boolean> => {
    try {
      await tryRules(iptables, [rule], probe.signal);
      return true;
    } catch (error) {
      if (isK3slbError(error, "iptables-failed")) return false;
      throw error;
    }
  };
  if (await able(Object.values(rules).join("\n"))) return { program, randomFully: true, sctp: true, recent: true };
  return {
    program,
    randomFully: await able(rules.randomFully),
    sctp: await able(rules.sctp),
    recent: await able(rules.recent),
  };
}

/** Puts rules into a chain that nothing jumps to, and removes it. Two runs: made and removed in one, the kernel would never see them. */
async function tryRules(iptables: Iptables, rules: readonly string[], signal?: AbortSignal): Promise<void> {
  const chain = `${CHAIN_PREFIX}PROBE`;
  const added = rules.flatMap((rule) => rule.split("\n")).map((rule) => `-A ${chain} ${rule}`);
  await iptables.restore(["*nat", `:${chain} - [0:0]`, ...added, "COMMIT", ""].join("\n"), signal);
  await iptables.restore(["*nat", `:${chain} - [0:0]`, `-X ${chain}`, "COMMIT", ""].join("\n"), signal);
}

/** Output of a tool; `undefined` if it is missing or fails. */
async function output(probe: Probe, command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { exec, ...options } = probe;
    const result = await runIptables(exec, { command, args, ...options });
    return result.code === 0 ? result.stdout : undefined;
  } catch (error) {
    if (isK3slbError(error, "iptables-missing")) return undefined;
    throw error;
  }
}

function baseName(family: IpFamily): string {
  return family === "IPv4" ? "iptables" : "ip6tables";
}
