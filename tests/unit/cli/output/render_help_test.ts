// Help of every command, whole and byte-stable. K3SLB_UPDATE_GOLDENS=1 writes the files anew.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { COMMANDS } from "../../../../cli/commands.ts";
import { renderCommandHelp, renderProgramHelp } from "../../../../cli/output/render_help.ts";

const FOLDER = fileURLToPath(new URL("../../../golden/help/", import.meta.url));
const MAX_COLUMNS = 132;

const TEXTS: Readonly<Record<string, string>> = {
  k3slb: renderProgramHelp(COMMANDS),
  ...Object.fromEntries(
    COMMANDS.map((command) => {
      const children = COMMANDS.filter((other) =>
        other.path.length > command.path.length && command.path.every((word, index) => other.path[index] === word)
      );
      return [command.path.join("_"), renderCommandHelp(command, children)];
    }),
  ),
};

for (const [name, text] of Object.entries(TEXTS)) {
  Deno.test(`renderHelp: ${name} is as in its golden file`, async () => {
    const path = `${FOLDER}${name}.txt`;
    if (Deno.env.get("K3SLB_UPDATE_GOLDENS") === "1") await Deno.writeTextFile(path, text);
    assert.equal(text, await Deno.readTextFile(path));
  });

  Deno.test(`renderHelp: ${name} fits a terminal of ${MAX_COLUMNS} columns`, () => {
    assert.deepEqual(text.split("\n").filter((line) => line.length > MAX_COLUMNS), []);
  });
}
