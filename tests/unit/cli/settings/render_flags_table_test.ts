// The flags table, and that docs/flags.md has the present one. K3SLB_UPDATE_GOLDENS=1 writes it there.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { COMMANDS } from "../../../../cli/commands.ts";
import { FLAGS_TABLE_START, renderFlagsTable, replaceFlagsTable } from "../../../support/flags_table.ts";

const PAGE = fileURLToPath(new URL("../../../../docs/flags.md", import.meta.url));

Deno.test("renderFlagsTable: a flag has its variables, default and commands in one row", () => {
  const rows = renderFlagsTable(COMMANDS).split("\n");
  const row = rows.find((line) => line.includes("`-d, --data-dir PATH`"));
  assert.match(
    row ?? "",
    /\| `K3SLB_DATA_DIR`, `K3S_DATA_DIR` \| `\/var\/lib\/rancher\/k3s` \| server, manifests list/,
  );
  assert.deepEqual(rows.filter((line) => line.includes("--metrics-address")).length, 2);
});

Deno.test("replaceFlagsTable: twice is as once", () => {
  const once = replaceFlagsTable(`a\n${FLAGS_TABLE_START}\nold\n<!-- /flags -->\nb\n`, "new\n");
  assert.equal(once, `a\n${FLAGS_TABLE_START}\nnew\n<!-- /flags -->\nb\n`);
  assert.equal(replaceFlagsTable(once, "new\n"), once);
  assert.throws(() => replaceFlagsTable("a", "b"), RangeError);
});

Deno.test("docs/flags.md: has the present flags table", async () => {
  const text = await Deno.readTextFile(PAGE);
  const wanted = replaceFlagsTable(text, renderFlagsTable(COMMANDS));
  if (Deno.env.get("K3SLB_UPDATE_GOLDENS") === "1") await Deno.writeTextFile(PAGE, wanted);
  else assert.equal(text, wanted, "run `deno task docs`");
});
