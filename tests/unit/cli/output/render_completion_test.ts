// The bash script is run by bash, those of zsh and fish by these shells where there are such.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { COMMANDS } from "../../../../cli/commands.ts";
import { renderCompletion } from "../../../../cli/output/render_completion.ts";

const CASES: readonly { readonly name: string; readonly given: readonly string[]; readonly want: readonly string[] }[] =
  [
    { name: "commands", given: ["k3slb", "ser"], want: ["server"] },
    { name: "subcommands", given: ["k3slb", "agent", "cl"], want: ["cleanup"] },
    { name: "flags", given: ["k3slb", "server", "--lb-"], want: ["--lb-image", "--lb-class", "--lb-default"] },
    { name: "flags that turn off", given: ["k3slb", "server", "--no-le"], want: ["--no-leader-elect"] },
    { name: "flags of subcommands", given: ["k3slb", "agent", "cleanup", "--mar"], want: ["--mark-bits"] },
    { name: "commands of a group", given: ["k3slb", "manifests", ""], want: ["list", "validate", "diff", "--help"] },
    { name: "flags of a group's command", given: ["k3slb", "manifests", "list", "--da"], want: ["--data-dir"] },
    { name: "nothing for an operand that is a path", given: ["k3slb", "manifests", "list", ""], want: [] },
    { name: "words that a command takes", given: ["k3slb", "completion", "b"], want: ["bash"] },
    { name: "values of short flags", given: ["k3slb", "version", "-o", "j"], want: ["json"] },
    { name: "values behind =", given: ["k3slb", "server", "--dataplane", "=", "p"], want: ["pods"] },
    { name: "values right behind =", given: ["k3slb", "server", "--dataplane", "="], want: ["agent", "pods"] },
    {
      name: "values in one word, as zsh has them",
      given: ["k3slb", "server", "--dataplane=p"],
      want: ["--dataplane=pods"],
    },
    { name: "nothing for values that only the user knows", given: ["k3slb", "server", "--lb-class", ""], want: [] },
    {
      name: "a value that is a command's name",
      given: ["k3slb", "images", "--disable", "agent", "--log-f"],
      want: ["--log-format"],
    },
    { name: "values", given: ["k3slb", "agent", "--iptables-mode", ""], want: ["auto", "nft", "legacy"] },
    { name: "nothing for paths, so that the shell does it", given: ["k3slb", "agent", "--config", ""], want: [] },
  ];

/** Names that only the cluster knows. */
const CLUSTER_CASES: typeof CASES = [
  { name: "Services", given: ["k3slb", "explain", "shop/"], want: ["shop/late", "shop/web"] },
  { name: "flags where a Service may stand", given: ["k3slb", "probe", "--name"], want: ["--namespace"] },
  { name: "namespaces", given: ["k3slb", "explain", "web", "-n", ""], want: ["default", "shop"] },
  {
    name: "the namespace of the load balancer",
    given: ["k3slb", "server", "--servicelb-namespace", "s"],
    want: ["shop"],
  },
  { name: "nodes", given: ["k3slb", "agent", "--node-name", ""], want: ["node1"] },
];
const CLUSTER = `k3slb() {
  case "$*" in
    "names services") echo shop/web; echo shop/late ;;
    "names namespaces") echo default; echo shop ;;
    "names nodes") echo node1 ;;
    *) echo "$*: not asked for" >&2 ;;
  esac
}`;

const HAS_ZSH = spawnSync("zsh", ["--version"]).status === 0;

