// The bash script is run by bash; zsh and fish are not everywhere, their scripts are looked at.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { COMMANDS } from "../../../cli/commands.ts";
import { renderCompletion } from "../../../cli/output/render_completion.ts";

const CASES: readonly { readonly name: string; readonly given: readonly string[]; readonly want: readonly string[] }[] =
  [
    { name: "commands", given: ["k3slb", "ser"], want: ["server"] },
    { name: "subcommands", given: ["k3slb", "agent", "cl"], want: ["cleanup"] },
    { name: "flags", given: ["k3slb", "server", "--lb-"], want: ["--lb-image", "--lb-class", "--lb-default"] },
    { name: "flags that turn off", given: ["k3slb", "server", "--no-le"], want: ["--no-leader-elect"] },
    { name: "flags of subcommands", given: ["k3slb", "agent", "cleanup", "--mar"], want: ["--mark-bits"] },
    { name: "values", given: ["k3slb", "agent", "--iptables-mode", ""], want: ["auto", "nft", "legacy"] },
    { name: "nothing for paths, so that the shell does it", given: ["k3slb", "agent", "--config", ""], want: [] },
  ];

for (const { name, given, want } of CASES) {
  Deno.test(`renderCompletion: bash completes ${name}`, () => {
    const script = [
      renderCompletion("bash", COMMANDS),
      `COMP_WORDS=(${given.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${given.length - 1}`,
      '_k3slb; printf "%s\\n" "${COMPREPLY[@]}"',
    ].join("\n");
    const result = spawnSync("bash", ["-c", script], { encoding: "utf8" });
    assert.equal(result.stderr, "");
    assert.deepEqual(result.stdout.split("\n").filter((word) => word !== "").sort(), [...want].sort());
  });
}

Deno.test("renderCompletion: fish knows every command and flag", () => {
  const script = renderCompletion("fish", COMMANDS);
  for (const command of COMMANDS) assert.match(script, new RegExp(` -a ${command.path.at(-1)} `));
  for (const flag of COMMANDS.filter(({ path }) => path.length === 1).flatMap((command) => command.flags)) {
    assert.ok(script.includes(` -l ${flag.name}`), flag.name);
  }
});

Deno.test("renderCompletion: zsh gets the bash script through bashcompinit", () => {
  assert.match(renderCompletion("zsh", COMMANDS), /^#compdef k3slb\n.*bashcompinit\n_k3slb\(\) \{/);
});
