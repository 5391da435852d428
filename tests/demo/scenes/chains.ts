// Scene: what a node's kernel has for one Service, as iptables-save prints it. What each chain is for: ARCHITECTURE.md, "The life of a packet".
import type { Cell } from "../render_text.ts";
import { scene } from "../scene.ts";
import { expect } from "../story.ts";
import { targetsOf } from "../stage.ts";

interface RuleGroup {
  readonly about: string;
  /** Whether a rule belongs here; a rule is shown in the first group that takes it. */
  readonly takes: (rule: string) => boolean;
}

const NODE = "node1";
const SERVICE = "web";

const GROUPS: readonly RuleGroup[] = [
  { about: "all that k3slb has in the kernel's own chains", takes: isHook },
  { about: "the Service's port", takes: (rule) => rule.startsWith("-A K3SLB-SERVICES ") },
  {
    about: "half of the connections to the other node's pod, half to the pod here",
    takes: (rule) => rule.startsWith("-A K3SLB-S-"),
  },
  { about: "to the other node's pod, in this node's name", takes: (rule) => rule.startsWith("-A K3SLB-R-") },
  {
    about: 'marks: "ours"; "in this node\'s name" for connections that start on this node',
    takes: (rule) => rule.startsWith("-A K3SLB-MARK "),
  },
  { about: "on the way out: what is marked gets this node's address", takes: isMasquerade },
];

/** A look at the rules. */
export const CHAINS_SCENE = scene({
  title: `What the kernel of ${NODE} has for "${SERVICE}" (iptables-save -t nat, an excerpt)`,
  act: async ({ world, ns }): Promise<readonly string[]> => {
    const [target] = targetsOf(await ns.service(SERVICE), [world.node(NODE).ip4]);
    const saved = await world.node(NODE).ns.run("iptables-save", ["-t", "nat"]);
    const rules = saved.split("\n").filter((line) => line.startsWith("-A "));
    const dispatch = rules.filter((rule) => rule.includes(`--dport ${target?.port} `));
    const shown = [
      ...rules.filter(isHook),
      ...rules.filter(isMasquerade),
      ...dispatch,
      ...rulesReachedFrom(dispatch, rules),
    ];
    for (const { about, takes } of GROUPS) expect(shown.some(takes), `${NODE} has no rule for "${about}"`);
    return shown;
  },
  show: (rules) => [{
    kind: "listing",
    lines: GROUPS.flatMap(({ about, takes }): readonly Cell[] => [
      { text: `# ${about}`, tone: "faint" },
      ...rules.filter(takes),
    ]),
  }],
});

function isHook(rule: string): boolean {
  return !rule.startsWith("-A K3SLB-") && rule.includes("-j K3SLB-");
}

function isMasquerade(rule: string): boolean {
  return rule.startsWith("-A K3SLB-POSTROUTING ");
}

/** The rules of every chain of ours that `start` leads to. */
function rulesReachedFrom(start: readonly string[], rules: readonly string[]): readonly string[] {
  const chains = new Set<string>();
  let found = start;
  while (found.length > 0) {
    const next = found.flatMap((rule) => /-[jg] (K3SLB-\S+)/.exec(rule)?.[1] ?? []).filter((name) => !chains.has(name));
    for (const name of next) chains.add(name);
    found = rules.filter((rule) => next.some((name) => rule.startsWith(`-A ${name} `)));
  }
  return rules.filter((rule) => [...chains].some((name) => rule.startsWith(`-A ${name} `)));
}
