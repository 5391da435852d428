// An honest Service beside somebody who tries all he may, as fast as the API server takes it, on a real control plane and three nodes with real
// agents: how many times as long as usual its first answer, a change of its endpoints and its status take. The Lease is looked at meanwhile.
import { arrangeWorstDay, liveWorstDay, type Times, timesUsual } from "../cluster/worst_day_times.ts";
import { startWorld } from "../support/world.ts";
import type { BenchContext } from "./bench_context.ts";
import { duration, type Figure, judged } from "./report.ts";

const WORDS: Readonly<Record<keyof Times, string>> = {
  firstAnswer: "first answer",
  endpointChange: "change of endpoints",
  status: "addresses in the status",
};

/** Five minutes of attack, after a minute of what is usual, twice. */
export async function benchWorstDay({ quick, figures }: BenchContext): Promise<void> {
  const world = await startWorld({ server: "real", nodes: 3 });
  try {
    const ns = await world.namespace("honest");
    const attacked = await arrangeWorstDay({ world, ns });
    const day = await liveWorstDay({ world, ns }, attacked, {
      usualMs: quick ? 15_000 : 60_000,
      attackMs: quick ? 40_000 : 300_000,
    });
    const ratios = timesUsual(day);
    const rows = (["firstAnswer", "endpointChange", "status"] as const).map((what): Figure =>
      judged(
        {
          what: `${WORDS[what]}, times its usual time`,
          value: ratios[what].toFixed(2),
          detail: `${duration(day.under[what])}; beside the same writes elsewhere ${duration(day.busy[what])}, ` +
            `on a quiet API server ${duration(day.quiet[what])}`,
          count: day.under.lives,
        },
        ratios[what],
        { value: 2, direction: "at most", unit: "times" },
      )
    );
    figures(rows);
  } finally {
    await world.stop();
  }
}
