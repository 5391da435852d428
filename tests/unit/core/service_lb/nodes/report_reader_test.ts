// A node's report is read at once, and no more often than an honest agent writes, however often the Node changes.
import assert from "node:assert/strict";
import { ReportReader } from "../../../../../core/service_lb/nodes/report_reader.ts";
import { createFakeClock } from "../../../../support/fake_clock.ts";

Deno.test("ReportReader reads a few times at once, and then at its pace, each node for itself", async () => {
  const clock = createFakeClock();
  const end = new AbortController();
  const read: string[] = [];
  const reader = new ReportReader({ clock, read: (node) => read.push(`${node} ${clock.monotonicMs()}`) < 0 });
  const running = reader.run(end.signal);
  for (let time = 0; time < 50; time++) {
    reader.note("stolen");
    if (time === 5) reader.note("honest");
    await clock.advance(10);
  }
  assert.deepEqual(
    read.filter((each) => each.startsWith("stolen")),
    [0, 10, 20, 100, 200, 300, 400, 500].map((ms) => `stolen ${ms}`),
  );
  assert.deepEqual(read.filter((each) => each.startsWith("honest")), ["honest 50"]);
  end.abort();
  await running;
});

Deno.test("ReportReader reads a node that changes its mind without end ever more seldom, and believes it again later", async () => {
  const clock = createFakeClock();
  const end = new AbortController();
  const readMs: number[] = [];
  let wavers = true;
  const reader = new ReportReader({
    clock,
    read: () => {
      readMs.push(clock.monotonicMs());
      return wavers;
    },
  });
  const running = reader.run(end.signal);
  const noteFor = async (seconds: number): Promise<number> => {
    readMs.length = 0;
    for (let quarter = 0; quarter < seconds * 4; quarter++) {
      reader.note("stolen");
      await clock.advance(250);
    }
    return readMs.length;
  };
  // As often as any honest node changes nobody minds.
  assert.equal(await noteFor(12), 48);
  await noteFor(30);
  const later = await noteFor(60);
  assert.ok(later <= 12 && later >= 3, String(later));
  wavers = false;
  await clock.advance(120_000);
  assert.ok(await noteFor(10) >= 39);
  end.abort();
  await running;
});
