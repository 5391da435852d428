// Loads many test files into one isolate. `deno test` gives each file an isolate of its own, and most of their time went into loading the
// same modules again and again. Three, for two cores: each waits a third of its time, for files, programs and timers.
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("../unit/", import.meta.url));

/** Loads every third file of tests/unit, from the one at `first` on: their tests are then those of the file that called. */
export async function loadUnitTests(first: 0 | 1 | 2): Promise<void> {
  const paths = readdirSync(FOLDER, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith("_test.ts"));
  for (const path of paths.sort().filter((_, index) => index % 3 === first)) await import(`${FOLDER}${path}`);
}
