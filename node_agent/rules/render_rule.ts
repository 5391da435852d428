// One rule as text, spelled as `iptables -S` prints it (order of options, masks, rounding as in iptables 1.8), so that what is written
// and what is read back compare equal. Pure.
import { canonicalIp } from "../../core/shared/ip_ranges.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import type { Match, Rule, Target } from "./ruleset.ts";

/** Unit of the kernel's `statistic` match: a chance of one is this many. */
export const CHANCE_UNITS = 2 ** 31;

/** Chance of `part` in `whole` in the kernel's units. */
export function chanceOf(part: number, whole: number): number {
  return Math.round((part / whole) * CHANCE_UNITS);
}

/** `rule` without its chain, as `iptables -S` prints it. */
export function renderRule(rule: Rule, family: IpFamily): string {
  return [...renderMatch(rule.match, family), ...renderComment(rule.comment), renderTarget(rule.target, family)].join(
    " ",
  );
}

function renderMatch(match: Match, family: IpFamily): readonly string[] {
  const words: string[] = [];
  if (match.source) words.push(`${not(match.source)}-s ${match.source.cidr}`);
  if (match.destination) words.push(`${not(match.destination)}-d ${match.destination.cidr}`);
  const protocol = match.protocol?.toLowerCase();
  if (protocol) words.push(`-p ${protocol}`);
  if (match.destinationPorts) {
    const { from, to } = match.destinationPorts;
    words.push(`-m ${protocol} --dport ${from === to ? from : `${from}:${to}`}`);
  }
  if (match.localSource) words.push("-m addrtype --src-type LOCAL");
  if (match.localDestination) words.push("-m addrtype --dst-type LOCAL");
  if (match.mark) {
    const bit = hex(match.mark.bit);
    words.push(`-m mark ${not(match.mark)}--mark ${bit}/${bit}`);
  }
  if (match.established) words.push("-m conntrack --ctstate RELATED,ESTABLISHED");
  if (match.admitted) words.push("-m conntrack --ctstate DNAT --ctstatus CONFIRMED");
  if (match.chance !== undefined) {
    words.push(`-m statistic --mode random --probability ${(match.chance / CHANCE_UNITS).toFixed(11)}`);
  }
  if (match.recent) words.push(renderRecent(match.recent, family));
  return words;
}

function renderRecent(recent: NonNullable<Match["recent"]>, family: IpFamily): string {
  const action = { set: "--set", check: "--rcheck", update: "--update" }[recent.action];
  const age = recent.seconds === undefined ? "" : ` --seconds ${recent.seconds} --reap`;
  const mask = family === "IPv4" ? "255.255.255.255" : "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  return `-m recent ${action}${age} --name ${recent.list} --mask ${mask} --rsource`;
}

function renderComment(comment: string | undefined): readonly string[] {
  return comment === undefined ? [] : [`-m comment --comment "${comment}"`];
}

function renderTarget(target: Target, family: IpFamily): string {
  switch (target.kind) {
    case "jump":
      return `-j ${target.chain}`;
    case "accept":
    case "return":
    case "drop":
      return `-j ${target.kind.toUpperCase()}`;
    case "reset":
      return "-j REJECT --reject-with tcp-reset";
    case "reject":
      return `-j REJECT --reject-with ${family === "IPv4" ? "icmp" : "icmp6"}-port-unreachable`;
    case "set-mark":
      return `-j MARK --set-xmark ${hex(target.bits)}/${hex(target.bits)}`;
    case "clear-mark":
      return `-j MARK --set-xmark 0x0/${hex(target.bits)}`;
    case "dnat":
      return `-j DNAT --to-destination ${family === "IPv4" ? target.ip : `[${target.ip}]`}:${target.port}`;
    case "masquerade":
      return `-j MASQUERADE${target.randomFully ? " --random-fully" : ""}`;
  }
}

function not(part: { readonly negated?: true }): string {
  return part.negated ? "! " : "";
}

function hex(bits: number): string {
  return `0x${bits.toString(16)}`;
}

/**
 * Where a rule sends packets, the same for a rule as a value and for its line in `iptables -S`: whole lines can't be compared, as versions
 * of the tools print options, masks and chances in ways of their own. A chain, a verdict, or DNAT with its destination.
 */
export function ruleTarget(rule: Rule): string {
  return lineTarget(renderRule({ match: {}, target: rule.target }, "IPv4"));
}

/** Target of a line as `iptables -S` prints it. */
export function lineTarget(line: string): string {
  const target = /(?:^| )-j (\S+)/.exec(line)?.[1] ?? "";
  const [, ip, port] = / --to-destination \[?([^\]\s]+?)\]?:(\d+)(?: |$)/.exec(line) ?? [];
  return ip === undefined ? target : `${target} ${canonicalIp(ip) ?? ip} ${port}`;
}
