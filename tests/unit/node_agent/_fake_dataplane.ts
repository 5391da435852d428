// A kernel in memory: what it has follows from what was applied, and it can refuse, lose rules and lack a family.
import type {
  ApplyReport,
  ConnectionCount,
  Dataplane,
  ForwardingPlan,
  RepairReport,
} from "../../../node_agent/dataplane_contract.ts";
import type { IpFamily } from "../../../core/shared/ip.ts";

/** The fake and what tests may do to it. */
export class FakeDataplane implements Dataplane {
  readonly backend = "nft";
  families: readonly IpFamily[] = ["IPv4", "IPv6"];
  /** Thrown by the next applies, one each. */
  readonly errors: Error[] = [];
  /** Thrown by each apply. */
  broken: Error | undefined;
  warnings: readonly string[] = [];
  failures: ApplyReport["failures"] = [];
  /** What the kernel forwards; `undefined` as long as nobody has ever applied. */
  plan: ForwardingPlan | undefined;
  /** Someone else removed the rules. */
  flushed = false;
  applies = 0;
  /** Told each plan that the kernel now has. */
  onApply: ((plan: ForwardingPlan) => void) | undefined;
  /** Called while rules that were lost are put back. */
  onMend: (() => void) | undefined;
  #busy = false;

  async apply(plan: ForwardingPlan): Promise<ApplyReport> {
    await this.#alone();
    this.applies++;
    const error = this.broken ?? this.errors.shift();
    if (error) throw error;
    const isNew = JSON.stringify(plan) !== JSON.stringify(this.plan);
    this.plan = structuredClone(plan);
    this.flushed = false;
    this.onApply?.(plan);
    return {
      families: this.families,
      failures: this.failures,
      ruleCounts: Object.fromEntries(this.families.map((family) => [family, plan.ports.length * 2])),
      chainsWritten: isNew ? plan.ports.length + 1 : 0,
    };
  }

  async repair(): Promise<RepairReport> {
    await this.#alone();
    const repairs = this.flushed ? ["Put back the jump from PREROUTING"] : [];
    if (this.flushed) this.onMend?.();
    this.flushed = false;
    return { repairs, warnings: this.warnings };
  }

  /** Counts given at the next readings; by port in the order of the plan. */
  counters: readonly number[] = [];
  deletedFlows = 0;

  connections(): Promise<readonly ConnectionCount[]> {
    const ports = this.plan?.ports ?? [];
    return Promise.resolve(
      ports.map(({ namespace, service, protocol, port }, index) => ({
        ...{ namespace, service, protocol, port },
        family: "IPv4",
        count: this.counters[index] ?? 0,
      })),
    );
  }

  async remove(): Promise<readonly string[]> {
    await this.#alone();
    const had = this.plan !== undefined;
    this.plan = undefined;
    return had ? ["Removed 3 chains"] : [];
  }

  /** The contract: calls are made one at a time. */
  async #alone(): Promise<void> {
    if (this.#busy) throw new TypeError("Two calls at a time");
    this.#busy = true;
    await Promise.resolve();
    this.#busy = false;
  }
}
