import { deepEqual, equal, match, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import { PAGE_SCRIPT, renderFrame } from "../../../../core/status/page_frame.ts";
import { type PageFacts, type PageTable, pageTables, renderTables } from "../../../../core/status/render_page.ts";
import { newsBetween } from "../../../../core/status/status_page.ts";
import type { ServiceAnswer } from "../../../../core/service_lb/answers/explain_service.ts";

const HOSTILE = `<img src=x onerror="alert('1')">&`;

function answer(name: string, nodes: ServiceAnswer["nodes"], fields: Partial<ServiceAnswer> = {}): ServiceAnswer {
  const isServed = nodes.some(({ serves }) => serves);
  return {
    namespace: "shop",
    name,
    ports: ["80/TCP"],
    families: ["IPv4"],
    trafficPolicy: "Cluster",
    ours: true,
    served: { status: isServed ? "True" : "False", reason: isServed ? "Served" : "PortTaken", message: "said" },
    problem: !isServed,
    addresses: isServed ? ["192.0.2.1"] : [],
    endpoints: { ready: 1, terminating: 0, closed: 0 },
    nodes,
    ...fields,
  };
}

const TAKEN = { serves: false, reason: "PortTaken", message: "web has it", remedy: "delete one" };
const WEB = answer("web", [{ node: "a", serves: true }, { node: "b", serves: true }]);
const LATE = answer("late", [{ node: "a", ...TAKEN }, { node: "b", ...TAKEN }]);
const POOL = answer("pool", [
  { node: "a", serves: false, reason: "NotInPool", message: "no" },
  { node: "b", serves: true },
], { ports: ["443/TCP"] });

function facts(answers: readonly ServiceAnswer[], fields: Partial<PageFacts> = {}): PageFacts {
  return {
    version: "1.0.0",
    isLeading: true,
    status: {
      server: { name: "s", state: "Active", message: "", problem: false },
      nodes: [{ name: "a", state: "Forwarding", message: "", problem: false }],
      services: [],
      charts: [],
      addOns: [],
    },
    answers,
    ...fields,
  };
}

function rowsOf(tables: readonly PageTable[], id: string): readonly string[] {
  return tables.find((table) => table.id === id)?.rows.map(({ html }) =>
    html.replaceAll(/<[^>]+>/g, " ").replaceAll(/ +/g, " ").trim()
  ) ?? [];
}

Deno.test("pageTables: each port of each node has its owner and those who wait; nodes that were not chosen are empty", () => {
  const tables = pageTables(facts([WEB, LATE, POOL]));
  deepEqual(rowsOf(tables, "map"), [
    "80/TCP ✓ shop/web ✗ shop/late PortTaken ✓ shop/web ✗ shop/late PortTaken",
    "443/TCP – ✓ shop/pool",
  ]);
  match(tables.find(({ id }) => id === "map")?.rows[0]?.html ?? "", /title="web has it"/);
  deepEqual(rowsOf(tables, "services"), [
    "shop/late ✗ PortTaken 80/TCP none 0 of 2 said a, b: PortTaken: web has it To do: delete one",
    "shop/pool ✓ Served 443/TCP 192.0.2.1 1 of 2 1 left out a: NotInPool: no",
    "shop/web ✓ Served 80/TCP 192.0.2.1 2 of 2",
  ]);
  deepEqual(rowsOf(tables, "summary"), ["2 of 3 Services served, 1 nodes. Nothing is wrong. k3slb 1.0.0."]);
});

Deno.test("pageTables: what nodes have to say although they serve, and what is wrong with the Service itself, in the words of all answers", () => {
  const note = "its ports are not kept from other pods: its pod can't be created: no room";
  const rows = rowsOf(
    pageTables(facts([
      answer("kept", [{ node: "a", serves: true, message: note }, { node: "b", serves: true, message: note }]),
      answer("typo", [{ node: "a", serves: true }], {
        problem: true,
        served: { status: "True", reason: "Served", message: "a typo" },
      }),
    ])),
    "services",
  );
  deepEqual(rows, [
    `shop/kept ✓ Served 80/TCP 192.0.2.1 2 of 2 what nodes say a, b: ${note.replace("'", "&#39;")}`,
    "shop/typo ✗ Served 80/TCP 192.0.2.1 1 of 1 a typo",
  ]);
});

Deno.test("pageTables: a server that waits says so and knows nothing", () => {
  const tables = pageTables(facts([WEB], { isLeading: false }));
  deepEqual(tables.map(({ id }) => id), ["summary"]);
  match(rowsOf(tables, "summary")[0] ?? "", /waits/);
});

Deno.test("pageTables: nothing that comes from the cluster is read as HTML", () => {
  const nodes = [{ node: HOSTILE, serves: false, reason: HOSTILE, message: HOSTILE, remedy: HOSTILE }];
  const status = facts([]).status;
  const row = { name: HOSTILE, state: HOSTILE, message: HOSTILE, problem: true };
  const hostile = answer(HOSTILE, nodes, {
    namespace: HOSTILE,
    ports: [HOSTILE],
    addresses: [HOSTILE],
    served: { status: "False", reason: HOSTILE, message: HOSTILE },
  });
  const tables = pageTables(
    facts([hostile], { version: HOSTILE, status: { ...status, nodes: [row], charts: [row], addOns: [row] } }),
  );
  const html = renderFrame(renderTables(tables)) + tables.flatMap(({ rows }) => rows).map(({ id }) => id).join();
  ok(!html.includes("<img"), html);
  ok(!/onerror="/.test(html));
});

Deno.test("newsBetween: nothing, the rows that differ, or all when rows come and go", () => {
  const before = pageTables(facts([WEB, POOL]));
  equal(newsBetween(before, pageTables(facts([WEB, POOL]))), undefined);
  const changed = newsBetween(before, pageTables(facts([WEB, { ...POOL, addresses: ["192.0.2.9"] }])));
  const [, data = ""] = /^event: rows\ndata: (.*)\n\n$/.exec(changed ?? "") ?? [];
  deepEqual(JSON.parse(data).map(([id]: readonly string[]) => id), ["service-shop/pool"]);
  match(newsBetween(before, pageTables(facts([WEB]))) ?? "", /^event: page\ndata: ".*"\n\n$/);
});

Deno.test("renderFrame: one file that asks nobody else, with the script that its policy names", () => {
  const html = renderFrame("");
  deepEqual([...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, url]) => url), ["data:,", "#main"]);
  ok(!/url\(|@import|https?:/.test(html));
  const [, script = ""] = /<script>([^]*)<\/script>/.exec(html) ?? [];
  equal(
    createHash("sha256").update(script).digest("base64"),
    createHash("sha256").update(PAGE_SCRIPT).digest("base64"),
  );
});
