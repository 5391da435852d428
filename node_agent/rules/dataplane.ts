// The data plane as the agent's loop sees it: plans in, reports out. Wiring only; what is wanted is said by desired_ruleset.ts, how it gets
// into the kernel by ruleset_writer.ts. One family's failure never blocks the other.
import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { errorMessage, isAbort, isK3slbError, K3slbError } from "../../core/shared/errors.ts";
import { IP_FAMILIES, type IpFamily } from "../../core/shared/ip.ts";
import { canonicalIp } from "../../core/shared/ip_ranges.ts";
import type { Logger } from "../../core/shared/log.ts";
import { type Clock, SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { type Capabilities, otherPrograms, probeCapabilities } from "../host/capabilities.ts";
import { ConntrackCleaner } from "../host/conntrack.ts";
import { planConntrackCleanup } from "./conntrack_plan.ts";
import type { ApplyReport, ConnectionCount, Dataplane, ForwardingPlan, RepairReport } from "../dataplane_contract.ts";
import type { PortFailure } from "./desired_ruleset.ts";
import { FamilyRules } from "./family_rules.ts";
import { createExec, type Exec } from "../host/exec.ts";
import { findForeignDrops } from "../host/foreign_firewall.ts";
import { createIptables } from "../host/iptables.ts";
import { parseMarkBits } from "./parse_mark_bits.ts";
import type { MarkBits } from "./ruleset.ts";
import { removeEach, RuleSetWriter } from "./ruleset_writer.ts";
import { portName } from "./too_large.ts";

/** What {@linkcode createDataplane} needs. */
export interface DataplaneOptions {
  /** Which backend; `auto`: the one that the kubelet uses. */
  readonly iptablesMode: "auto" | "nft" | "legacy";
  /** As {@linkcode parseMarkBits} reads them. */
  readonly markBits: string;
  /** Where log lines go. */
  readonly log: Logger;
  /**
   * Time, timers and randomness.
   * @default {SYSTEM_CLOCK}
   */
  readonly clock?: Clock;
  /** Ends work in the background; calls have signals of their own. */
  readonly signal?: AbortSignal;
  /**
   * Where the tools and the kernel are.
   * @default this machine
   */
  readonly host?: DataplaneHost;
  /** Time in milliseconds for one run of iptables. */
  readonly timeoutMs?: number;
}

/** The machine whose rules are written. */
export interface DataplaneHost {
  /** Runs the tools. */
  readonly exec: Exec;
  /** Text of a file below `/proc/sys`; `undefined` if there is none. */
  readSysctl(path: string): Promise<string | undefined>;
  /** Addresses of its interfaces. */
  localIps(): Promise<readonly string[]>;
}

/** This machine. */
function localHost(): DataplaneHost {
  return {
    exec: createExec(),
    readSysctl: (path) => Promise.resolve(sysctl(path)),
    localIps: () =>
      Promise.resolve(Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((one) => one.address))),
  };
}

/** Read at once: the kernel answers from memory, and on a busy host each step of a reading beside the loop waits for a processor. */
function sysctl(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, "utf8");
  } catch {
    // A kernel without the setting, or a /proc that hides it: both mean that nobody has set it.
    return undefined;
  }
}

/**
 * Probes the tools and the kernel; changes nothing yet.
 * @throws {K3slbError} codes "mark-bits-invalid", "iptables-missing", "iptables-failed", "iptables-timeout", "iptables-locked"
 */
export async function createDataplane(options: DataplaneOptions): Promise<Dataplane> {
  const marks = parseMarkBits(options.markBits);
  const host = options.host ?? localHost();
  const capabilities = await probeCapabilities(host.exec, {
    mode: options.iptablesMode,
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
    signal: options.signal,
  });
  options.log.info("Forwarding tools found", {
    backend: capabilities.backend,
    reason: capabilities.backendReason,
    families: Object.keys(capabilities.families),
  });
  for (const [family, reason] of Object.entries(capabilities.missing)) {
    options.log.warn(`No ${family} forwarding`, { reason });
  }
  return new KernelDataplane({ ...options, host, marks, capabilities });
}

/** Listing the chains of all tables takes long on a large node, and firewalls of others change seldom. */
const REPAIRS_PER_FOREIGN_LOOK = 12;

