// Runs unit test files on Bun, which is in the binary: what they need of `deno test` is the word `Deno.test`. Usage: FILE...
import process from "node:process";

const tests: (readonly [string, () => unknown])[] = [];
const named = (name: string, run: () => unknown): void => void tests.push([name, run]);
Object.assign(globalThis, { Deno: { test: named } });
for (const file of process.argv.slice(2)) await import(file);
for (const [name, run] of tests) {
  try {
    await run();
  } catch (error) {
    process.stderr.write(`${name}: ${error instanceof Error ? error.stack ?? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
process.stdout.write(`${tests.length} tests\n`);
// What a failed test leaves open would keep it alive.
process.exit();
