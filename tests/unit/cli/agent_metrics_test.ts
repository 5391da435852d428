import assert from "node:assert/strict";
import { createAgentMetrics } from "../../../cli/agent_metrics.ts";
import { createMetricRegistry } from "../../../core/runtime/metrics.ts";
import type { AgentPass } from "../../../node_agent/agent.ts";

const REPORT = { families: ["IPv4"], failures: [], ruleCounts: { IPv4: 7 }, chainsWritten: 3 } as const;

interface Case {
  readonly name: string;
  readonly given: readonly AgentPass[];
  readonly want: { readonly problem: string | undefined; readonly samples: readonly string[] };
}

const CASES: readonly Case[] = [
  { name: "not ready before the first pass", given: [], want: { problem: "no pass has been made yet", samples: [] } },
  {
    name: "ready after a good pass, with counts",
    given: [{ durationMs: 20, ports: 2, pods: 1, report: REPORT }, {
      durationMs: 5,
      ports: 2,
      pods: 1,
      report: REPORT,
    }],
    want: {
      problem: undefined,
      samples: [
        'k3slb_agent_passes_total{result="ok"} 2',
        "k3slb_agent_ports 2",
        "k3slb_agent_pods 1",
        'k3slb_agent_rules{family="IPv4"} 7',
        "k3slb_agent_chains_written_total 6",
        "k3slb_agent_pass_duration_seconds_count 2",
      ],
    },
  },
  {
    name: "not ready after a failed pass, with the last counts",
    given: [
      { durationMs: 20, ports: 2, pods: 1, report: REPORT },
      { durationMs: 5, ports: 3, pods: 1, error: new Error("locked") },
    ],
    want: {
      problem: "locked",
      samples: [
        'k3slb_agent_passes_total{result="error"} 1',
        "k3slb_agent_ports 3",
        'k3slb_agent_rules{family="IPv4"} 7',
      ],
    },
  },
];

for (const { name, given, want } of CASES) {
  Deno.test(`createAgentMetrics: ${name}`, () => {
    const registry = createMetricRegistry();
    const metrics = createAgentMetrics(registry);
    for (const pass of given) metrics.observe(pass);
    assert.equal(metrics.problem(), want.problem);
    const lines = registry.render().split("\n");
    assert.deepEqual(want.samples.filter((sample) => !lines.includes(sample)), [], lines.join("\n"));
  });
}
