// How a program of the build talks and ends. On Deno only.
import { renderError } from "../cli/output/print_error.ts";

/** Runs `main`; an error is printed as users of k3slb see it, and the exit code is then 1. */
export async function runMain(main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    Deno.stderr.writeSync(new TextEncoder().encode(renderError(error, true)));
    Deno.exit(1);
  }
}

/** One line on standard output. */
export function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
