// Where a rule sends packets, as one short text that is the same for a rule as a value and for its line in `iptables -S`. Pure.
// Whole lines can't be compared: versions of the tools print options, masks and chances in ways of their own.
import { canonicalIp } from "../../core/shared/ip_ranges.ts";
import { renderRule } from "./render_rule.ts";
import type { Rule } from "./ruleset.ts";

/** Target of a rule: a chain, a verdict, or DNAT with its destination. */
export function ruleTarget(rule: Rule): string {
  return lineTarget(renderRule({ match: {}, target: rule.target }, "IPv4"));
}

/** Target of a line as `iptables -S` prints it. */
export function lineTarget(line: string): string {
  const target = /(?:^| )-j (\S+)/.exec(line)?.[1] ?? "";
  const [, ip, port] = / --to-destination \[?([^\]\s]+?)\]?:(\d+)(?: |$)/.exec(line) ?? [];
  return ip === undefined ? target : `${target} ${canonicalIp(ip) ?? ip} ${port}`;
}
