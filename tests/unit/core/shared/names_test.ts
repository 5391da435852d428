import assert from "node:assert/strict";
import fc from "fast-check";
import { boundedName, isDnsLabel, isDnsSubdomain } from "../../../../core/shared/names.ts";

const CASES: readonly { readonly given: string; readonly label: boolean; readonly subdomain: boolean }[] = [
  { given: "a", label: true, subdomain: true },
  { given: "0-9", label: true, subdomain: true },
  { given: "a.b", label: false, subdomain: true },
  { given: "a".repeat(63), label: true, subdomain: true },
  { given: "a".repeat(64), label: false, subdomain: true },
  { given: `${"a".repeat(63)}.${"b".repeat(189)}`, label: false, subdomain: true },
  { given: "a".repeat(254), label: false, subdomain: false },
  { given: "", label: false, subdomain: false },
  { given: "A", label: false, subdomain: false },
  { given: "-a", label: false, subdomain: false },
  { given: "a-", label: false, subdomain: false },
  { given: "a..b", label: false, subdomain: false },
  { given: "a_b", label: false, subdomain: false },
  { given: "a\n", label: false, subdomain: false },
];
for (const { given, label, subdomain } of CASES) {
  Deno.test(`isDnsLabel, isDnsSubdomain judge ${JSON.stringify(given.slice(0, 20))} (${given.length} characters)`, () => {
    assert.equal(isDnsLabel(given), label);
    assert.equal(isDnsSubdomain(given), subdomain);
  });
}

Deno.test("boundedName stays within its bound, keeps short names and tells long ones apart", () => {
  const name = fc.stringMatching(/^[a-z]([-a-z0-9]{0,98}[a-z0-9])?$/);
  fc.assert(fc.property(name, name, fc.integer({ min: 10, max: 63 }), (one, other, bound) => {
    const bounded = boundedName(one, bound);
    assert.ok(bounded.length <= bound && isDnsLabel(bounded));
    if (one.length <= bound) assert.equal(bounded, one);
    if (one.length > bound && other.length > bound && one !== other) {
      assert.notEqual(bounded, boundedName(other, bound));
    }
  }));
  assert.throws(() => boundedName("abc", 9), RangeError);
});