Deno.test({
  name: `renderCompletion: zsh completes as bash does${HAS_ZSH ? "" : " (skipped: zsh is not installed)"}`,
  ignore: !HAS_ZSH,
  fn: () => {
    // bash alone has "=" as a word.
    const cases = [...CASES, ...CLUSTER_CASES].filter(({ given }) => !given.includes("="));
    const script = [
      "autoload -U +X compinit && compinit -D -u",
      CLUSTER,
      renderCompletion("zsh", COMMANDS),
      // As its bashcompinit calls it.
      "emulate sh; setopt ksharrays shwordsplit",
      ...cases.flatMap(({ given }) => [
        `COMP_WORDS=(${given.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${given.length - 1}`,
        '_k3slb; printf "%s " "${COMPREPLY[@]}"; echo',
      ]),
    ].join("\n");
    const { stdout, stderr } = spawnSync("zsh", ["-f", "-c", script], { encoding: "utf8" });
    assert.equal(stderr, "");
    const lines = stdout.split("\n");
    for (const [index, { name, given, want }] of cases.entries()) {
      // zsh leaves out what does not begin so itself, later.
      const begun = given.at(-1) ?? "";
      const fitting = lines[index]?.split(" ").filter((word) => word !== "" && word.startsWith(begun));
      assert.deepEqual(fitting?.sort(), [...want].sort(), name);
    }
  },
});

for (const { name, given, want } of [...CASES, ...CLUSTER_CASES]) {
  Deno.test(`renderCompletion: bash completes ${name}`, () => {
    const script = [
      CLUSTER,
      renderCompletion("bash", COMMANDS),
      `COMP_WORDS=(${given.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${given.length - 1}`,
      '_k3slb; printf "%s\\n" "${COMPREPLY[@]}"',
    ].join("\n");
    const result = spawnSync("bash", ["-c", script], { encoding: "utf8" });
    assert.equal(result.stderr, "");
    assert.deepEqual(result.stdout.split("\n").filter((word) => word !== "").sort(), [...want].sort());
  });
}

Deno.test("renderCompletion: fish knows every command and flag at its place", () => {
  const lines = renderCompletion("fish", COMMANDS).split("\n");
  for (const { path, flags } of COMMANDS) {
    const at = (words: readonly string[]): readonly string[] => {
      const place = words.map((word) => ` ${word}`).join("");
      return lines.filter((line) => line.startsWith(`complete -c k3slb -n '__k3slb_at "${place}"'`));
    };
    assert.ok(at(path.slice(0, -1)).some((line) => line.includes(` -a ${path.at(-1)}`)), path.join(" "));
    for (const flag of flags) assert.ok(at(path).some((line) => line.includes(` -l ${flag.name}`)), flag.name);
  }
});

Deno.test("renderCompletion: zsh gets the bash script through bashcompinit", () => {
  const script = renderCompletion("zsh", COMMANDS);
  assert.match(script, /^#compdef k3slb\n.*bashcompinit\n_k3slb\(\) \{/);
  // Its $path is $PATH, and ":C" in an expansion a modifier.
  assert.doesNotMatch(script, /\bpath=|:[A-Z]\w+-1\}/);
});

const FISH_CASES: readonly { readonly line: string; readonly want: readonly string[] }[] = [
  { line: "k3slb ", want: [...new Set(COMMANDS.map(({ path }) => path[0] ?? ""))].sort() },
  { line: "k3slb manifests ", want: ["diff", "list", "validate"] },
  { line: "k3slb agent cleanup --mar", want: ["--mark-bits"] },
  { line: "k3slb server --data", want: ["--data-dir", "--dataplane"] },
  { line: "k3slb server --dataplane p", want: ["pods"] },
  { line: "k3slb version -o ", want: ["json", "table", "yaml"] },
  { line: "k3slb completion z", want: ["zsh"] },
];

const HAS_FISH = spawnSync("fish", ["--version"]).status === 0;

Deno.test({
  name: `renderCompletion: fish completes as bash does${HAS_FISH ? "" : " (skipped: fish is not installed)"}`,
  ignore: !HAS_FISH,
  fn: () => {
    for (const { line, want } of FISH_CASES) {
      const input = `${renderCompletion("fish", COMMANDS)}complete -C ${JSON.stringify(line)}\n`;
      const result = spawnSync("fish", ["--no-config"], { encoding: "utf8", input });
      assert.equal(result.stderr, "");
      assert.deepEqual(result.stdout.trim().split("\n").map((found) => found.split("\t")[0]).sort(), want, line);
    }
  },
});
