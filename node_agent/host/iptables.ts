// The iptables tools of one backend, as calls: write a restore text, read a chain. Which backend is chosen in capabilities.ts.
// Exit codes are those of iptables(8): 4 is "resource problem", which the legacy tools use for a lock held by another program.
// The tools' English is shown to people and never looked into.
import { isK3slbError, K3slbError } from "../../core/shared/errors.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import type { Exec, ExecOptions, ExecResult } from "./exec.ts";
import type { TableName } from "../rules/ruleset.ts";

/** How rules get into the kernel. */
export type Backend = "nft" | "legacy";

/** One family's tools: `iptables`, `iptables-nft`, `ip6tables-legacy` ... */
export interface IptablesProgram {
  readonly family: IpFamily;
  readonly backend: Backend;
  /** Name without `-restore` and `-save`. */
  readonly name: string;
}

/** Reads and writes tables of one family. */
export interface Iptables {
  readonly program: IptablesProgram;
  /**
   * Feeds `text` to `iptables-restore --noflush`. Nothing is run for an empty text.
   * @throws {K3slbError} code "iptables-missing", "iptables-failed", "iptables-timeout" or "iptables-locked"
   */
  restore(text: string, signal?: AbortSignal): Promise<void>;
  /**
   * Lines of one chain as `iptables -S CHAIN` prints them; `undefined` if there is none.
   * @throws {K3slbError} code "iptables-missing", "iptables-failed", "iptables-timeout" or "iptables-locked"
   */
  listChain(table: string, chain: string, signal?: AbortSignal): Promise<readonly string[] | undefined>;
  /**
   * As {@linkcode listChain}, each rule with its counters, as `iptables -v -S CHAIN` prints them.
   * @throws {K3slbError} as {@linkcode listChain}
   */
  listCounters(table: TableName, chain: string, signal?: AbortSignal): Promise<readonly string[] | undefined>;
  /**
   * Lines of a whole table; slow beside a large kube-proxy.
   * @throws {K3slbError} code "iptables-missing", "iptables-failed" or "iptables-timeout"
   */
  listTable(table: TableName, signal?: AbortSignal): Promise<readonly string[]>;
}

/** Time in milliseconds for one run. */
export const IPTABLES_TIMEOUT_MS = 30_000;

/**
 * Milliseconds more for each line that is written: ten times what 20,000 endpoints beside a large kube-proxy take on a quiet machine
 * (about 2 s).
 */
const TIMEOUT_PER_LINE_MS = 1;

/** Seconds for which the tools wait for the legacy lock. */
const LOCK_WAIT_SECONDS = 5;

const EXIT_NO_CHAIN = 1;
const EXIT_RESOURCE_PROBLEM = 4;

/** The tools of `program`. `timeoutMs` limits one run that writes little; more lines have more time. */
export function createIptables(exec: Exec, program: IptablesProgram, timeoutMs = IPTABLES_TIMEOUT_MS): Iptables {
  const wait = ["-w", String(LOCK_WAIT_SECONDS)];
  const run = (command: string, args: readonly string[], signal?: AbortSignal, stdin?: string): Promise<ExecResult> =>
    runIptables(exec, {
      command,
      args,
      timeoutMs: timeoutMs + (stdin ?? "").split("\n").length * TIMEOUT_PER_LINE_MS,
      stdin,
      signal,
    });
  const listChain = async (args: readonly string[], signal?: AbortSignal): Promise<readonly string[] | undefined> => {
    const result = await run(program.name, [...wait, ...args], signal);
    if (result.code === EXIT_NO_CHAIN) return undefined;
    // A chain that could not be read must not count as empty: jumps would be put in twice or above the network policy.
    if (result.code !== 0) throw exitError(program.name, result, program.backend);
    return lines(result.stdout);
  };
  return {
    program,
    restore: async (text, signal) => {
      if (text === "") return;
      const command = `${program.name}-restore`;
      const result = await run(command, [...wait, "--noflush"], signal, text);
      if (result.code !== 0) throw exitError(command, result, program.backend);
    },
    listChain: (table, chain, signal) => listChain(["-t", table, "-S", chain], signal),
    listCounters: (table, chain, signal) => listChain(["-t", table, "-v", "-S", chain], signal),
    listTable: async (table, signal) => {
      const result = await run(program.name, [...wait, "-t", table, "-S"], signal);
      if (result.code !== 0) throw exitError(program.name, result, program.backend);
      return lines(result.stdout);
    },
  };
}

/** One run of an iptables tool, with failures to start or end turned into this module's errors. */
export async function runIptables(
  exec: Exec,
  run: ExecOptions & { readonly command: string; readonly args: readonly string[] },
): Promise<ExecResult> {
  const { command, args, ...options } = run;
  try {
    return await exec.run(command, args, options);
  } catch (error) {
    throw isK3slbError(error) ? toIptablesError(command, error) : error;
  }
}

function toIptablesError(command: string, cause: K3slbError): K3slbError {
  if (cause.code === "command-missing") {
    return new K3slbError(`Cannot program forwarding rules: "${command}" is not installed`, {
      code: "iptables-missing",
      hint: 'Install the package "iptables" on this node',
      cause,
    });
  }
  if (cause.code === "command-timeout") {
    return new K3slbError(`Cannot program forwarding rules: ${cause.message}`, {
      code: "iptables-timeout",
      hint: "See whether the machine is overloaded or another program holds the firewall's lock (/run/xtables.lock)",
      retriable: true,
      cause,
    });
  }
  return new K3slbError(`Cannot program forwarding rules: ${cause.message}`, {
    code: "iptables-failed",
    hint: cause.hint ?? "See the tool's words above",
    retriable: cause.retriable,
    cause,
  });
}

function exitError(command: string, result: ExecResult, backend: Backend): K3slbError {
  const words = lines(result.stderr).join("; ").slice(0, 500) || "it said nothing";
  const details = { command, exitCode: result.code };
  if (result.code === EXIT_RESOURCE_PROBLEM && backend === "legacy") {
    return new K3slbError(
      `Cannot program forwarding rules: another program holds the firewall's lock ("${command}": ${words})`,
      {
        code: "iptables-locked",
        hint: "Find the program with `fuser /run/xtables.lock`; it is tried again",
        retriable: true,
        details,
      },
    );
  }
  return new K3slbError(`Cannot program forwarding rules: "${command}" exits with ${result.code} (${words})`, {
    code: "iptables-failed",
    hint: "Usually the program does not run as root (CAP_NET_ADMIN), or the kernel lacks a module",
    retriable: true,
    details,
  });
}

function lines(text: string): readonly string[] {
  return text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}
