// The program from outside: what it prints, where, and its exit code. Source and compiled binary run the same cases.
import assert from "node:assert/strict";
import { parseYaml } from "../../core/shared/yaml.ts";
import { type ProgramInput, type ProgramKind, programKinds, type ProgramResult, runProgram } from "./program.ts";

interface Case extends ProgramInput {
  readonly name: string;
  /** Files in a fresh folder; `%` in arguments stands for the folder. */
  readonly files?: Readonly<Record<string, string>>;
  readonly want: { readonly code: number; readonly stdout?: RegExp; readonly stderr?: string | RegExp };
}

const LONG_MANIFEST = Array.from(
  { length: 1_000 },
  (_, index) => `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map-${index}}\n`,
).join("---\n");

const CASES: readonly Case[] = [
  {
    name: "a long manifest is read by a thread of the same program",
    files: { "long.yaml": LONG_MANIFEST, "wrong.yaml": `${LONG_MANIFEST}---\nkind: ConfigMap\n` },
    args: ["manifests", "validate", "%"],
    want: { code: 1, stdout: /wrong\.yaml.*has no metadata[^]*2 files, \d+ problems?/ },
  },
  {
    name: "no command prints the commands on standard error",
    args: [],
    want: { code: 2, stderr: /^ {2}agent cleanup +Remove all rules/m },
  },
  {
    name: "--help prints the commands on standard output",
    args: ["--help"],
    want: { code: 0, stdout: /^Commands:$/m },
  },
  { name: "--version is version", args: ["--version"], want: { code: 0, stdout: /^version +\S+$/m } },
  { name: "version names the runtime", args: ["version"], want: { code: 0, stdout: /^runtime +(bun|deno) \d+\.\d+/m } },
  {
    name: "help COMMAND is COMMAND --help",
    args: ["help", "images"],
    want: { code: 0, stdout: /^ {2}k3slb images \[FLAGS\]$/m },
  },
  {
    name: "--help of a group has its commands alone",
    args: ["manifests", "--help"],
    want: { code: 0, stdout: /^Usage:\n {2}k3slb manifests COMMAND \[FLAGS\]\n\nCommands:\n {2}k3slb manifests list / },
  },
  {
    name: "help of an unknown command is no success",
    args: ["srver", "--help"],
    want: { code: 2, stderr: /^error: Unknown command "srver"$/m },
  },
  {
    name: "a mistyped command is answered with the nearest one",
    args: ["srver"],
    want: {
      code: 2,
      stderr: 'error: Unknown command "srver"\n  hint: Did you mean "k3slb server"?\n  code: usage\n',
    },
  },
  {
    name: "a mistyped subcommand is answered with the nearest one",
    args: ["agent", "clenup"],
    want: {
      code: 2,
      stderr:
        'error: "k3slb agent" does not take "clenup"\n  hint: Did you mean "k3slb agent cleanup"?\n  code: usage\n',
    },
  },
  {
    name: "a mistyped flag is answered with the nearest one",
    args: ["server", "--lb-imge=x"],
    want: {
      code: 2,
      stderr: 'error: "k3slb server" has no flag "--lb-imge"\n  hint: Did you mean "--lb-image"?\n  code: usage\n',
    },
  },
  {
    name: "a flag of another command says whose it is",
    args: ["agent", "--cluster-domain=a"],
    want: {
      code: 2,
      stderr:
        'error: "k3slb agent" has no flag "--cluster-domain"\n  hint: "--cluster-domain" is a flag of "k3slb server"\n  code: usage\n',
    },
  },
  {
    name: "a flag without its value says so",
    args: ["server", "--lb-image"],
    want: {
      code: 2,
      stderr:
        'error: Flag "--lb-image" needs a value\n  hint: Write "--lb-image VALUE" or "--lb-image=VALUE"\n  code: usage\n',
    },
  },
  {
    name: "a wrong choice is answered with the nearest one",
    args: ["server", "--dataplane", "pod"],
    want: {
      code: 2,
      stderr:
        'error: Cannot use flag --dataplane: "pod" is not one of agent, pods\n  hint: Did you mean "pods"?\n  code: flag-value\n',
    },
  },
  {
    name: "a wrong value in the environment names the variable",
    args: ["agent"],
    env: { K3SLB_RESERVED_PORTS: "22,99999" },
    want: {
      code: 2,
      stderr: /^error: Cannot use environment variable K3SLB_RESERVED_PORTS: "99999" is not between 1 and 65535$/m,
    },
  },
  {
    name: "a mistyped variable is told, others are none of its business",
    args: ["images", "--disable", "coredns,traefik"],
    env: { K3SLB_LOG_LEVLE: "debug", K3SLB_SERVICE_HOST: "10.43.0.1", K3SLB_PORT: "tcp://10.43.0.1:80" },
    want: {
      code: 0,
      stdout: /^KIND/,
      stderr: /^\S+ WARN {2}[^\n]* name=K3SLB_LOG_LEVLE hint="Did you mean K3SLB_LOG_LEVEL\?"\n$/,
    },
  },
  {
    name: "an operand too much is refused",
    args: ["version", "now"],
    want: { code: 2, stderr: /^error: "k3slb version" does not take "now"$/m },
  },
  {
    name: "a missing config file that was named is an error",
    args: ["agent", "--config", "%/none.yaml"],
    want: { code: 2, stderr: /^error: Config file "\S+none\.yaml" does not exist$/m },
  },
  {
    name: "an unknown config key names file, line and the nearest key",
    args: ["agent", "-c", "%/config.yaml"],
    files: { "config.yaml": "# first line\nlb-imge: x\n" },
    want: {
      code: 2,
      stderr:
        /^error: Config file \S+config\.yaml:2 has the unknown key "lb-imge"\n {2}hint: Did you mean "lb-image"\?$/m,
    },
  },
  {
    name: "a flag that is no config key is not offered as one",
    args: ["images", "-c", "%/config.yaml"],
    files: { "config.yaml": "output: json\n" },
    want: { code: 2, stderr: /has the unknown key "output"\n {2}hint: Keys are the names of flags/ },
  },
  {
    name: "folders among drop-in files are left alone, and endings in capitals count",
    args: ["images", "-c", "%/config.yaml"],
    files: { "config.yaml.d/old.yaml/a.yaml": "no: 1\n", "config.yaml.d/A.YAML": "disable: coredns,traefik\n" },
    want: { code: 0, stdout: /^KIND.*\n.*pause.*\n.*klipper-helm.*\n$/ },
  },
  {
    name: "a drop-in folder that is a file is a fault of the config",
    args: ["images", "-c", "%/config.yaml"],
    files: { "config.yaml": "", "config.yaml.d": "" },
    want: { code: 2, stderr: /^error: Cannot read config folder "\S+config\.yaml\.d": ENOTDIR/ },
  },
  {
    name: "a config file that is no YAML names the line",
    args: ["agent", "-c", "%/config.yaml"],
    files: { "config.yaml": "log-level: info\nlog-format: [text\n" },
    want: { code: 2, stderr: /^error: Cannot read config: .*config\.yaml.*\n[\s\S]*^ {2}code: config-invalid$/m },
  },
  {
    name: "a wrong value in a drop-in file names file and line",
    args: ["server", "-c", "%/config.yaml"],
    files: { "config.yaml": "agent: true\n", "config.yaml.d/10-dns.yaml": "cluster-dns:\n- 10.43.0.300\n" },
    want: { code: 2, stderr: /"cluster-dns" in \S+10-dns\.yaml:1: "10\.43\.0\.300" is not an IP address$/m },
  },
];

