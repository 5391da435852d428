// What `k3slb status` prints of what it found.
import { equal, match, ok } from "node:assert/strict";
import { firstLines, renderStatus } from "../../../../cli/answers/status_command.ts";
import type { StatusRow } from "../../../../core/status/cluster_status.ts";

Deno.test("renderStatus: a long sentence is cut, and says where the whole of it is; within the width", () => {
  const message = `pod helm-install-web-x can't start: ErrImagePull: ${"failed to resolve reference ".repeat(20)}`;
  const server = { name: "one", state: "Active", message: "", problem: false };
  const chart = { name: "shop/web", state: "Retrying", message, problem: true };
  const print = (chart: StatusRow, wide: boolean): string =>
    renderStatus({ server, nodes: [], services: [], charts: [chart], addOns: [] }, { width: 80, wide });
  const text = print(chart, false);
  match(text, /^shop\/web {2}Retrying {2}pod helm-install-web-x can't start: ErrImagePull: failed to/m);
  match(text, /failed to …\n\n….*kubectl describe helmchart/s);
  for (const line of text.split("\n")) ok(line.length <= 80, line);
  ok(text.split("\n").length < 13, text);
  for (const whole of [print({ ...chart, message: "" }, false), print(chart, true)]) ok(!whole.includes("…"), whole);
});

Deno.test("renderStatus: wide has more columns", () => {
  const row = { name: "a", state: "Served", message: "", problem: false };
  const text = renderStatus({
    server: row,
    nodes: [{ ...row, addresses: ["192.0.2.1"] }],
    services: [{
      ...{ ...row, ports: ["80/TCP"], addresses: [], serving: 1, families: ["IPv4"], trafficPolicy: "Local" },
      endpoints: { ready: 3, terminating: 0, closed: 0 },
    }],
    ...{ charts: [], addOns: [] },
  }, { width: 100, wide: true });
  match(text, /^NODE +STATE +ADDRESSES\na +Served +192\.0\.2\.1$/m);
  match(text, /^a +80\/TCP +1 +Served +IPv4 +Local +3 +none$/m);
});

Deno.test("firstLines: as many as fit, the last of which says how many do not", () => {
  const text = "a\nb\nc\nd\n";
  equal(firstLines(text, 4), text);
  equal(firstLines(text, 3), "a\nb\n… 2 more lines; --problems shows only what is wrong\n");
  equal(firstLines(text, -1), text);
});
