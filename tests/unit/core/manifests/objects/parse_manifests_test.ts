// Objects, lists and places. Whole documents against kubectl are in corpus_test.ts.
import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeText, parseManifests } from "../../../../../core/manifests/objects/parse_manifests.ts";
import { K3slbError } from "../../../../../core/shared/errors.ts";

Deno.test("parseManifests expands lists inside lists and keeps the places of the items", () => {
  const text = [
    "apiVersion: v1",
    "kind: List",
    "items:",
    "- apiVersion: v1",
    "  kind: ConfigMapList",
    "  items:",
    "  - metadata: {name: a}",
    "  - metadata: {name: b, namespace: x}",
    "- apiVersion: v1",
    "  kind: List",
    "  items: null",
    "---",
    "# nothing",
    "---",
    "apiVersion: apps/v1",
    "kind: Deployment",
    "metadata: {name: c}",
  ].join("\n");
  assert.deepEqual(
    parseManifests(text, "f").map(({ object: _, ...rest }) => rest),
    [
      { apiVersion: "v1", kind: "ConfigMap", name: "a", namespace: "", document: 1, line: 7 },
      { apiVersion: "v1", kind: "ConfigMap", name: "b", namespace: "x", document: 1, line: 8 },
      { apiVersion: "apps/v1", kind: "Deployment", name: "c", namespace: "", document: 3, line: 15 },
    ],
  );
});

const PROBLEMS: readonly { readonly name: string; readonly given: string; readonly want: readonly [string, RegExp] }[] =
  [
    { name: "no kind", given: "apiVersion: v1\nmetadata: {name: a}", want: ["1:1", /^Field "kind" is missing$/] },
    {
      name: "a kind that is a boolean",
      given: "apiVersion: v1\nkind: yes\nmetadata: {name: a}",
      want: ["1:2", /"kind" must be a string/],
    },
    { name: "no metadata", given: "apiVersion: v1\nkind: Pod", want: ["1:1", /kind Pod has no metadata/] },
    {
      name: "a number as name",
      given: "apiVersion: v1\nkind: Pod\nmetadata:\n  name: 1",
      want: ["1:4", /needs a string as its name/],
    },
    {
      name: "a name with a slash",
      given: "apiVersion: v1\nkind: Pod\nmetadata: {name: a/b}",
      want: ["1:3", /"a\/b" can't be the name/],
    },
    {
      name: "a label that is no text",
      given: "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  labels:\n    on: x\n    v: 1",
      want: ["1:7", /^"v" in metadata.labels must be a string; put it in quotes$/],
    },
    {
      name: "annotations that are a list",
      given: "apiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: [a]}",
      want: ["1:3", /must be a mapping/],
    },
    {
      name: "an object twice",
      given: "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}",
      want: ["2:5", /Pod "a" is already in line 1/],
    },
    {
      name: "an empty item",
      given: "apiVersion: v1\nkind: List\nitems:\n-\n",
      want: ["1:4", /item of a list is empty/],
    },
    {
      name: "an apiVersion that is none",
      given: "apiVersion: a/b/c\nkind: Pod\nmetadata: {name: a}",
      want: ["1:1", /not an apiVersion/],
    },
  ];
for (const { name, given, want } of PROBLEMS) {
  Deno.test(`parseManifests refuses ${name}`, () => {
    assert.throws(() => parseManifests(given, "app.yaml"), (error) => {
      assert.ok(error instanceof K3slbError && error.code === "manifest-invalid");
      const [problem] = error.details["problems"] as { message: string; document: number; line: number }[];
      assert.equal(`${problem?.document}:${problem?.line}`, want[0]);
      assert.match(problem?.message ?? "", want[1]);
      assert.ok(error.message.startsWith(`Cannot read manifest "app.yaml" (document ${problem?.document}, line`));
      return true;
    });
  });
}

Deno.test("parseManifests never fails but with a K3slbError, whatever the bytes", () => {
  const part = fc.constantFrom(
    "apiVersion: v1\n",
    "kind: Pod\n",
    "kind: List\n",
    "items:\n",
    "metadata: {name: a}\n",
    "- ",
    "  ",
    "---\n",
    "items: [{}, null, 1]\n",
    "kind: PodList\n",
    "metadata:\n",
    "  name: x\n",
  );
  const bytes = fc.oneof(
    fc.array(part, { maxLength: 20 }).map((parts) => new TextEncoder().encode(parts.join(""))),
    fc.uint8Array({ maxLength: 300 }),
  );
  fc.assert(
    fc.property(bytes, (given) => {
      try {
        for (const { name, line } of parseManifests(decodeText(given, "f"), "f")) assert.ok(name !== "" && line >= 1);
      } catch (error) {
        if (!(error instanceof K3slbError)) throw error;
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("parseManifests reads 2,000 objects in 5 MB", () => {
  const text = Array.from(
    { length: 2_000 },
    (_, index) =>
      `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map-${index}\ndata:\n  text: |\n    ${"x".repeat(2_500)}\n`,
  ).join("---\n");
  assert.ok(text.length > 5_000_000);
  const objects = parseManifests(text, "big.yaml");
  assert.equal(objects.length, 2_000);
  assert.equal(objects[1_999]?.line, 1_999 * 8 + 1);
});