for (const kind of programKinds()) {
  for (const { name, files = {}, want, ...input } of CASES) {
    Deno.test(`program (${kind.name}): ${name}`, async () => {
      const folder = await Deno.makeTempDir();
      try {
        await writeFiles(folder, files);
        const args = input.args.map((arg) => arg.replace("%", folder));
        checkResult(await runProgram(kind, { ...input, args }), want);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    });
  }

  Deno.test(`program (${kind.name}): a reader that has gone is nothing to talk about`, async () => {
    const folder = await Deno.makeTempDir();
    try {
      // A pipe that had a reader and has none now.
      const script = 'mkfifo "$1" && exec 4<>"$1" 5>"$1" 4>&- && shift && "$@" >&5';
      const result = await runProgram(inShell(kind, script, `${folder}/pipe`), { args: ["completion", "bash"] });
      assert.deepEqual(result, { code: 1, stdout: "", stderr: "" });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });

  Deno.test(`program (${kind.name}): a result that can't be written is a failure`, async () => {
    const result = await runProgram(inShell(kind, '"$@" > /dev/full'), { args: ["version"] });
    assert.equal(result.code, 1);
    assert.match(result.stderr, /^error: Cannot write the result: .*no space left.*\n {2}code: output\n$/i);
  });

  Deno.test(`program (${kind.name}): version prints the same as table, JSON and YAML`, async () => {
    const [table, json, yaml] = await Promise.all(
      ["table", "json", "yaml"].map((form) => runProgram(kind, { args: ["version", "-o", form] })),
    );
    const record: Record<string, string> = JSON.parse(json?.stdout ?? "");
    assert.deepEqual(Object.keys(record), ["version", "commit", "target", "runtime"]);
    for (const [name, value] of Object.entries(record)) {
      assert.match(table?.stdout ?? "", new RegExp(`^${name} +${RegExp.escape(value)}$`, "m"));
    }
    assert.deepEqual(parseYaml(yaml?.stdout ?? ""), record);
  });
}

/** `kind` started by a shell script that gets \`first\` and then the program's words. */
function inShell(kind: ProgramKind, script: string, ...first: readonly string[]): ProgramKind {
  return { name: kind.name, command: ["sh", "-c", script, "sh", ...first, ...kind.command] };
}

function checkResult(result: ProgramResult, want: Case["want"]): void {
  assert.equal(result.code, want.code, result.stderr);
  if (want.stdout === undefined) assert.equal(result.stdout, "");
  else assert.match(result.stdout, want.stdout);
  if (want.stderr === undefined) assert.equal(result.stderr, "");
  else if (typeof want.stderr === "string") assert.equal(result.stderr, want.stderr);
  else assert.match(result.stderr, want.stderr);
}

async function writeFiles(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  for (const [path, text] of Object.entries(files)) {
    await Deno.mkdir(`${folder}/${path}`.replace(/\/[^/]+$/, ""), { recursive: true });
    await Deno.writeTextFile(`${folder}/${path}`, text);
  }
}
