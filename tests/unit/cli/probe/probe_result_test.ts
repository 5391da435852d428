import { deepEqual, equal, match, ok } from "node:assert/strict";
import { isProbeProblem, probeRow, renderProbe } from "../../../../cli/probe/probe_result.ts";
import { failureOutcome, type ProbeOutcome, probeTargets } from "../../../../core/runtime/probe_outcome.ts";
import type { Protocol } from "../../../../core/shared/ip.ts";

Deno.test("probeTargets: every port at every address", () => {
  const ports = [{ port: 80, protocol: "TCP" }, { port: 53, protocol: "UDP" }] as const;
  deepEqual(probeTargets(["192.0.2.1", "2001:db8::1"], ports).map(({ address, port }) => `${address} ${port}`), [
    "192.0.2.1 80",
    "192.0.2.1 53",
    "2001:db8::1 80",
    "2001:db8::1 53",
  ]);
});

Deno.test("failureOutcome: refused, timed out and no route are told apart; another keeps the system's word", () => {
  const table: Readonly<Record<string, ProbeOutcome>> = {
    ECONNREFUSED: { state: "Refused" },
    ECONNRESET: { state: "Refused" },
    ETIMEDOUT: { state: "TimedOut" },
    EHOSTUNREACH: { state: "NoRoute" },
    ENETUNREACH: { state: "NoRoute" },
    EAFNOSUPPORT: { state: "NoRoute" },
    ENOTFOUND: { state: "UnknownName" },
    EACCES: { state: "Failed", detail: "EACCES" },
  };
  for (const [code, want] of Object.entries(table)) deepEqual(failureOutcome(code), want, code);
});

Deno.test("probeRow: only a TCP port that does not connect is a problem", () => {
  const cases: readonly (readonly [Protocol, ProbeOutcome, boolean])[] = [
    ["TCP", { state: "Connected", latencyMs: 1.26 }, false],
    ["TCP", { state: "Refused" }, true],
    ["TCP", { state: "TimedOut" }, true],
    ["TCP", { state: "NotTried" }, true],
    ["UDP", { state: "Answered", latencyMs: 1 }, false],
    ["UDP", { state: "Silent" }, false],
    ["UDP", { state: "Refused" }, false],
    ["SCTP", { state: "NotTried" }, false],
  ];
  for (const [protocol, outcome, problem] of cases) {
    equal(
      probeRow({ address: "192.0.2.1", port: 80, protocol }, outcome).problem,
      problem,
      `${protocol} ${outcome.state}`,
    );
  }
  const target = { address: "192.0.2.1", port: 80, protocol: "TCP" } as const;
  equal(probeRow(target, { state: "Connected", latencyMs: 1.26 }).latencyMs, 1.3);
  match(probeRow(target, { state: "NotTried" }).message, /time for the whole probe/);
  match(probeRow({ ...target, protocol: "SCTP" }, { state: "NotTried" }).message, /SCTP can't be tried/);
  match(probeRow(target, failureOutcome("EACCES")).message, /EACCES/);
  const answered = probeRow(target, { state: "Connected", latencyMs: 1, httpStatus: 503 });
  deepEqual([answered.message, answered.problem], ["HTTP status 503", false]);
  equal(probeRow(target, { state: "NotHttp", latencyMs: 1 }).problem, true);
});

Deno.test("renderProbe: a line for each, and what to do next if one fails", () => {
  const row = (address: string, outcome: ProbeOutcome): ReturnType<typeof probeRow> =>
    probeRow({ address, port: 80, protocol: "TCP" }, outcome);
  const head = { namespace: "shop", name: "web", addresses: [] };
  const well = renderProbe({ ...head, results: [row("192.0.2.1", { state: "Connected", latencyMs: 0.4 })] }, {
    width: 80,
    wide: false,
  });
  equal(well, "ADDRESS    PORT    RESULT     MS   WHAT IT MEANS\n192.0.2.1  80/TCP  Connected  0.4\n");
  const four = row("192.0.2.1", { state: "Refused" });
  const six = row("2001:db8::1", { state: "NoRoute" });
  const mixed = renderProbe({ ...head, results: [four, six] }, { width: 80, wide: false }).replaceAll(/\s+/g, " ");
  match(mixed, /2 of 2 do not connect from here\. k3slb explain shop\/web says/);
  const mute = row("192.0.2.1", { state: "NotHttp" });
  match(renderProbe({ ...head, results: [mute] }, { width: 80, wide: false }), /\n1 of 1 do not answer from here\. /);
  for (const line of renderProbe({ ...head, results: [four, six] }, { width: 80, wide: false }).split("\n")) {
    ok(line.length <= 80, line);
  }
});

Deno.test("renderProbe: from all nodes: one table a port, addresses beside each other as far as they fit", () => {
  const addresses = ["172.30.0.11", "172.30.0.12", "2001:db8::12"];
  const results = ["node1", "node2"].flatMap((from) =>
    probeTargets(addresses, [{ port: 80, protocol: "TCP" }, { port: 53, protocol: "UDP" }]).map((target) => {
      if (target.protocol === "UDP") return probeRow(target, { state: "Silent" }, from);
      const isShut = from === "node2" && target.address === "172.30.0.11";
      return probeRow(target, isShut ? { state: "TimedOut" } : { state: "Connected", latencyMs: 0.44 }, from);
    })
  );
  const silent = [{ node: "node3", message: "no agent was heard of there", problem: false }];
  const answer = { namespace: "shop", name: "web", addresses, results, silent };
  equal(
    renderProbe(answer, { width: 60, wide: false }),
    `80/TCP FROM  172.30.0.11  172.30.0.12  2001:db8::12
node1        0.4 ms       0.4 ms       0.4 ms
node2        TimedOut     0.4 ms       0.4 ms

53/UDP FROM  172.30.0.11  172.30.0.12  2001:db8::12
node1        Silent       Silent       Silent
node2        Silent       Silent       Silent

Silent: sent, no answer and no refusal: whether it arrived
can't be told
TimedOut: no answer: something between here and the endpoint
drops packets, or the address is down
node3: no agent was heard of there

1 of 12 do not connect. k3slb explain shop/web says which
node serves and which does not.
`,
  );
  match(
    renderProbe(answer, { width: 40, wide: false }),
    /^80\/TCP FROM {2}172\.30\.0\.11 {2}172\.30\.0\.12\nnode1 .*\nnode2 .*\n\n80\/TCP FROM {2}2001:db8::12\n/,
  );
  const each = renderProbe(answer, { width: 100, wide: true });
  match(each, /^FROM +ADDRESS +PORT +RESULT +MS +WHAT IT MEANS\nnode1 +172\.30\.0\.11 +80\/TCP +Connected +0\.4$/m);
  match(each, /^node3 +no agent was heard of there$/m);
  equal(isProbeProblem(answer), true);
  const well = { ...answer, results: results.filter(({ problem }) => !problem) };
  equal(isProbeProblem(well), false);
  equal(isProbeProblem({ ...well, silent: [{ node: "node3", message: "", problem: true }] }), true);
});
