// Work on a thread ends with its caller, its time or its fault; nothing of it stays.
import assert from "node:assert/strict";
import { isAside } from "../../../../core/runtime/aside.ts";
import { endless, faulty } from "./_endless_task.ts";

Deno.test("a task that does not end is given up, and says so", async () => {
  await assert.rejects(endless(""), { code: "aside", message: '"endless" took longer than 0.2 s' });
});

Deno.test("a task ends with its caller", async () => {
  const stop = new AbortController();
  const work = endless("", stop.signal);
  stop.abort();
  await assert.rejects(work, { name: "AbortError" });
});

Deno.test("a fault of the work reaches the caller", async () => {
  await assert.rejects(faulty(""), { code: "aside", message: "no string" });
  assert.equal(isAside(), false);
});
