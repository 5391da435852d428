// From words to command, flags and operands, and what is said about words that make no sense.
import assert from "node:assert/strict";
import { readCommandLine } from "../../../cli/command_line.ts";
import { COMMANDS } from "../../../cli/commands.ts";

interface Case {
  readonly name: string;
  readonly given: readonly string[];
  readonly want: { readonly path: string; readonly args?: Readonly<Record<string, readonly string[]>> };
}

const CASES: readonly Case[] = [
  { name: "no words", given: [], want: { path: "" } },
  {
    name: "a value as next word and behind =",
    given: ["server", "--lb-class", "a", "--lb-image=b=c"],
    want: { path: "server", args: { "lb-class": ["a"], "lb-image": ["b=c"] } },
  },
  {
    name: "a value that starts with a dash behind =",
    given: ["server", "--lb-class=-a"],
    want: { path: "server", args: { "lb-class": ["-a"] } },
  },
  {
    name: "short flags",
    given: ["agent", "-c", "a", "-d=b"],
    want: { path: "agent", args: { config: ["a"], "data-dir": ["b"] } },
  },
  {
    name: "repetition in order",
    given: ["server", "--disable", "a", "--no-deploy", "b", "--disable=c"],
    want: { path: "server", args: { disable: ["a", "b", "c"] } },
  },
  {
    name: "switches on, off and with a value",
    given: ["server", "--agent", "--no-leader-elect", "--lb-default=false", "--prune-deleted-manifests=TRUE"],
    want: {
      path: "server",
      args: {
        agent: ["true"],
        "leader-elect": ["false"],
        "lb-default": ["false"],
        "prune-deleted-manifests": ["true"],
      },
    },
  },
  {
    name: "a subcommand with a flag that its parent has too",
    given: ["agent", "cleanup", "--iptables-mode", "nft"],
    want: { path: "agent cleanup", args: { "iptables-mode": ["nft"] } },
  },
  { name: "help", given: ["agent", "cleanup", "-h"], want: { path: "agent cleanup", args: { help: ["true"] } } },
  { name: "-v is version", given: ["-v"], want: { path: "version" } },
];

for (const { name, given, want } of CASES) {
  Deno.test(`readCommandLine: ${name}`, () => {
    const invocation = readCommandLine(given, COMMANDS);
    assert.equal(invocation.path.join(" "), want.path);
    assert.deepEqual(Object.fromEntries(invocation.args), want.args ?? {});
  });
}

const FAULTS: readonly { readonly name: string; readonly given: readonly string[]; readonly want: RegExp }[] = [
  { name: "a switch with a word that is neither", given: ["server", "--agent=maybe"], want: /agent/ },
  { name: "an unknown short flag", given: ["server", "-x"], want: /has no flag "-x"/ },
  { name: "a flag before the command", given: ["--agent", "server"], want: /has no flag "--agent"/ },
  {
    name: "a flag of the parent before the subcommand",
    given: ["agent", "--debug", "cleanup"],
    want: /before "cleanup"/,
  },
];

for (const { name, given, want } of FAULTS) {
  Deno.test(`readCommandLine: refuses ${name}`, () => {
    assert.throws(() => readCommandLine(given, COMMANDS), { code: "usage", message: want });
  });
}

Deno.test("readCommandLine: every flag of every command is taken", () => {
  for (const command of COMMANDS) {
    for (const flag of command.flags) {
      const words = flag.type === "switch" ? [`--${flag.name}`] : [`--${flag.name}`, "x"];
      const { args } = readCommandLine([...command.path, ...words], COMMANDS);
      assert.deepEqual([...args], [[flag.name, [flag.type === "switch" ? "true" : "x"]]]);
    }
  }
});
