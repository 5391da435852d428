// What to change in a built-in chain so that our one rule stands where it must. Pure: reads lines as `iptables -S CHAIN` prints them.
// Order matters: behind kube-proxy's rule a client's address is lost, above kube-router's or Calico's NetworkPolicy would be
// bypassed (both measured).
import type { IpFamily } from "../../core/shared/ip.ts";
import { CHAIN_PREFIX } from "./desired_chain_names.ts";
import { type ForeignChains, forwardPlaces, forwardRemarks, targetOf } from "./forward_chain.ts";
import { renderRule } from "./render_rule.ts";
import type { Jump, JumpEdit } from "./ruleset.ts";

/** What is wrong with a jump and how it is repaired. */
export interface JumpPlan {
  readonly edits: readonly JumpEdit[];
  /** One sentence; absent if nothing is wrong. */
  readonly finding?: string;
  /** What an operator should know of FORWARD once the edits are made; absent for other chains. */
  readonly remarks?: readonly string[];
}

/**
 * Edits that leave `jump` exactly once and in its place in a chain that now has `lines`. In FORWARD what others put before it stays there,
 * unless it drops everything; `chains` are those that {@linkcode foreignTargets} names.
 */
export function planJump(
  jump: Jump,
  family: IpFamily,
  lines: readonly string[],
  chains: ForeignChains = new Map(),
): JumpPlan {
  const rules = rulesOf(jump.chain, lines);
  const wanted = renderRule(jump.rule, family);
  const own = rules.flatMap((spec, index) => isOwn(spec) ? [{ spec, index }] : []);
  const rest = rules.filter((spec) => !isOwn(spec));
  const policy = rest.findLastIndex((spec) => jump.below.includes(targetOf(spec) ?? "")) + 1;
  const isForward = jump.chain === "FORWARD";
  const places = isForward ? forwardPlaces(rest, chains) : { first: 0, last: 0 };
  // A network policy that is never asked is worse than a Service that is not served.
  const first = Math.max(policy, Math.min(places.first, places.last));
  const last = Math.max(policy, places.last);
  const [found] = own;
  const isInPlace = own.length === 1 && found !== undefined && found.index >= first && found.index <= last &&
    sameSpec(found.spec, wanted);
  const place = found === undefined ? first : Math.min(Math.max(found.index, first), last);
  const said = isForward ? { remarks: forwardRemarks(rest, chains, place) } : {};
  if (isInPlace) return { edits: [], ...said };
  return {
    edits: [
      ...own.map(({ spec }): JumpEdit => ({ kind: "delete", chain: jump.chain, spec })),
      { kind: "insert", chain: jump.chain, position: place + 1, spec: wanted },
    ],
    finding: found === undefined
      ? `The ${nameOf(jump)} was missing`
      : `The ${nameOf(jump)} was not in its place${relation(found.index, place, rest)}`,
    ...said,
  };
}

/** Edits that take every rule of ours out of a built-in chain that now has `lines`. */
export function planUnhook(chain: Jump["chain"], lines: readonly string[]): readonly JumpEdit[] {
  return rulesOf(chain, lines).filter(isOwn).map((spec) => ({ kind: "delete", chain, spec }));
}

function rulesOf(chain: string, lines: readonly string[]): readonly string[] {
  const prefix = `-A ${chain} `;
  return lines.filter((line) => line.startsWith(prefix)).map((line) => line.slice(prefix.length).trim());
}

function isOwn(spec: string): boolean {
  return targetOf(spec)?.startsWith(CHAIN_PREFIX) ?? false;
}

/** Versions of iptables print options in different orders. */
function sameSpec(a: string, b: string): boolean {
  const words = (spec: string): string => spec.split(/\s+/).sort().join(" ");
  return words(a) === words(b);
}

function nameOf(jump: Jump): string {
  return `jump from ${jump.table} ${jump.chain} to ${targetName(jump)}`;
}

/** What the jump, with `index` rules of others before it, was behind or before by mistake. */
function relation(index: number, place: number, others: readonly string[]): string {
  if (index === place) return "";
  const other = targetOf(others[index > place ? place : place - 1] ?? "");
  return other === undefined ? "" : ` (${index > place ? "behind" : "before"} ${other})`;
}

function targetName(jump: Jump): string {
  return jump.rule.target.kind === "jump" ? jump.rule.target.chain : jump.rule.target.kind;
}
