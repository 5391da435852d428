// Order of the sources of settings, and the rules of lists, switches and config files.
import assert from "node:assert/strict";
import type { Flag } from "../../../../cli/settings/flag.ts";
import { parseConfig } from "../../../../cli/settings/read_config.ts";
import { resolveSettings } from "../../../../cli/settings/resolve_settings.ts";

const FLAGS = [
  { name: "text", type: "text", default: "d", otherEnv: ["K3S_TEXT"], help: "A text" },
  { name: "maybe", type: "text", help: "A text without default" },
  { name: "kind", type: "choice", values: ["one", "two"], default: "one", help: "A choice" },
  { name: "names", type: "list", default: ["x"], aliases: ["old-names"], help: "A list" },
  { name: "power", type: "switch", default: true, help: "A switch" },
] as const satisfies readonly Flag[];

interface Case {
  readonly name: string;
  readonly given: {
    readonly args?: Readonly<Record<string, readonly string[]>>;
    readonly env?: Readonly<Record<string, string>>;
    /** Texts of config files in their order. */
    readonly config?: readonly string[];
  };
  readonly want: Readonly<Record<string, unknown>>;
}

const CASES: readonly Case[] = [
  { name: "defaults hold", given: {}, want: { text: "d", maybe: undefined, kind: "one", names: ["x"], power: true } },
  {
    name: "flag wins over environment and config",
    given: { args: { text: ["a"] }, env: { K3SLB_TEXT: "b" }, config: ["text: c"] },
    want: { text: "a" },
  },
  {
    name: "own variable wins over K3s's",
    given: { env: { K3SLB_TEXT: "b", K3S_TEXT: "c" }, config: ["text: d"] },
    want: { text: "b" },
  },
  {
    name: "K3s's variable wins over config",
    given: { env: { K3S_TEXT: "c" }, config: ["text: d"] },
    want: { text: "c" },
  },
  { name: "an empty variable is none", given: { env: { K3SLB_TEXT: "" }, config: ["text: d"] }, want: { text: "d" } },
  {
    name: "the last flag wins",
    given: { args: { text: ["a", "b"], power: ["true", "false"] } },
    want: { text: "b", power: false },
  },
  {
    name: "lists take commas and repetition, each value once",
    given: { args: { names: ["a, b", "c", "a", ""] } },
    want: { names: ["a", "b", "c"] },
  },
  {
    name: "a list on the command line replaces the file's",
    given: { args: { names: ["a"] }, config: ["names: [b, c]"] },
    want: { names: ["a"] },
  },
  { name: "a later file replaces", given: { config: ["names: [a]", "names: [b]"] }, want: { names: ["b"] } },
  {
    name: "key+ adds to earlier files",
    given: { config: ["names: [a]", "names+: [b]", "names+: c"] },
    want: { names: ["a", "b", "c"] },
  },
  { name: "key+ alone does not add to the default", given: { config: ["names+: [b]"] }, want: { names: ["b"] } },
  {
    name: "key without + after key+ replaces",
    given: { config: ["names: [a]", "names+: [b]", "names: c"] },
    want: { names: ["c"] },
  },
  { name: "an older key counts as the key", given: { config: ["old-names: [a]"] }, want: { names: ["a"] } },
  {
    name: "YAML words and numbers become text",
    given: { config: ["text: 17", "power: no"] },
    want: { text: "17", power: false },
  },
  { name: "an empty key is as not written", given: { config: ["text:\nnames:"] }, want: { text: "d", names: ["x"] } },
];

for (const { name, given, want } of CASES) {
  Deno.test(`resolveSettings: ${name}`, () => {
    const settings = resolveSettings(FLAGS, {
      args: new Map(Object.entries(given.args ?? {})),
      env: given.env ?? {},
      config: (given.config ?? []).flatMap((text) => parseConfig(text, { path: "f", flags: FLAGS }).entries),
    });
    for (const [key, value] of Object.entries(want)) {
      assert.deepEqual(Object.entries(settings).find(([flag]) => flag === key)?.[1], value, key);
    }
  });
}

const FAULTS: readonly { readonly name: string; readonly text: string; readonly want: RegExp }[] = [
  { name: "a list", text: "- a", want: /f:1 does not hold keys and values/ },
  { name: "a mapping as value", text: "text:\n  a: b", want: /f:1 gives "text" a mapping/ },
  { name: "a list for one value", text: "\ntext: [a, b]", want: /f:2 gives "text" a list where one value is wanted/ },
  { name: "a key twice", text: "text: a\ntext: b", want: /text/ },
];

for (const { name, text, want } of FAULTS) {
  Deno.test(`parseConfig: refuses ${name}`, () => {
    assert.throws(() => parseConfig(text, { path: "f", flags: FLAGS }), { code: "config-invalid", message: want });
  });
}

Deno.test("parseConfig: passes over keys of K3s and says which", () => {
  const { entries, ignored } = parseConfig("token: secret\ntext: a", { path: "f", flags: FLAGS });
  assert.deepEqual(ignored, ['"token" in f:1']);
  assert.equal(entries.length, 1);
});
