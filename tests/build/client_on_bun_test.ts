// The client of the API server does on the binary's own runtime what its unit tests say: sockets and TLS are the runtime's.
import { equal, match } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { fetchBun } from "../../build/base_runtime.ts";
import { bunPackage, hostTarget } from "../../build/targets.ts";
import { runProgram } from "../support/programs.ts";

const PROGRAM = fileURLToPath(new URL("unit_tests_on_bun.ts", import.meta.url));
const FILES = ["client_test.ts", "client_connections_test.ts", "client_watch_test.ts"].map((name) =>
  fileURLToPath(new URL(`../unit/core/kube/${name}`, import.meta.url))
);

Deno.test("the client's unit tests pass on Bun", async () => {
  const { code, stdout, stderr } = await runProgram([await fetchBun(bunPackage(hostTarget())), PROGRAM, ...FILES]);
  equal(code, 0, stderr);
  match(stdout, /^[1-9]\d tests$/m);
});
