// So many times in a row, then once in each interval; what is not used comes back with time.
import assert from "node:assert/strict";
import { Pace } from "../../../../core/runtime/pace.ts";

/** Does it whenever it may, from `fromMs` to before `toMs`, millisecond by millisecond. */
function timesOf(pace: Pace, fromMs: number, toMs: number): readonly number[] {
  const times: number[] = [];
  for (let nowMs = fromMs; nowMs < toMs; nowMs++) {
    if (pace.delayMs(nowMs) > 0) continue;
    pace.note(nowMs);
    times.push(nowMs);
  }
  return times;
}

Deno.test("Pace lets some pass in a row, then one in each interval", () => {
  const pace = new Pace({ inARow: 3, intervalMs: 100 });
  assert.deepEqual(timesOf(pace, 0, 301), [0, 1, 2, 100, 200, 300]);
});

Deno.test("Pace gives one back for each interval of calm, and no more than the first ones", () => {
  const pace = new Pace({ inARow: 3, intervalMs: 100 });
  timesOf(pace, 0, 3);
  assert.deepEqual(timesOf(pace, 200, 250), [200, 201]);
  assert.deepEqual(timesOf(pace, 10_000, 10_050), [10_000, 10_001, 10_002]);
});

Deno.test("Pace goes by the interval of the moment", () => {
  let intervalMs = 100;
  const pace = new Pace({ inARow: 1, intervalMs: () => intervalMs });
  assert.deepEqual(timesOf(pace, 0, 101), [0, 100]);
  intervalMs = 10;
  assert.deepEqual(timesOf(pace, 200, 215), [200, 210]);
});
