// What `k3slb status` prints of what it found.
import { equal, match, ok } from "node:assert/strict";
import { firstLines, renderStatus } from "../../../../cli/answers/status_command.ts";

Deno.test("renderStatus: a long sentence is cut, and says where the whole of it is; within the width", () => {
  const message = `pod helm-install-web-x can't start: ErrImagePull: ${"failed to resolve reference ".repeat(20)}`;
  const server = { name: "one", state: "Active", message: "", problem: false };
  const chart = { name: "shop/web", state: "Retrying", message, problem: true };
  const text = renderStatus({ server, nodes: [], services: [], charts: [chart], addOns: [] }, 80);
  match(text, /^shop\/web {2}Retrying {2}pod helm-install-web-x can't start: ErrImagePull: failed to/m);
  match(text, /failed to …\n\n….*kubectl describe helmchart/s);
  for (const line of text.split("\n")) ok(line.length <= 80, line);
  ok(text.split("\n").length < 13, text);
  ok(
    !renderStatus({ server, nodes: [], services: [], charts: [{ ...chart, message: "" }], addOns: [] }, 80).includes(
      "…",
    ),
  );
});

Deno.test("firstLines: as many as fit, the last of which says how many do not", () => {
  const text = "a\nb\nc\nd\n";
  equal(firstLines(text, 4), text);
  equal(firstLines(text, 3), "a\nb\n… 2 more lines; --problems shows only what is wrong\n");
  equal(firstLines(text, -1), text);
});
