import assert from "node:assert/strict";
import { nextTurn, repeat, SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { createFakeClock } from "../../../support/fake_clock.ts";

Deno.test("a wait is never shorter than asked for", async () => {
  const waits = delaysOf(() => {
    SYSTEM_CLOCK.setTimer(() => {}, 1.2)();
    return SYSTEM_CLOCK.sleep(0.1);
  });
  assert.deepEqual(await waits, [2, 1]);
});

Deno.test("what is repeated happens at moments that all periods share, however long each time takes", async () => {
  const clock = createFakeClock();
  await clock.advance(1234);
  const startMs = clock.monotonicMs();
  assert.ok([1, 5000].every((periodMs) => nextTurn(startMs, periodMs) > startMs));
  assert.equal(nextTurn(5000, 5000), 10_000);
  const turns: number[] = [];
  const stop = repeat(() => turns.push(clock.monotonicMs()), { clock, periodMs: 5000 });
  await clock.advance(20_000);
  stop();
  await clock.advance(20_000);
  assert.equal(turns.length, 4);
  assert.deepEqual(turns.map((atMs) => atMs % 5000), [0, 0, 0, 0]);
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
