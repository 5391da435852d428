// How failures are printed, with and without their causes.
import assert from "node:assert/strict";
import { renderError } from "../../../../cli/output/print_error.ts";
import { K3slbError } from "../../../../core/shared/errors.ts";

const CAUSE = new K3slbError("Middle", { code: "middle", cause: new TypeError("Bottom") });

const CASES: readonly { readonly name: string; readonly given: [unknown, boolean]; readonly want: RegExp }[] = [
  {
    name: "message, hint and code",
    given: [new K3slbError("Top", { code: "top", hint: "Do this", cause: CAUSE }), false],
    want: /^error: Top\n {2}hint: Do this\n {2}code: top\n$/,
  },
  { name: "no hint", given: [new K3slbError("Top", { code: "top" }), false], want: /^error: Top\n {2}code: top\n$/ },
  {
    name: "causes down to the last",
    given: [new K3slbError("Top", { code: "top", cause: CAUSE }), true],
    want: /^error: Top\n {2}code: top\n {2}caused by: Middle\n {2}caused by: Bottom\n$/,
  },
  {
    name: "a fault of the program",
    given: [new TypeError("Oops"), false],
    want: /^error: Oops\n {2}hint: .*\n {2}code: internal\n$/,
  },
  { name: "where the fault is", given: [new TypeError("Oops"), true], want: /^ {2}at /m },
  { name: "something that is no error", given: ["text", true], want: /^error: text\n/ },
];

for (const { name, given, want } of CASES) {
  Deno.test(`renderError: ${name}`, () => assert.match(renderError(...given), want));
}

Deno.test("renderError: a chain of causes that bites its tail ends", () => {
  const error = new Error("A");
  error.cause = error;
  assert.match(renderError(error, true), /^error: A\n/);
});
