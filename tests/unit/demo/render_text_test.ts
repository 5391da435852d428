// How the demo's tables, texts and listings come out as lines.
import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import { type Block, type Page, renderBlocks, renderToned, wrapWords } from "../../demo/render_text.ts";

const PAGE: Page = { width: 60, colour: false };

const CASES: readonly { name: string; given: readonly Block[]; want: readonly string[] }[] = [
  {
    name: "a table has its columns as wide as their widest cells, numbers to the right",
    given: [{
      kind: "table",
      columns: [{ title: "pod" }, { title: "times", align: "right" }, { title: "node" }],
      rows: [["web-node1", "5", "node1"], ["w", "12", ""]],
    }],
    want: [
      "   POD        TIMES  NODE",
      "   web-node1      5  node1",
      "   w             12",
    ],
  },
  {
    name: "a table that is too wide takes from the column that wraps",
    given: [{
      kind: "table",
      columns: [{ title: "where" }, { title: "message", wraps: true }],
      rows: [["condition", "Served by no node. node1, node2: port 8080/TCP is taken"]],
    }],
    want: [
      "   WHERE      MESSAGE",
      "   condition  Served by no node. node1, node2: port 8080/TCP",
      "              is taken",
    ],
  },
  {
    name: "two blocks have an empty line between them; text wraps",
    given: [
      { kind: "text", text: "The status changes at once. The node itself goes on for some seconds." },
      { kind: "text", text: "End." },
    ],
    want: ["   The status changes at once. The node itself goes on for", "   some seconds.", "", "   End."],
  },
  {
    name: "a long line of a listing goes on further in",
    given: [{ kind: "listing", lines: ["-A K3SLB-SERVICES -p tcp -m tcp --dport 80 -j K3SLB-S-C091B2F84563", "-A X"] }],
    want: [
      "   -A K3SLB-SERVICES -p tcp -m tcp --dport 80 -j",
      "       K3SLB-S-C091B2F84563",
      "   -A X",
    ],
  },
  {
    name: "a table without rows is its headings",
    given: [{ kind: "table", columns: [{ title: "a" }], rows: [] }],
    want: ["   A"],
  },
];

for (const { name, given, want } of CASES) {
  Deno.test(`renderBlocks: ${name}`, () => deepEqual(renderBlocks(given, PAGE), want));
}

Deno.test("renderBlocks: with colour the text is the same but for the codes", () => {
  const blocks: readonly Block[] = [
    {
      kind: "table",
      columns: [{ title: "service" }, { title: "addresses", wraps: true }, { title: "after", align: "right" }],
      rows: [[
        { text: "web", tone: "strong" },
        { text: "172.30.0.11 172.30.0.12 172.30.0.13 fd30::11", tone: "good" },
        "9 ms",
      ]],
    },
    { kind: "text", text: "as it is", tone: "faint" },
    { kind: "listing", lines: [{ text: "# about", tone: "faint" }] },
  ];
  const coloured = renderBlocks(blocks, { ...PAGE, colour: true });
  ok(coloured.some((line) => line.includes("\x1b[")));
  const colourCodes = new RegExp(`${String.fromCharCode(0x1b)}\\[\\d*m`, "g");
  deepEqual(coloured.map((line) => line.replaceAll(colourCodes, "").trimEnd()), renderBlocks(blocks, PAGE));
});

Deno.test("renderToned: no code without colour, none for plain text", () => {
  equal(renderToned("x", "good", PAGE), "x");
  equal(renderToned("x", "plain", { ...PAGE, colour: true }), "x");
  equal(renderToned("x", "good", { ...PAGE, colour: true }), "\x1b[32mx\x1b[0m");
});

Deno.test("wrapWords: no line is too wide and nothing is lost", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ minLength: 1, maxLength: 30 })),
      fc.integer({ min: 1, max: 40 }),
      (words, width) => {
        const text = words.map((word) => word.replaceAll(" ", "_")).join(" ");
        const lines = wrapWords(text, width);
        ok(lines.every((line) => line.length <= width));
        equal(lines.join("").replaceAll(" ", ""), text.replaceAll(" ", ""));
      },
    ),
  );
});
