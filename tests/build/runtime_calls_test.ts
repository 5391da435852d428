// The same ends, whichever runtime's calls are used: those of Bun, which is in the binary, and those of Node's modules.
import { deepEqual, equal } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { fetchBun } from "../../build/base_runtime.ts";
import { bunPackage, hostTarget } from "../../build/targets.ts";
import { runProgram } from "../support/programs.ts";

const PROGRAM = fileURLToPath(new URL("runtime_calls.ts", import.meta.url));

const WANTED = {
  "input, both outputs, exit code": { code: 3, stdout: "text", stderr: "words\n" },
  "a large output": { code: 0, stdout: 1_700_000, stderr: "" },
  "input that nobody reads": { code: 0, stdout: "", stderr: "" },
  "no such program": "command-missing",
  "a program that hangs": "command-timeout",
  "an end by a signal": "command-failed",
  "the caller's end, while a child holds the output": "AbortError",
  "no file is left open for each input": true,
  "the caller's end before it begins": "AbortError",
  "an ask": "answered",
  "the asked one sees": "ECONNRESET",
  "an ask of nobody": "refused",
  "one more ask of nobody": "refused",
};

for (const runtime of ["bun", "deno"]) {
  Deno.test(`programs that are run and nodes that are asked end as they should on ${runtime}`, async () => {
    const command = runtime === "bun"
      ? [await fetchBun(bunPackage(hostTarget())), PROGRAM]
      : [Deno.execPath(), "run", "-A", "--no-check", PROGRAM];
    const { code, stdout, stderr } = await runProgram(command);
    equal(code, 0, stderr);
    deepEqual(JSON.parse(stdout), WANTED);
  });
}
