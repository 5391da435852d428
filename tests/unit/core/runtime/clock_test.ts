import assert from "node:assert/strict";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";

Deno.test("a wait is never shorter than asked for", async () => {
  const waits = delaysOf(() => {
    SYSTEM_CLOCK.setTimer(() => {}, 1.2)();
    return SYSTEM_CLOCK.sleep(0.1);
  });
  assert.deepEqual(await waits, [2, 1]);
});

/** What timers are asked for in `work`, in milliseconds. */
async function delaysOf(work: () => Promise<void>): Promise<readonly (number | undefined)[]> {
  const original = globalThis.setTimeout;
  const delays: (number | undefined)[] = [];
  globalThis.setTimeout = ((callback: () => void, delay?: number) => {
    delays.push(delay);
    return original(callback, delay);
  }) as typeof setTimeout;
  try {
    await work();
  } finally {
    globalThis.setTimeout = original;
  }
  return delays;
}
