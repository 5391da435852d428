// Which forward chains of others drop whatever comes, from nft's own JSON.
import { deepEqual } from "node:assert/strict";
import type { Exec } from "../../../../node_agent/host/exec.ts";
import { findForeignDrops } from "../../../../node_agent/host/foreign_firewall.ts";

type Rule = readonly Readonly<Record<string, unknown>>[];

const DROP: Rule = [{ counter: { packets: 0, bytes: 0 } }, { drop: null }];
const REJECT: Rule = [{ reject: { type: "icmpx", expr: "port-unreachable" } }];
const ACCEPT: Rule = [{ accept: null }];
const to = (target: string): Rule => [{ jump: { target } }];
const state = (right: unknown, op = "in"): Rule => [{ match: { op, left: { ct: { key: "state" } }, right } }];
const TRANSLATED: Rule = [{ match: { op: "in", left: { ct: { key: "status" } }, right: "dnat" } }, { accept: null }];
const OF_ONE: Rule = [{ match: { op: "==", left: { meta: { key: "iifname" } }, right: "eth9" } }, { drop: null }];
const INVALID: Rule = [{ vmap: { key: { ct: { key: "state" } }, data: { set: [["invalid", { drop: null }]] } } }];

interface Table {
  readonly name: string;
  readonly policy?: string;
  readonly rules: readonly Rule[];
  readonly chains?: Readonly<Record<string, readonly Rule[]>>;
  readonly drops: boolean;
}

const TABLES: readonly Table[] = [
  { name: "an empty chain", rules: [], drops: false },
  { name: "a policy", policy: "drop", rules: [], drops: true },
  { name: "a policy, and all accepted before", policy: "drop", rules: [ACCEPT], drops: false },
  { name: "a bare drop", rules: [DROP], drops: true },
  { name: "a reject", rules: [OF_ONE, REJECT], drops: true },
  { name: "all but first packets", rules: [[...state("new", "!="), ...DROP]], drops: false },
  { name: "certain packets", rules: [OF_ONE, INVALID], drops: false },
  { name: "all first packets", rules: [[...state("established"), ...ACCEPT], [...state("new"), ...DROP]], drops: true },
  {
    name: "all but known ones, by a set",
    rules: [[...state({ set: ["new", "untracked"] }, "=="), ...DROP]],
    drops: true,
  },
  {
    name: "a chain that drops all",
    rules: [to("some"), to("rest")],
    chains: { some: [OF_ONE], rest: [DROP] },
    drops: true,
  },
  { name: "two chains deep", rules: [to("a")], chains: { a: [to("b")], b: [REJECT] }, drops: true },
  {
    name: "a chain that is left again",
    rules: [[{ goto: { target: "some" } }], DROP],
    chains: { some: [OF_ONE] },
    drops: false,
  },
  { name: "a chain for some", rules: [[...OF_ONE.slice(0, 1), ...to("rest")]], chains: { rest: [DROP] }, drops: false },
  { name: "translated packets pass before", rules: [TRANSLATED, DROP], drops: false },
  {
    name: "translated packets pass in a chain before",
    rules: [to("a"), DROP],
    chains: { a: [TRANSLATED] },
    drops: false,
  },
  { name: "translated packets would pass behind", rules: [DROP, TRANSLATED], drops: true },
  { name: "chains that lead to each other", rules: [to("a")], chains: { a: [to("b")], b: [to("a")] }, drops: false },
];

function execOf({ policy = "accept", rules, chains = {} }: Table): Exec {
  const all: Readonly<Record<string, readonly Rule[]>> = { ...chains, passing: rules };
  const base = { family: "inet", table: "fw", name: "passing", hook: "forward", policy };
  const run: Exec["run"] = (_program, args) => {
    const nftables = args.includes("chains")
      ? [
        { metainfo: {} },
        { chain: base },
        ...Object.keys(chains).map((name) => ({ chain: { ...base, name, hook: undefined } })),
      ]
      : [{ chain: {} }, ...(all[args.at(-1) ?? ""] ?? []).map((expr) => ({ rule: { expr } }))];
    return Promise.resolve({ code: 0, stdout: JSON.stringify({ nftables }), stderr: "" });
  };
  return { run };
}

for (const table of TABLES) {
  Deno.test(`findForeignDrops: ${table.name}`, async () => {
    const want = 'The nft chain "inet fw passing" drops forwarded packets; let "ct status dnat" pass there';
    deepEqual(await findForeignDrops(execOf(table)), table.drops ? [want] : []);
  });
}
