// When the kernel's rules are looked at again.
import { deepEqual, ok } from "node:assert/strict";
import { KernelCheck } from "../../../../../node_agent/loop/checks/kernel_check.ts";
import { createFakeClock } from "../../../../support/fake_clock.ts";
import { SILENT_LOGGER } from "../../../../../core/shared/log.ts";

Deno.test("KernelCheck.look() comes at shared moments while it takes little, and less often the longer it takes", async () => {
  const clock = createFakeClock();
  let tookMs = 0;
  let repairs: readonly string[] = [];
  const check = new KernelCheck({
    clock,
    dataplane: {
      repair: () => {
        clock.work(tookMs);
        return Promise.resolve({ repairs, warnings: [] });
      },
    },
    logger: SILENT_LOGGER,
    signal: new AbortController().signal,
    onChange: () => {},
    countRepairs: () => {},
  });
  const next = async (workMs: number): Promise<number> => {
    tookMs = workMs;
    return await check.look();
  };
  await clock.advance(12_300);
  deepEqual([await next(20), clock.monotonicMs()], [15_000 - 12_320, 12_320]);
  await clock.advance(15_000 - 12_320);
  deepEqual(await next(20), 5000 - 20);
  ok(await next(200) >= 10_000, "no more than a fiftieth of the time");
  deepEqual(await next(2000), 15_000);
  repairs = ["Put back a jump"];
  deepEqual(await next(2000), 5000);
});