const FORWARDING_SYSCTLS = { IPv4: "net/ipv4/ip_forward", IPv6: "net/ipv6/conf/all/forwarding" } as const;

const BRIDGE_SYSCTLS = {
  IPv4: "net/bridge/bridge-nf-call-iptables",
  IPv6: "net/bridge/bridge-nf-call-ip6tables",
} as const;

interface KernelOptions extends DataplaneOptions {
  readonly host: DataplaneHost;
  readonly marks: MarkBits;
  readonly capabilities: Capabilities;
}

interface Family {
  readonly family: IpFamily;
  readonly rules: FamilyRules;
}

class KernelDataplane implements Dataplane {
  readonly backend: string;
  readonly #options: KernelOptions;
  readonly #families: readonly Family[];
  readonly #conntrack: ConntrackCleaner;
  /** The plan of each family's rules in the kernel, whose flows may be in connection tracking. */
  readonly #plans = new Map<IpFamily, ForwardingPlan>();
  #triedOtherBackend = false;
  #sweptOtherBackend = false;
  #repairs = 0;
  #foreignDrops: readonly string[] = [];

  constructor(options: KernelOptions) {
    const { host, log, clock = SYSTEM_CLOCK, signal, capabilities } = options;
    this.#options = options;
    this.backend = capabilities.backend;
    this.#families = IP_FAMILIES.flatMap((family) => {
      const found = capabilities.families[family];
      if (!found) return [];
      const iptables = createIptables(host.exec, found.program, options.timeoutMs);
      const { marks } = options;
      return [{ family, rules: new FamilyRules({ family, iptables, capabilities: found, marks, log, clock }) }];
    });
    this.#conntrack = new ConntrackCleaner({ exec: host.exec, log, clock, signal });
  }

  async remove(signal?: AbortSignal): Promise<readonly string[]> {
    this.#plans.clear();
    return await removeEach([
      ...this.#families.map(({ rules }) => () => rules.kernel.remove(signal)),
      () => this.#removeFromOtherBackend(signal),
    ]);
  }

  async apply(plan: ForwardingPlan, signal?: AbortSignal): Promise<ApplyReport> {
    const families: IpFamily[] = [];
    const failures: PortFailure[] = [];
    const ruleCounts: Partial<Record<IpFamily, number>> = {};
    const localIps = (await this.#options.host.localIps()).flatMap((ip) => canonicalIp(ip) ?? []);
    let chainsWritten = 0;
    const unwritten: NonNullable<ApplyReport["unwritten"]>[number][] = [];
    let firstError: unknown;
    let isWritten = false;
    for (const { family, rules } of this.#families) {
      try {
        const bridgeFilter = (await this.#options.host.readSysctl(BRIDGE_SYSCTLS[family]))?.trim() === "1";
        const written = await rules.write(plan, { bridgeFilter, signal });
        chainsWritten += written.chains;
        isWritten = true;
        families.push(family);
        this.#conntrack.schedule(
          planConntrackCleanup({ family, before: this.#plans.get(family), after: written.plan, localIps }),
        );
        this.#plans.set(family, written.plan);
        failures.push(...written.failures);
        ruleCounts[family] = rules.kernel.ruleCount;
      } catch (error) {
        if (isAbort(error)) throw error;
        firstError ??= error;
        unwritten.push({ family, reason: errorMessage(error) });
        // A table is written as a whole or not at all: what an earlier plan had goes on being served.
        const before = this.#plans.get(family);
        const served = new Set(before?.ports.map(portName));
        if (before) families.push(family);
        failures.push(...failAll(plan, family, errorMessage(error)).filter(({ port }) => !served.has(portName(port))));
        this.#options.log.error(`Cannot write the ${family} rules`, { error: errorMessage(error) });
      }
    }
    if (!isWritten) throw firstError ?? noFamily();
    if (!this.#triedOtherBackend) await this.#sweepOtherBackend(signal);
    return {
      families,
      failures: [...failures, ...this.#missingFamilies(plan)],
      ...(unwritten.length > 0 ? { unwritten } : {}),
      ruleCounts,
      chainsWritten,
    };
  }

  async repair(signal?: AbortSignal): Promise<RepairReport> {
    const repairs: string[] = [];
    const warnings: string[] = [];
    for (const { family, rules } of this.#families) {
      try {
        repairs.push(...await rules.kernel.repair(signal));
      } catch (error) {
        if (!isK3slbError(error)) throw error;
        warnings.push(`Cannot check or repair the ${family} rules: ${error.message}`);
      }
    }
    if (this.#repairs++ % REPAIRS_PER_FOREIGN_LOOK === 0) {
      if (this.#plans.size > 0) await this.#sweepOtherBackend(signal);
      this.#foreignDrops = await findForeignDrops(this.#options.host.exec, signal);
    }
    warnings.push(...this.#foreignDrops, ...await this.#forwardingOff());
    const { warning } = this.#conntrack;
    const remarks = this.#families.flatMap(({ rules }) => rules.kernel.remarks);
    return {
      repairs,
      warnings: warning === undefined ? warnings : [...warnings, warning],
      ...(remarks.length > 0 ? { remarks } : {}),
    };
  }

  async connections(signal?: AbortSignal): Promise<readonly ConnectionCount[]> {
    return (await Promise.all(this.#families.map(({ rules }) => rules.connections(signal)))).flat();
  }

  get deletedFlows(): number {
    return this.#conntrack.deleted;
  }

  /** Families with ports whose packets the kernel keeps to itself. A kernel without the setting has no such family. */
  async #forwardingOff(): Promise<readonly string[]> {
    const warnings: string[] = [];
    for (const [family, plan] of this.#plans) {
      if (!plan.ports.some((port) => port.families.includes(family))) continue;
      const path = FORWARDING_SYSCTLS[family];
      if ((await this.#options.host.readSysctl(path))?.trim() !== "0") continue;
      warnings.push(
        `This node does not forward ${family} packets: run "sysctl -w ${path.replaceAll("/", ".")}=1" on it`,
      );
    }
    return warnings;
  }

  /** A port served in one family only is served, unless the kernel lacks its only family. */
  #missingFamilies(plan: ForwardingPlan): readonly PortFailure[] {
    const here = this.#families.map(({ family }) => family);
    return plan.ports
      .filter((port) => !port.families.some((family) => here.includes(family)))
      .flatMap((port) =>
        port.families.map((family) => ({
          port,
          family,
          reason: this.#options.capabilities.missing[family] ?? `No ${family} here`,
        }))
      );
  }

  /** Rules that an earlier run made with the other backend would still be in force beside ours. Tried until it succeeds. */
  async #sweepOtherBackend(signal: AbortSignal | undefined): Promise<void> {
    if (this.#sweptOtherBackend) return;
    this.#triedOtherBackend = true;
    try {
      const removed = await this.#removeFromOtherBackend(signal);
      this.#sweptOtherBackend = true;
      for (const what of removed) {
        this.#options.log.info("Removed what an earlier run left in the other backend", { what });
      }
    } catch (error) {
      if (!isK3slbError(error)) throw error;
      this.#options.log.warn("Cannot check for rules in the other backend; it is tried again", {
        error: error.message,
      });
    }
  }

  async #removeFromOtherBackend(signal: AbortSignal | undefined): Promise<readonly string[]> {
    const { host, capabilities, log } = this.#options;
    const removed: string[] = [];
    for (const program of await otherPrograms(host.exec, capabilities.backend, signal)) {
      // Only existing tables are read: asking the legacy tools for a table by name would create it.
      const saved = await host.exec.run(`${program.name}-save`, [], {
        timeoutMs: 30_000,
        signal,
      });
      if (saved.code !== 0 || !saved.stdout.includes(":K3SLB-")) continue;
      removed.push(...await new RuleSetWriter(createIptables(host.exec, program), log).remove(signal));
    }
    return removed;
  }
}

function failAll(plan: ForwardingPlan, family: IpFamily, reason: string): readonly PortFailure[] {
  return plan.ports.filter((port) => port.families.includes(family)).map((port) => ({ port, family, reason }));
}

function noFamily(): K3slbError {
  return new K3slbError("Cannot program forwarding rules: no address family is available", {
    code: "iptables-failed",
    hint: "See the start of the log for what was tried",
  });
}
