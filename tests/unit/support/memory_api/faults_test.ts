// Faults on order of the in-memory API server, and the counts of requests.
import assert from "node:assert/strict";
import type { FaultEffect } from "../../../support/memory_api/faults.ts";
import { ask, create, withMemoryApi } from "./memory_client.ts";

const PATH = "/api/v1/namespaces/default/configmaps";

const BROKEN: readonly { readonly name: string; readonly effect: FaultEffect }[] = [
  { name: "close", effect: { type: "close" } },
  { name: "half-answer", effect: { type: "half-answer" } },
];

for (const { name, effect } of BROKEN) {
  Deno.test(`Faults: ${name} breaks one request and no more`, async () => {
    await withMemoryApi(async (api) => {
      api.faults.add({ verb: "list", resource: "configmaps", times: 1, effect });
      await assert.rejects(async () => await (await ask(api, "GET", { path: PATH })).text());
      const response = await ask(api, "GET", { path: PATH });
      assert.equal(response.status, 200);
      await response.body?.cancel();
    });
  });
}

const ANSWERED: readonly { readonly name: string; readonly effect: FaultEffect; readonly want: number }[] = [
  { name: "status", effect: { type: "status", code: 429, reason: "TooManyRequests", retryAfterSeconds: 1 }, want: 429 },
  { name: "forbid", effect: { type: "forbid" }, want: 403 },
  { name: "expire", effect: { type: "expire" }, want: 410 },
  { name: "delay", effect: { type: "delay", ms: 1 }, want: 200 },
];

for (const { name, effect, want } of ANSWERED) {
  Deno.test(`Faults: ${name} is answered with ${want}`, async () => {
    await withMemoryApi(async (api) => {
      const takeBack = api.faults.add({ user: "admin", effect });
      const response = await ask(api, "GET", { path: PATH });
      await response.body?.cancel();
      assert.equal(response.status, want);
      takeBack();
      const after = await ask(api, "GET", { path: PATH });
      await after.body?.cancel();
      assert.equal(after.status, 200);
    });
  });
}

Deno.test("expireWatches: ends watches with 410, and older versions can't be watched from", async () => {
  await withMemoryApi(async (api) => {
    const watch = await ask(api, "GET", { path: `${PATH}?watch=1&resourceVersion=${api.store.revision}` });
    await create(api, PATH, { metadata: { name: "one" } });
    api.expireWatches();
    const lines = (await watch.text()).trim().split("\n").map((line) =>
      JSON.parse(line) as { type: string; object: { code?: number } }
    );
    assert.deepEqual(lines.map((it) => [it.type, it.object.code]), [["ADDED", undefined], ["ERROR", 410]]);
    const late = await (await ask(api, "GET", { path: `${PATH}?watch=1&resourceVersion=1` })).text();
    assert.match(late, /^\{"type":"ERROR".*"code":410/);
  });
});

Deno.test("requests: counted by user, verb and resource", async () => {
  await withMemoryApi(async (api) => {
    await create(api, PATH, { metadata: { name: "one" } });
    for (const user of ["admin", "system:node:a"]) await (await ask(api, "GET", { path: PATH, user })).body?.cancel();
    assert.equal(api.requests.count({ verb: "list", resource: "configmaps" }), 2);
    assert.equal(api.requests.count({ user: "system:node:a" }), 1);
    api.requests.reset();
    assert.equal(api.requests.count(), 0);
  }, { controllers: [] });
});
