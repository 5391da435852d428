import assert from "node:assert/strict";
import { isDnsLabel, isDnsSubdomain } from "../../../../core/shared/names.ts";

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
