// Which nodes may serve, and that the scheduler is told the same.
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Node } from "../../../../core/kube/types.ts";
import { chooseNode, isAllowListMode } from "../../../../core/service/node_selection.ts";
import { readService } from "../../../../core/service/reading.ts";
import { type NodeRequirement, schedulingTerms } from "../../../../core/service_lb/daemonset/scheduling_terms.ts";
import { node, service } from "../service_lb/fixtures.ts";

const ENABLE = "svccontroller.k3s.cattle.io/enablelb";
const POOL = "svccontroller.k3s.cattle.io/lbpool";
const IN_DMZ = "lbpool.svccontroller.k3s.cattle.io/dmz";
const EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers";

interface ChoiceCase {
  readonly name: string;
  readonly given: { readonly nodes: readonly Node[]; readonly pool?: string; readonly honorExcludeLabel?: boolean };
  readonly want: Readonly<Record<string, string>>;
}

const CASES: readonly ChoiceCase[] = [
  {
    name: "takes every Linux node without labels",
    given: { nodes: [node("a"), node("b")] },
    want: { a: "yes", b: "yes" },
  },
  {
    name: "refuses nodes that are not Linux",
    given: { nodes: [node("a", { labels: { "kubernetes.io/os": "windows" } })] },
    want: { a: "NotLinux" },
  },
  {
    name: "keeps to the allow-list as soon as one node has the key",
    given: {
      nodes: [node("a"), node("b", { labels: { [ENABLE]: "true" } }), node("c", { labels: { [ENABLE]: "false" } })],
    },
    want: { a: "NotEnabled", b: "yes", c: "NotEnabled" },
  },
  {
    name: "takes both forms of the pool label, without enablelb anywhere",
    given: {
      pool: "dmz",
      nodes: [
        node("a", { labels: { [POOL]: "dmz" } }),
        node("b", { labels: { [IN_DMZ]: "true", [POOL]: "lan" } }),
        node("c", { labels: { [IN_DMZ]: "false" } }),
        node("d"),
      ],
    },
    want: { a: "yes", b: "yes", c: "NotInPool", d: "NotInPool" },
  },
  {
    name: "wants enablelb beside the pool once a node has it",
    given: {
      pool: "dmz",
      nodes: [node("a", { labels: { [POOL]: "dmz" } }), node("b", { labels: { [POOL]: "dmz", [ENABLE]: "true" } })],
    },
    want: { a: "NotEnabled", b: "yes" },
  },
  {
    name: "ignores upstream's exclude label by default",
    given: { nodes: [node("a", { labels: { [EXCLUDE]: "" } })] },
    want: { a: "yes" },
  },
  {
    name: "honours upstream's exclude label if told to",
    given: { honorExcludeLabel: true, nodes: [node("a", { labels: { [EXCLUDE]: "" } }), node("b")] },
    want: { a: "Excluded", b: "yes" },
  },
  {
    name: "refuses nodes with taints that nothing tolerates",
    given: {
      nodes: [
        node("a", { taints: [{ key: "gpu", value: "yes", effect: "NoSchedule" }] }),
        node("b", { taints: [{ key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" }] }),
        node("c", { taints: [{ key: "node.kubernetes.io/not-ready", effect: "NoExecute" }] }),
        node("d", { taints: [{ key: "gpu", effect: "PreferNoSchedule" }] }),
      ],
    },
    want: { a: "Tainted", b: "yes", c: "yes", d: "yes" },
  },
];

for (const { name, given, want } of CASES) {
  Deno.test(`chooseNode() ${name}`, () => {
    const wish = readService(service(given.pool ? { labels: { [POOL]: given.pool } } : {}));
    const facts = {
      allowList: isAllowListMode(given.nodes),
      honorExcludeLabel: given.honorExcludeLabel ?? false,
    };
    const got = given.nodes.map((each) => {
      const choice = chooseNode(each, wish, facts);
      return [each.metadata?.name, choice.selected ? "yes" : choice.reason];
    });
    assert.deepEqual(Object.fromEntries(got), want);
  });
}

Deno.test("chooseNode() names the missing label", () => {
  const facts = { allowList: false, honorExcludeLabel: false };
  const choice = chooseNode(node("a"), { pool: "dmz", tolerations: [] }, facts);
  assert.equal(choice.selected ? "" : choice.message, `label "${POOL}=dmz" (or "${IN_DMZ}=true") is missing`);
});

Deno.test("schedulingTerms() says to the scheduler what chooseNode() says", () => {
  const label = (...values: string[]): fc.Arbitrary<string | undefined> =>
    fc.option(fc.constantFrom(...values), { nil: undefined });
  const labels = fc.record({
    "kubernetes.io/os": fc.constantFrom("linux", "windows"),
    [ENABLE]: label("true", "false"),
    [POOL]: label("dmz", "lan"),
    [IN_DMZ]: label("true", "false"),
    [EXCLUDE]: label("", "true"),
  });
  const selection = fc.record({ allowList: fc.boolean(), honorExcludeLabel: fc.boolean() });
  fc.assert(fc.property(labels, label("dmz"), selection, fc.boolean(), (labels, pool, facts, without) => {
    const wish = { tolerations: [], ...(pool === undefined ? {} : { pool }) };
    const given = JSON.parse(JSON.stringify(labels)) as Record<string, string>;
    const terms = schedulingTerms({ ...wish, ...facts }, without ? ["other", "a"] : ["other"]);
    const meets = (
      { key, operator, values = [] }: NodeRequirement,
      facts: Readonly<Record<string, string>>,
    ): boolean => {
      if (operator === "In") return values.includes(facts[key] ?? "\0");
      return operator === "NotIn" ? !values.includes(facts[key] ?? "\0") : facts[key] === undefined;
    };
    const scheduled = Object.entries(terms.nodeSelector).every(([key, value]) => given[key] === value) &&
      (terms.terms ?? [{}]).some(({ matchExpressions = [], matchFields = [] }) =>
        matchExpressions.every((each) => meets(each, given)) &&
        matchFields.every((each) => meets(each, { "metadata.name": "a" }))
      );
    const { "kubernetes.io/os": os = "", ...rest } = given;
    const choice = chooseNode(node("a", { labels: { ...rest, "kubernetes.io/os": os } }), wish, facts);
    assert.equal(scheduled, choice.selected && !without);
    for (const { matchFields = [] } of terms.terms ?? []) {
      for (const { values = [] } of matchFields) {
        assert.equal(values.length, 1, "the API takes one value per field requirement");
      }
    }
  }));
});
