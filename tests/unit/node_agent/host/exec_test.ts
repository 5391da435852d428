// Running programs, and the texts that become packet mark bits.
import assert from "node:assert/strict";
import { createExec } from "../../../../node_agent/host/exec.ts";
import { DEFAULT_MARK_BITS, parseMarkBits } from "../../../../node_agent/rules/parse_mark_bits.ts";

const exec = createExec();

Deno.test("Exec.run gives input, collects both outputs and the exit code", async () => {
  const result = await exec.run("sh", ["-c", "cat; echo words >&2; exit 3"], { stdin: "text", timeoutMs: 10_000 });
  assert.deepEqual(result, { code: 3, stdout: "text", stderr: "words\n" });
});

Deno.test("Exec.run takes large inputs and outputs, and programs that read nothing", async () => {
  const stdin = "0123456789abcdef\n".repeat(100_000);
  assert.equal((await exec.run("cat", [], { stdin, timeoutMs: 20_000 })).stdout.length, stdin.length);
  assert.equal((await exec.run("true", [], { stdin, timeoutMs: 20_000 })).code, 0);
});

Deno.test("Exec.run says that a program is missing", async () => {
  await assert.rejects(exec.run("k3slb-no-such-program", [], { timeoutMs: 10_000 }), { code: "command-missing" });
});

Deno.test("Exec.run kills a program that hangs, also when its child holds the output", async () => {
  await assert.rejects(exec.run("sh", ["-c", "sleep 5 & wait"], { timeoutMs: 100 }), {
    code: "command-timeout",
    retriable: true,
  });
});

Deno.test("Exec.run ends with its signal", async () => {
  const controller = new AbortController();
  const running = exec.run("sleep", ["30"], { timeoutMs: 60_000, signal: controller.signal });
  controller.abort();
  await assert.rejects(running, { name: "AbortError" });
  await assert.rejects(exec.run("true", [], { timeoutMs: 1000, signal: controller.signal }), { name: "AbortError" });
});

Deno.test("Exec.run says that a signal ended the program", async () => {
  await assert.rejects(exec.run("sh", ["-c", "kill -9 $$"], { timeoutMs: 10_000 }), { code: "command-failed" });
});

Deno.test("parseMarkBits reads the default", () => {
  assert.deepEqual(parseMarkBits(DEFAULT_MARK_BITS), {
    ours: 0x1000000,
    masquerade: 0x2000000,
    drop: 0x4000000,
    reject: 0x8000000,
  });
  assert.equal(parseMarkBits("1, 2, 4, 0x80000000").reject, 0x80000000);
});

for (
  const text of [
    "",
    "1,2,4",
    "1,2,4,8,16",
    "1,2,4,4",
    "1,2,4,3",
    "1,2,4,x",
    "1,2,4,0x100000000",
    "1,2,4,0x4000",
    "1,2,4,0",
    "1,2,4,-8",
  ]
) {
  Deno.test(`parseMarkBits refuses "${text}"`, () => {
    assert.throws(() => parseMarkBits(text), { code: "mark-bits-invalid" });
  });
}
