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
    given: ["server", "-c", "a", "-d=b"],
    want: { path: "server", args: { config: ["a"], "data-dir": ["b"] } },
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
  {
    name: "help before a command",
    given: ["help", "agent", "cleanup"],
    want: { path: "agent cleanup", args: { help: ["true"] } },
  },
  { name: "help alone", given: ["help"], want: { path: "", args: { help: ["true"] } } },
  { name: "-v is version", given: ["-v"], want: { path: "version" } },
];

for (const { name, given, want } of CASES) {
  Deno.test(`readCommandLine: ${name}`, () => {
    const invocation = readCommandLine(given, COMMANDS);
    assert.equal(invocation.path.join(" "), want.path);
    assert.deepEqual(Object.fromEntries(invocation.args), want.args ?? {});
  });
}

interface Fault {
  readonly name: string;
  readonly given: readonly string[];
  readonly want: RegExp;
  readonly hint?: string;
}

const FAULTS: readonly Fault[] = [
  {
    name: "a switch with a word that is neither",
    given: ["server", "--agent=maybe"],
    want: /^Cannot use flag --agent: "maybe" is neither true nor false$/,
    hint: 'Write "--agent" or "--no-agent"',
  },
  {
    name: "a negated switch with a value",
    given: ["server", "--no-leader-elect=false"],
    want: /^Cannot use flag --no-leader-elect: it takes no value$/,
    hint: 'Write "--no-leader-elect" or "--leader-elect"',
  },
  { name: "an unknown short flag", given: ["server", "-x"], want: /has no flag "-x"/ },
  {
    name: "a switch before the command",
    given: ["--debug", "server"],
    want: /^Flag "--debug" stands before the command$/,
    hint: 'Write flags behind the whole command: "k3slb server --debug"',
  },
  {
    name: "a flag with a value before the command",
    given: ["-c", "x", "agent"],
    want: /^"k3slb" has no flag "-c"$/,
    hint: 'Write it behind a command, such as "k3slb server -c"',
  },
  {
    name: "a flag of the parent before the subcommand",
    given: ["agent", "--debug", "cleanup"],
    want: /before "cleanup"/,
  },
  {
    name: "a mistyped --version",
    given: ["--versoin"],
    want: /has no flag "--versoin"/,
    hint: 'Did you mean "--version"?',
  },
  { name: "help of a command that is none", given: ["help", "agnet"], want: /^Unknown command "agnet"$/ },
];

for (const { name, given, want, hint } of FAULTS) {
  Deno.test(`readCommandLine: refuses ${name}`, () => {
    const expected = { code: "usage", message: want, ...(hint === undefined ? {} : { hint }) };
    assert.throws(() => readCommandLine(given, COMMANDS), expected);
  });
}

Deno.test("readCommandLine: every flag of every command is taken", () => {
  for (const command of COMMANDS) {
    for (const flag of command.flags) {
      const words = flag.type === "switch" ? [`--${flag.name}`] : [`--${flag.name}`, "x"];
      const operands = Array.from({ length: command.operands?.min ?? 0 }, () => "x");
      const { args } = readCommandLine([...command.path, ...operands, ...words], COMMANDS);
      assert.deepEqual([...args], [[flag.name, [flag.type === "switch" ? "true" : "x"]]]);
    }
  }
});
