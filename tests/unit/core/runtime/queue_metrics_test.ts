import assert from "node:assert/strict";
import { createMetricRegistry } from "../../../../core/runtime/metrics.ts";
import { createQueueMetrics } from "../../../../core/runtime/queue_metrics.ts";
import { createWorkQueue } from "../../../../core/runtime/work_queue.ts";
import { createFakeClock } from "../../../support/fake_clock.ts";

Deno.test("createQueueMetrics: what waits, came, came again, took its time and failed", async () => {
  const clock = createFakeClock();
  const registry = createMetricRegistry();
  const observe = createQueueMetrics(registry);
  const queue = createWorkQueue({ clock, observer: observe("services") });
  const stop = new AbortController();
  for (const key of ["good", "bad", "good"]) queue.add(key);
  const samples = (): Record<string, number> =>
    Object.fromEntries(
      registry.render().split("\n").flatMap((line) => {
        const [, name = "", value] = /^k3slb_(\w+)\{queue="services"\} (\S+)$/.exec(line) ?? [];
        return value === undefined ? [] : [[name, Number(value)]];
      }),
    );
  assert.deepEqual(samples(), {
    queue_depth: 2,
    queue_adds_total: 3,
    queue_retries_total: 0,
    reconcile_errors_total: 0,
  });
  let isBroken = true;
  const done = queue.run({
    signal: stop.signal,
    reconcile: async (key) => {
      await clock.sleep(250);
      if (key === "bad" && isBroken) throw new Error("broken");
    },
  });
  await clock.advance(500);
  isBroken = false;
  await clock.advance(10_000);
  assert.deepEqual(samples(), {
    queue_depth: 0,
    queue_adds_total: 4,
    queue_retries_total: 1,
    reconcile_errors_total: 1,
    reconcile_duration_seconds_sum: 0.75,
    reconcile_duration_seconds_count: 3,
  });
  stop.abort();
  await done;
});

Deno.test("createQueueMetrics: a queue that is made again under its name counts on, and is asked in place of the first", () => {
  const registry = createMetricRegistry();
  const observe = createQueueMetrics(registry);
  const clock = createFakeClock();
  createWorkQueue({ clock, observer: observe("charts") }).add("a");
  createWorkQueue({ clock, observer: observe("charts") });
  assert.match(registry.render(), /^k3slb_queue_depth\{queue="charts"\} 0$/m);
  assert.match(registry.render(), /^k3slb_queue_adds_total\{queue="charts"\} 1$/m);
});
