// One address family's part of a plan, from wanted rules to the kernel. What one Service asks for must not keep the others' rules out: after
// a failure the largest are left out for a while, and named.
import { isK3slbError } from "../../core/shared/errors.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import type { Logger } from "../../core/shared/log.ts";
import type { Clock } from "../../core/runtime/clock.ts";
import type { ConnectionCount, ForwardedPort, ForwardingPlan } from "../dataplane_contract.ts";
import type { FamilyCapabilities } from "../host/capabilities.ts";
import type { Iptables } from "../host/iptables.ts";
import { countConnections } from "./connection_counts.ts";
import { BUCKET_PREFIX, SERVICES_CHAIN } from "./desired_chain_names.ts";
import { desiredRuleSet, type PortFailure, type PortRules } from "./desired_ruleset.ts";
import { lineTarget } from "./render_rule.ts";
import type { MarkBits } from "./ruleset.ts";
import { RuleSetWriter } from "./ruleset_writer.ts";
import { largestServices, serviceName } from "./too_large.ts";

/** What {@linkcode FamilyRules} needs. */
export interface FamilyRulesOptions {
  readonly family: IpFamily;
  readonly iptables: Iptables;
  readonly capabilities: FamilyCapabilities;
  readonly marks: MarkBits;
  readonly log: Logger;
  readonly clock: Clock;
}

/** What the kernel has of one family after a write. */
export interface FamilyWrite {
  readonly chains: number;
  /** The plan without what was left out. */
  readonly plan: ForwardingPlan;
  readonly failures: readonly PortFailure[];
}

/** Trying costs the others the time of a failure, so it comes seldom. */
const LEFT_OUT_MS = 600_000;

/** Writes one family's rules. Calls are made one at a time. */
export class FamilyRules {
  /** The rules in the kernel: checks, repairs, counts and removes them. */
  readonly kernel: RuleSetWriter;
  readonly #options: FamilyRulesOptions;
  /** What the kernel has rules for. */
  #ports: readonly ForwardedPort[] = [];
  readonly #memo = new PortMemo<PortRules>();
  /** Services that are left out, why, and until when (monotonic). */
  readonly #leftOut = new Map<string, { readonly reason: string; readonly untilMs: number }>();

  constructor(options: FamilyRulesOptions) {
    this.#options = options;
    this.kernel = new RuleSetWriter(options.iptables, options.log);
  }

  /**
   * Writes what `plan` asks of this family, as a whole or without the largest Services.
   * @throws {K3slbError} as {@linkcode RuleSetWriter.write}, if size is not why it fails
   */
  async write(
    plan: ForwardingPlan,
    { bridgeFilter, signal }: { readonly bridgeFilter: boolean; readonly signal?: AbortSignal | undefined },
  ): Promise<FamilyWrite> {
    const { family, marks, capabilities } = this.#options;
    const asked = plan.ports.filter((port) => port.families.includes(family));
    this.#takeBack(new Set(asked.map(serviceName)));
    while (true) {
      const served = { ...plan, ports: plan.ports.filter((port) => !this.#leftOut.has(serviceName(port))) };
      const wanted = this.#memo.ruleSet((remember) =>
        desiredRuleSet(served, family, { marks, features: { ...capabilities, bridgeFilter }, remember })
      );
      try {
        const chains = await this.kernel.write(wanted.ruleSet, signal);
        this.#ports = served.ports;
        const missing = asked.flatMap((port) => {
          const reason = this.#leftOut.get(serviceName(port))?.reason;
          return reason === undefined ? [] : [{ port, family, reason }];
        });
        return { chains, plan: served, failures: [...wanted.failures, ...missing] };
      } catch (error) {
        if (!isK3slbError(error, "iptables-timeout") && !isK3slbError(error, "iptables-failed")) throw error;
        if (!this.#leaveOutLargest(served, error.message)) throw error;
      }
    }
  }

  /** Connections that each port in the kernel has taken up. */
  async connections(signal?: AbortSignal): Promise<readonly ConnectionCount[]> {
    const { family, iptables } = this.#options;
    const lines = [...await iptables.listCounters("nat", SERVICES_CHAIN, signal) ?? []];
    for (const chain of lines.map(lineTarget).filter((target) => target.startsWith(BUCKET_PREFIX))) {
      lines.push(...await iptables.listCounters("nat", chain, signal) ?? []);
    }
    return countConnections(this.#ports, family, lines);
  }

  /** Forgets those whose time is up, and those that ask for nothing any more. */
  #takeBack(asking: ReadonlySet<string>): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [name, { untilMs }] of this.#leftOut) {
      if (nowMs >= untilMs || !asking.has(name)) this.#leftOut.delete(name);
    }
  }

  #leaveOutLargest({ ports }: ForwardingPlan, why: string): boolean {
    const { family, log, clock } = this.#options;
    const largest = largestServices(ports.filter((port) => port.families.includes(family)));
    for (const [name, rules] of largest) {
      const reason = `Left out, with its ${rules} rules, so that the others are served: ${why}`;
      this.#leftOut.set(name, { reason, untilMs: clock.monotonicMs() + LEFT_OUT_MS });
      log.error(`A Service is left out of the ${family} rules`, { service: name, rules, error: why });
    }
    return largest.size > 0;
  }
}

/**
 * Values by a port's content, so that a write for hundreds of Services costs what changed and not what there is. What a whole rule set
 * did not ask for is forgotten.
 */
export class PortMemo<T> {
  #values: ReadonlyMap<string, T> = new Map();

  /** What `build` makes; the function that it is given calls `compute` where the rule set before had no port with the same content. */
  ruleSet<R>(build: (remember: (port: ForwardedPort, compute: () => T) => T) => R): R {
    const [before, values] = [this.#values, new Map<string, T>()];
    const built = build((port, compute) => {
      const key = JSON.stringify(port);
      const value = values.get(key) ?? before.get(key) ?? compute();
      values.set(key, value);
      return value;
    });
    this.#values = values;
    return built;
  }
}
