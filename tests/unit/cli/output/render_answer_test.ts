// The screen of explain for large Services and clusters: it fits, and says what it leaves out.
import { equal, match, ok } from "node:assert/strict";
import { type ExplainAnswer, renderAnswer } from "../../../../cli/output/render_answer.ts";

function answerFor(nodes: ExplainAnswer["nodes"], fields: Partial<ExplainAnswer> = {}): ExplainAnswer {
  return {
    ...{ namespace: "shop", name: "web", families: ["IPv4"], trafficPolicy: "Cluster", ours: true, problem: true },
    ports: Array.from({ length: 32 }, (_, index) => `${8000 + index}/TCP`),
    addresses: nodes.map((_, index) => `192.0.2.${index % 250}`),
    served: { status: "True", reason: "PartlyServed", message: "Served by 10 nodes: node1 and 9 more" },
    endpoints: { ready: 1000, terminating: 3, closed: 2 },
    nodes,
    packets: { unknown: "it is not a node of the cluster; run this as root on one" },
    ...fields,
  };
}

function nodesOf(count: number): ExplainAnswer["nodes"] {
  return Array.from({ length: count }, (_, index) => {
    const node = `node${index}`;
    if (index % 2 === 0) return { node, serves: true, addresses: [`192.0.2.${index % 250}`] };
    return {
      node,
      serves: false,
      reason: "NoPod",
      message: "it has no pod of the DaemonSet yet",
      remedy: `Look at ${node}`,
    };
  });
}

function screen(answer: ExplainAnswer, wide = false): readonly string[] {
  const lines = renderAnswer(answer, { width: 80, wide }).trimEnd().split("\n");
  for (const line of lines) ok(line.length <= 80, line);
  return lines;
}

Deno.test("renderAnswer: 32 ports on 20 nodes, 1,000 endpoints: every node on a line of its own, 60 lines at most", () => {
  const lines = screen(answerFor(nodesOf(20)));
  ok(lines.length <= 60, `${lines.length} lines`);
  equal(lines.filter((line) => /^node\d+ +(yes|no)/.test(line)).length, 20);
  match(lines.join("\n"), /^Endpoints: 1000 ready, 3 terminating, 2 not ready$/m);
  match(lines.join(" ").replaceAll(/\s+/g, " "), /Ports: 8000\/TCP, .* 8023\/TCP and 8 more Families/);
});

Deno.test("renderAnswer: 1,000 nodes: those of whom the same is said share a line; wide leaves nothing out", () => {
  const answer = answerFor(nodesOf(1000));
  const lines = screen(answer);
  ok(lines.length <= 60, `${lines.length} lines`);
  const text = lines.join("\n");
  match(text, /^node0 node2 \+498 +yes$/m);
  match(text, /^node1 node3 \+498 +no +NoPod: it has no pod/m);
  match(text, /^\.\.\. and 488 more: -o wide$/m);
  const wide = screen(answer, true).join("\n");
  match(wide, /^NODE +SERVES +ADDRESSES +WHY$/m);
  for (const node of ["node998", "node999"]) match(wide, new RegExp(`^${node} +(yes +192\\.0\\.2|no +NoPod)`, "m"));
  match(wide, /8031\/TCP/);
});

Deno.test("renderAnswer: a Service that is not ours has no nodes and no packets", () => {
  const { packets: _, ...answer } = answerFor([], { ours: false });
  ok(!/NODE|Packets/.test(screen(answer).join("\n")));
});
