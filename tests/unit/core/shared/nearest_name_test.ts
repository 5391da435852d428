// When "did you mean" has an answer, and that the distance behind it is one.
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { editDistance, nearestName } from "../../../../core/shared/nearest_name.ts";

const CASES: readonly {
  readonly name: string;
  readonly given: [string, string[]];
  readonly want: string | undefined;
}[] = [
  { name: "one letter missing", given: ["srver", ["server", "agent"]], want: "server" },
  { name: "two letters swapped", given: ["agnet", ["server", "agent"]], want: "agent" },
  { name: "capitals", given: ["SERVER", ["server"]], want: "server" },
  { name: "too far", given: ["banana", ["server", "agent"]], want: undefined },
  { name: "short words need to be near", given: ["xy", ["ab"]], want: undefined },
  { name: "no names", given: ["server", []], want: undefined },
];

for (const { name, given, want } of CASES) {
  Deno.test(`nearestName: ${name}`, () => assert.equal(nearestName(...given), want));
}

Deno.test("editDistance: is the same both ways, and 0 for equal words only", () => {
  fc.assert(fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
    assert.equal(editDistance(a, b), editDistance(b, a));
    assert.equal(editDistance(a, b) === 0, a === b);
    assert.ok(editDistance(a, b) <= Math.max(a.length, b.length));
  }));
});
