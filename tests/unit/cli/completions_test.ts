// What may come next on a command line.
import assert from "node:assert/strict";
import { COMMANDS } from "../../../cli/commands.ts";
import { completionsOf, type NameKind } from "../../../cli/completions.ts";

const CASES: readonly { readonly name: string; readonly given: readonly string[]; readonly want: readonly string[] }[] =
  [
    { name: "commands", given: ["ser"], want: ["server"] },
    { name: "subcommands", given: ["agent", "cl"], want: ["cleanup"] },
    { name: "flags", given: ["server", "--lb-"], want: ["--lb-image", "--lb-class", "--lb-default"] },
    { name: "flags that turn off", given: ["server", "--no-le"], want: ["--no-leader-elect"] },
    { name: "flags of subcommands", given: ["agent", "cleanup", "--mar"], want: ["--mark-bits"] },
    { name: "commands of a group", given: ["manifests", ""], want: ["list", "validate", "diff"] },
    { name: "flags of a group's command", given: ["manifests", "list", "--da"], want: ["--data-dir"] },
    { name: "nothing for an operand that is a path", given: ["manifests", "list", ""], want: [] },
    { name: "words that a command takes", given: ["completion", "b"], want: ["bash"] },
    { name: "values of short flags", given: ["version", "-o", "j"], want: ["json"] },
    { name: "values behind =", given: ["server", "--dataplane", "=", "p"], want: ["pods"] },
    { name: "values right behind =", given: ["server", "--dataplane", "="], want: ["agent", "pods"] },
    {
      name: "values in one word, as zsh has them",
      given: ["server", "--dataplane=p"],
      want: ["--dataplane=pods"],
    },
    { name: "nothing for values that only the user knows", given: ["server", "--lb-class", ""], want: [] },
    {
      name: "a value that is a command's name",
      given: ["images", "--disable", "agent", "--log-f"],
      want: ["--log-format"],
    },
    { name: "values", given: ["agent", "--iptables-mode", ""], want: ["auto", "nft", "legacy"] },
    { name: "nothing for paths, so that the shell does it", given: ["agent", "--config", ""], want: [] },
  ];

/** Names that only the cluster knows. */
const CLUSTER_CASES: typeof CASES = [
  { name: "Services", given: ["explain", "shop/"], want: ["shop/late", "shop/web"] },
  { name: "flags where a Service may stand", given: ["probe", "--name"], want: ["--namespace"] },
  { name: "namespaces", given: ["explain", "web", "-n", ""], want: ["default", "shop"] },
  {
    name: "the namespace of the load balancer",
    given: ["server", "--servicelb-namespace", "s"],
    want: ["shop"],
  },
  { name: "nodes", given: ["agent", "--node-name", ""], want: ["node1"] },
];
const NAMES: Readonly<Record<NameKind, readonly string[]>> = {
  services: ["shop/late", "shop/web"],
  namespaces: ["default", "shop"],
  nodes: ["node1"],
};

function nobodyAsks(kind: NameKind): Promise<readonly string[]> {
  throw new Error(`${kind} are asked for`);
}

for (const { name, given, want } of CASES) {
  Deno.test(`completionsOf: ${name}`, async () => {
    const found = await completionsOf(given, { commands: COMMANDS, namesOf: nobodyAsks });
    assert.deepEqual(found.map(({ word }) => word).sort(), [...want].sort());
  });
}

for (const { name, given, want } of CLUSTER_CASES) {
  Deno.test(`completionsOf: ${name}`, async () => {
    const found = await completionsOf(given, {
      commands: COMMANDS,
      namesOf: (kind) => Promise.resolve(NAMES[kind]),
    });
    assert.deepEqual(found.map(({ word }) => word).sort(), [...want].sort());
  });
}

Deno.test("completionsOf: every command and flag at its place, with what help says of it", async () => {
  const at = async (words: readonly string[]): Promise<ReadonlyMap<string, string | undefined>> => {
    const found = await completionsOf(words, { commands: COMMANDS, namesOf: nobodyAsks });
    return new Map(found.map(({ word, note }) => [word, note]));
  };
  for (const { path, summary, flags } of COMMANDS) {
    const commands = await at([...path.slice(0, -1), ""]);
    assert.equal(commands.get(path.at(-1) ?? ""), summary, path.join(" "));
    const words = await at([...path, "--"]);
    for (const flag of flags) assert.equal(words.get(`--${flag.name}`), flag.help, `${path.join(" ")} --${flag.name}`);
  }
});
