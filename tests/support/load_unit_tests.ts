// Loads many test files into one isolate. `deno test` gives each file an isolate of its own, and most of their time went into loading the
// same modules again and again.
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../unit/", import.meta.url));

/** Loads every second file of tests/unit, beginning with the first or the second: their tests are then those of the file that called. */
export async function loadUnitTests(half: 0 | 1): Promise<void> {
  const paths = readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith("_test.ts"));
  for (const path of paths.sort().filter((_, index) => index % 2 === half)) await import(`${FOLDER}${path}`);
}
