// The scripts, run by the shells that are there, on the program as it is.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { renderCompletion } from "../../../../cli/output/render_completion.ts";

const PROGRAM = `${Deno.execPath()} run -A ${fileURLToPath(new URL("../../../../cli/main.ts", import.meta.url))}`;

const CASES: readonly { readonly name: string; readonly given: readonly string[]; readonly want: readonly string[] }[] =
  [
    { name: "commands", given: ["manifests", ""], want: ["diff", "list", "validate"] },
    { name: "flags", given: ["agent", "cleanup", "--mar"], want: ["--mark-bits"] },
    { name: "values in one word", given: ["server", "--dataplane=p"], want: ["--dataplane=pods"] },
    { name: "values behind = as bash has it", given: ["server", "--dataplane", "=", "p"], want: ["pods"] },
    { name: "nothing, where files are meant", given: ["agent", "--config", ""], want: [] },
  ];

/** Words that the function of `shell` gives for each case. */
function completed(shell: "bash" | "zsh", cases: typeof CASES): readonly (readonly string[])[] {
  const script = [
    ...(shell === "zsh" ? ["autoload -U +X compinit && compinit -D -u"] : []),
    `k3slb() { ${PROGRAM} "$@"; }`,
    renderCompletion(shell),
    // As its bashcompinit calls it.
    ...(shell === "zsh" ? ["emulate sh; setopt ksharrays shwordsplit"] : []),
    ...cases.flatMap(({ given }) => [
      `COMP_WORDS=(k3slb ${given.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${given.length}`,
      '_k3slb; printf "%s " "${COMPREPLY[@]}"; echo',
    ]),
  ].join("\n");
  const args = shell === "zsh" ? ["-f", "-c", script] : ["-c", script];
  const { stdout, stderr } = spawnSync(shell, args, { encoding: "utf8" });
  assert.equal(stderr, "");
  return stdout.trimEnd().split("\n").map((line) => line.trim()).map((line) =>
    line === "" ? [] : line.split(" ").sort()
  );
}

Deno.test("renderCompletion: bash completes", () => {
  const found = completed("bash", CASES);
  assert.deepEqual(
    CASES.map(({ name }, index) => [name, found[index] ?? []]),
    CASES.map(({ name, want }) => [name, want]),
  );
});

const HAS_ZSH = spawnSync("zsh", ["--version"]).status === 0;

Deno.test({
  name: `renderCompletion: zsh completes as bash does${HAS_ZSH ? "" : " (skipped: zsh is not installed)"}`,
  ignore: !HAS_ZSH,
  fn: () => {
    // bash alone has "=" as a word.
    const cases = CASES.filter(({ given }) => !given.includes("="));
    const found = completed("zsh", cases);
    assert.deepEqual(cases.map((_, index) => found[index] ?? []), cases.map(({ want }) => want));
  },
});

const FISH_CASES: readonly { readonly line: string; readonly want: readonly string[] }[] = [
  { line: "k3slb ser", want: ["server"] },
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
      const program = `function k3slb; ${PROGRAM} $argv; end`;
      const input = `${program}\n${renderCompletion("fish")}complete -C ${JSON.stringify(line)}\n`;
      const result = spawnSync("fish", ["--no-config"], { encoding: "utf8", input });
      assert.equal(result.stderr, "");
      assert.deepEqual(result.stdout.trim().split("\n").map((found) => found.split("\t")[0]).sort(), want, line);
    }
  },
});
