// From the counters of the rules that lead to Services to connections of each port. Pure.
// Facts: only the first packet of a connection passes the nat table (iptables(8)), so a rule's packets there are connections, and flows of UDP.
import type { IpFamily } from "../../core/shared/ip.ts";
import type { ConnectionCount, ForwardedPort } from "../dataplane_contract.ts";
import { portChainNames } from "./desired_chain_names.ts";

/** Connections of each of `ports` by `lines`, as `iptables -v -S` prints them; ports without a rule are left out. */
export function countConnections(
  ports: readonly ForwardedPort[],
  family: IpFamily,
  lines: readonly string[],
): readonly ConnectionCount[] {
  const counts = new Map<string, number>();
  for (const line of lines) {
    const { packets, target = "" } = COUNTED_RULE_REGEXP.exec(line)?.groups ?? {};
    if (packets !== undefined) counts.set(target, (counts.get(target) ?? 0) + Number(packets));
  }
  return ports.flatMap((each) => {
    const { namespace, service, protocol, port } = each;
    const chains = portChainNames(each);
    const count = counts.get(chains.ranges) ?? counts.get(chains.service);
    return count === undefined ? [] : [{ namespace, service, protocol, port, family, count }];
  });
}

/** Readings of counters that start anew now and then, summed up. */
export class ConnectionTotals {
  readonly #totals = new Map<string, { readonly total: number; readonly last: ConnectionCount }>();

  /** Adds what came since the last reading; ports that are not in this one are forgotten. */
  note(counts: readonly ConnectionCount[]): void {
    const seen = new Set<string>();
    for (const last of counts) {
      const key = [last.namespace, last.service, last.protocol, last.port, last.family].join(" ");
      const before = this.#totals.get(key);
      const since = before === undefined || last.count < before.last.count
        ? last.count
        : last.count - before.last.count;
      seen.add(key);
      this.#totals.set(key, { total: (before?.total ?? 0) + since, last });
    }
    for (const key of this.#totals.keys()) if (!seen.has(key)) this.#totals.delete(key);
  }

  /** Each port's sum. */
  get totals(): readonly ConnectionCount[] {
    return [...this.#totals.values()].map(({ total, last }) => ({ ...last, count: total }));
  }
}

const COUNTED_RULE_REGEXP = /^-A .* -c (?<packets>\d+) \d+ -j (?<target>\S+)$/;
