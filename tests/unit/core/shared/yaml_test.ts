// Reading and writing YAML. What kubectl makes of whole documents is compared in core/manifests/objects/corpus_test.ts.
import assert from "node:assert/strict";
import fc from "fast-check";
import { isK3slbError, K3slbError } from "../../../../core/shared/errors.ts";
import { parseYaml, parseYamlDocuments, stringifyYaml } from "../../../../core/shared/yaml.ts";
import { anyText } from "../../../support/any_text.ts";

Deno.test("parseYaml keeps integers that a number can't hold", () => {
  assert.equal(JSON.stringify(parseYaml("a: 9007199254740993")), '{"a":9007199254740993}');
  assert.equal(stringifyYaml(parseYaml("a: -9223372036854775808")), "a: -9223372036854775808\n");
});

Deno.test("parseYaml gives null for nothing and refuses two documents", () => {
  assert.equal(parseYaml(""), null);
  assert.equal(parseYaml("# only a comment\n---\n"), null);
  assert.deepEqual(parseYaml("---\na: 1\n---\n# nothing\n"), { a: 1 });
  assert.throws(() => parseYaml("a: 1\n---\nb: 2\n", { file: "x.yaml" }), {
    code: "yaml-invalid",
    message: 'Cannot parse "x.yaml" (document 2, line 3): Only one document is expected here',
  });
});

Deno.test("parseYaml keeps a key named __proto__ as a plain field", () => {
  const value = parseYaml("__proto__: {polluted: yes}\nb: 1");
  assert.equal(JSON.stringify(value), '{"__proto__":{"polluted":true},"b":1}');
  assert.equal(({} as Record<string, unknown>)["polluted"], undefined);
});

Deno.test("parseYamlDocuments says where each value is", () => {
  const [first, second] = parseYamlDocuments("# c\na: 1\n---\nitems:\n- x: 1\n- y:\n    z: 2\n");
  assert.deepEqual([first?.index, first?.line, second?.index, second?.line], [1, 2, 2, 4]);
  assert.equal(second?.lineOf(["items", 1, "y", "z"]), 7);
  assert.equal(second?.lineOf(["items", 1, "missing"]), 6);
});

Deno.test("parseYamlDocuments names every problem of every document", () => {
  assert.throws(() => parseYamlDocuments("a: 1\na: 2\n---\nb: .inf\n---\nc: [\n", { file: "m.yaml" }), (error) => {
    assert.ok(isK3slbError(error, "yaml-invalid"));
    const problems = error.details["problems"] as { document: number; line: number }[];
    assert.deepEqual(problems.slice(0, 3).map(({ document, line }) => [document, line]), [[1, 2], [2, 4], [3, 7]]);
    return true;
  });
});

const ATTACKS: readonly { readonly name: string; readonly given: string }[] = [
  {
    name: "aliases that multiply",
    given: `a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n${
      Array.from({ length: 9 }, (_, i) => `a${i + 1}: &a${i + 1} [${Array(10).fill(`*a${i}`).join(",")}]\n`).join("")
    }`,
  },
  { name: "nesting of 100,000 lists", given: `a: ${"[".repeat(100_000)}` },
  { name: "nesting of 5,000 lists that are closed", given: `a: ${"[".repeat(5_000)}${"]".repeat(5_000)}` },
];
for (const { name, given } of ATTACKS) {
  Deno.test(`parseYamlDocuments refuses ${name}`, () => {
    assert.throws(() => parseYamlDocuments(given), { code: "yaml-invalid" });
  });
}

Deno.test("stringifyYaml writes text that Kubernetes reads back as the same value", () => {
  const tricky = fc.oneof(
    fc.constantFrom(
      "yes",
      "y",
      "off",
      "~",
      "",
      "null",
      "0777",
      "0o17",
      "0x1f",
      "1_000",
      "1e3",
      "<<",
      ".inf",
      "-",
      "?",
      "a: b",
    ),
    fc.constantFrom(
      "# x",
      "- a",
      "*a",
      "&a",
      "!t",
      "%x",
      "@x",
      "`x",
      "'",
      '"',
      " a ",
      "a\n",
      "\na",
      "a\n\n",
      "\t",
      "---",
      "...",
    ),
    fc.string({ unit: "grapheme", maxLength: 20 }).filter((text) => !/\p{Cc}/u.test(text) && text.isWellFormed()),
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      tricky,
      fc.integer(),
      fc.constantFrom(2 ** 53, -(2 ** 53), 2 ** 60, 2 ** 63, 2 ** 64, 1e21, -1e-7),
      fc.boolean(),
      fc.constant(null),
      fc.double({ noNaN: true, noDefaultInfinity: true }).filter((number) => !Object.is(number, -0)),
      fc.array(tie("any"), { maxLength: 4 }),
      fc.dictionary(tricky.filter((key) => key !== "__proto__"), tie("any"), { maxKeys: 4, noNullPrototype: true }),
    ),
  })).any;
  fc.assert(fc.property(value, (given) => assert.deepEqual(parseYaml(stringifyYaml(given)), given)), { numRuns: 400 });
});

Deno.test("parseYamlDocuments never fails but with a K3slbError", () => {
  const pieces = fc.constantFrom(
    ..."a b: - [ ] { } , : ? & * ! | > ' \" % @ # \n \n\n \t --- ... &a *a !!int !!binary << ~ .inf 0x 1e9 \\ \r\n \uFEFF \u0000 \uD800"
      .split(" "),
  );
  const text = fc.oneof(
    fc.array(fc.oneof(pieces, fc.constant(" "), fc.string({ maxLength: 3 })), { maxLength: 60 }).map((parts) =>
      parts.join("")
    ),
    anyText(200),
  );
  fc.assert(
    fc.property(text, (given) => {
      try {
        JSON.stringify(parseYamlDocuments(given).map(({ value }) => value));
      } catch (error) {
        if (!(error instanceof K3slbError)) throw error;
      }
    }),
    { numRuns: 3_000 },
  );
});

Deno.test("parseYamlDocuments reads a file of 5 MB", () => {
  const line = `  key: ${"x".repeat(1_000)}\n`;
  const text = Array.from({ length: 5_000 }, (_, index) => `entry${index}:\n${line}`).join("");
  assert.ok(text.length > 5_000_000);
  const [document] = parseYamlDocuments(text);
  assert.equal(Object.keys(document?.value as object).length, 5_000);
  assert.equal(document?.lineOf(["entry4999", "key"]), 10_000);
});
