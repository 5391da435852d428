import assert from "node:assert/strict";
import { isMapping, present } from "../../../../core/shared/values.ts";

Deno.test("isMapping: objects with fields, no lists, no null", () => {
  assert.deepEqual([{}, { a: 1 }, [], null, "a", undefined].map(isMapping), [true, true, false, false, false, false]);
});

Deno.test("present: what is undefined is left out, what is empty, false or null stays", () => {
  const given: { a: string; b?: number | undefined; c: null; d: string; e: boolean } = {
    a: "x",
    b: undefined,
    c: null,
    d: "",
    e: false,
  };
  assert.deepEqual(present(given), { a: "x", c: null, d: "", e: false });
});
