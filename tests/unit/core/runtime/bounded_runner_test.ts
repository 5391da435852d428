import assert from "node:assert/strict";
import {
  type BoundedRunner,
  type BoundedRunnerOptions,
  startBoundedRunner,
} from "../../../../core/runtime/bounded_runner.ts";
import { createFakeClock, type FakeClock } from "../../../support/fake_clock.ts";

interface World {
  readonly runner: BoundedRunner;
  readonly clock: FakeClock;
  readonly startsMs: number[];
  readonly stop: () => Promise<void>;
}

function start(
  options: Partial<BoundedRunnerOptions> & { durationMs?: number; isFailing?: () => boolean } = {},
): World {
  const { durationMs = 0, isFailing = () => false, ...rest } = options;
  const clock = createFakeClock();
  const abort = new AbortController();
  const startsMs: number[] = [];
  let isRunning = false;
  const runner = startBoundedRunner({
    clock,
    signal: abort.signal,
    minIntervalMs: 100,
    run: async () => {
      assert.equal(isRunning, false, "runs do not overlap");
      isRunning = true;
      startsMs.push(clock.monotonicMs());
      if (durationMs > 0) await clock.sleep(durationMs);
      isRunning = false;
      if (isFailing()) throw new Error("failed");
    },
    ...rest,
  });
  return {
    runner,
    clock,
    startsMs,
    stop: async () => {
      abort.abort();
      await clock.advance(durationMs);
      await runner.done;
      assert.equal(clock.timers, 0);
    },
  };
}

Deno.test("runner runs at once after a quiet time, then at most once per interval (1, 2)", async () => {
  const { runner, clock, startsMs, stop } = start();
  await clock.advance(1000);
  assert.deepEqual(startsMs, [], "nothing without a trigger");
  for (let step = 0; step < 25; step++) {
    runner.trigger();
    await clock.advance(10);
  }
  await clock.advance(1000);
  assert.deepEqual(startsMs, [1000, 1100, 1200, 1300]);
  runner.trigger();
  await clock.advance(0);
  assert.equal(startsMs.at(-1), 2250);
  await stop();
});

Deno.test("runner follows a trigger during a run with another whole run (3)", async () => {
  const { runner, clock, startsMs, stop } = start({ durationMs: 250 });
  runner.trigger();
  await clock.advance(10);
  runner.trigger();
  runner.trigger();
  await clock.advance(2000);
  assert.deepEqual(startsMs, [0, 250]);
  await stop();
});

Deno.test("runner repeats a failed run with growing delays; a trigger does not wait for them (4)", async () => {
  let isBroken = true;
  const failures: number[] = [];
  const { runner, clock, startsMs, stop } = start({
    isFailing: () => isBroken,
    retryMs: 1000,
    maxRetryMs: 3000,
    onFailure: (_error, count) => failures.push(count),
  });
  runner.trigger();
  await clock.advance(9500);
  assert.deepEqual(startsMs, [0, 1000, 3000, 6000, 9000]);
  isBroken = false;
  runner.trigger();
  await clock.advance(60_000);
  assert.equal(startsMs.at(-1), 9500);
  assert.equal(startsMs.length, 6, "quiet after success");
  assert.deepEqual(failures, [1, 2, 3, 4, 5]);
  await stop();
});

Deno.test("runner runs without triggers when it has a longest interval (5)", async () => {
  const { clock, startsMs, stop } = start({ maxIntervalMs: 500 });
  await clock.advance(1600);
  assert.deepEqual(startsMs, [500, 1000, 1500]);
  await stop();
});

Deno.test("runner waits for its run when it is stopped, and ignores later triggers", async () => {
  const { runner, clock, startsMs, stop } = start({ durationMs: 50 });
  runner.trigger();
  await clock.advance(10);
  await stop();
  runner.trigger();
  await clock.advance(1000);
  assert.equal(startsMs.length, 1);
});
