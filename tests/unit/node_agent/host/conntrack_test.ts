// Deletions of stale flows: one Service's thousands leave room for another's.
import assert from "node:assert/strict";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { ConntrackCleaner } from "../../../../node_agent/host/conntrack.ts";
import type { FlowFilter } from "../../../../node_agent/rules/conntrack_plan.ts";
import { createFakeClock } from "../../../support/fake_clock.ts";

function filters(port: number, count: number): readonly FlowFilter[] {
  return Array.from({ length: count }, (_, index): FlowFilter => ({
    family: "IPv4",
    protocol: "udp",
    port,
    replySource: `10.42.${index >> 8}.${index & 255}`,
    replyPort: 8080,
  }));
}

Deno.test("ConntrackCleaner: a port whose thousands of endpoints go takes turns with others, and leaves them room", async () => {
  const clock = createFakeClock();
  const ports: number[] = [];
  const warnings: string[] = [];
  const exec = {
    run: (_program: string, args: readonly string[]) => {
      ports.push(Number(args[args.indexOf("--orig-port-dst") + 1]));
      return Promise.resolve({ code: 0, stdout: "", stderr: "" });
    },
  };
  const log = { ...SILENT_LOGGER, warn: (message: string) => void warnings.push(message) };
  const cleaner = new ConntrackCleaner({ exec: exec as never, log, clock });
  cleaner.schedule({ filters: filters(80, 9_000), checks: [] });
  cleaner.schedule({ filters: filters(53, 3), checks: [] });
  await clock.advance(100);
  await cleaner.settled();
  assert.deepEqual(ports.slice(0, 6), [80, 53, 80, 53, 80, 53]);
  assert.equal(ports.filter((port) => port === 80).length, 64);
  assert.deepEqual(warnings, ["Too many stale flows at once: some are left to time out"]);
  cleaner.schedule({ filters: filters(80, 1), checks: [] });
  await clock.advance(100);
  await cleaner.settled();
  assert.equal(ports.length, 64 + 3 + 1);
});
