import assert from "node:assert/strict";
import { renderRows, wrapText } from "../../../../cli/output/render_rows.ts";

Deno.test("wrapText: lines end at blanks, long words stay whole, control characters are shown", () => {
  assert.deepEqual(wrapText("one two three", 7), ["one two", "three"]);
  assert.deepEqual(wrapText("a abcdefghij b", 4), ["a", "abcdefghij", "b"]);
  assert.deepEqual(wrapText("a\u001b[2Jb", 20), ["a\\u001b[2Jb"]);
});

Deno.test("renderRows: the last column is broken under itself", () => {
  const text = renderRows(["NODE", "WHY"], [["node1", "a label that it needs is missing"], ["n2", ""]], 34);
  assert.equal(text, "NODE   WHY\nnode1  a label that it needs is\n       missing\nn2\n");
});
