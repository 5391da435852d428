// A node's report is read at once, and no more often than an honest agent writes, however often the Node changes.
import assert from "node:assert/strict";
import { ReportReader } from "../../../../../core/service_lb/nodes/report_reader.ts";
import { createFakeClock } from "../../../../support/fake_clock.ts";

Deno.test("ReportReader reads at once, and then at its pace, each node for itself", async () => {
  const clock = createFakeClock();
  const end = new AbortController();
  const read: string[] = [];
  const reader = new ReportReader({ clock, read: (node) => void read.push(`${node} ${clock.monotonicMs()}`) });
  const running = reader.run(end.signal);
  for (let time = 0; time < 50; time++) {
    reader.note("stolen");
    if (time === 5) reader.note("honest");
    await clock.advance(10);
  }
  assert.deepEqual(
    read.filter((each) => each.startsWith("stolen")),
    [0, 100, 200, 300, 400, 500].map((ms) => `stolen ${ms}`),
  );
  assert.deepEqual(read.filter((each) => each.startsWith("honest")), ["honest 50"]);
  end.abort();
  await running;
});
