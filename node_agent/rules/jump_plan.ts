// What to change in a built-in chain so that our one rule stands where it must. Pure: reads lines as `iptables -S CHAIN` prints them.
// Order matters: behind kube-proxy's rule a client's address is lost, above kube-router's or Calico's NetworkPolicy would be
// bypassed (both measured).
import type { IpFamily } from "../../core/shared/ip.ts";
import { CHAIN_PREFIX } from "./desired_chain_names.ts";
import { renderRule } from "./render_rule.ts";
import type { Jump, JumpEdit } from "./ruleset.ts";

/** What is wrong with a jump and how it is mended. */
export interface JumpPlan {
  readonly edits: readonly JumpEdit[];
  /** One sentence; absent if nothing is wrong. */
  readonly finding?: string;
}

/** Edits that leave `jump` exactly once and in its place in a chain that now has `lines`. */
export function planJump(jump: Jump, family: IpFamily, lines: readonly string[]): JumpPlan {
  const rules = rulesOf(jump.chain, lines);
  const wanted = renderRule(jump.rule, family);
  const own = rules.flatMap((spec, index) => isOwn(spec) ? [{ spec, index }] : []);
  const rest = rules.filter((spec) => !isOwn(spec));
  const place = rest.findLastIndex((spec) => jump.below.includes(targetOf(spec) ?? "")) + 1;
  const [first] = own;
  if (own.length === 1 && first && first.index === place && sameSpec(first.spec, wanted)) return { edits: [] };
  return {
    edits: [
      ...own.map(({ spec }): JumpEdit => ({ kind: "delete", chain: jump.chain, spec })),
      { kind: "insert", chain: jump.chain, position: place + 1, spec: wanted },
    ],
    finding: findingOf(jump, first === undefined, rules[place]),
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

function targetOf(spec: string): string | undefined {
  return /(?:^| )-j (\S+)/.exec(spec)?.[1];
}

/** Versions of iptables print options in different orders. */
function sameSpec(a: string, b: string): boolean {
  const words = (spec: string): string => spec.split(/\s+/).sort().join(" ");
  return words(a) === words(b);
}

function findingOf(jump: Jump, missing: boolean, inItsPlace: string | undefined): string {
  const name = `jump from ${jump.table} ${jump.chain} to ${targetName(jump)}`;
  if (missing) return `The ${name} was missing`;
  const ahead = inItsPlace === undefined ? undefined : targetOf(inItsPlace);
  return `The ${name} was not in its place${
    ahead === undefined || ahead.startsWith(CHAIN_PREFIX) ? "" : ` (behind ${ahead})`
  }`;
}

function targetName(jump: Jump): string {
  return jump.rule.target.kind === "jump" ? jump.rule.target.chain : jump.rule.target.kind;
}
