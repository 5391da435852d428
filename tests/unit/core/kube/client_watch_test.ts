// Watches of the client: open, torn, silent, refused, many at once, given up.
import assert from "node:assert/strict";
import { PODS } from "../../../../core/kube/resources.ts";
import type { Clock } from "../../../../core/runtime/clock.ts";
import {
  accessTo,
  collect,
  failureOf,
  IMPATIENT_CLOCK,
  openClient,
  sendJson,
  startLocalApi,
  statusBody,
} from "./_local_api.ts";

Deno.test("client.watch gives events from torn chunks and ends with the server", async () => {
  const lines = [
    { type: "ADDED", object: { metadata: { name: "\u00e9", resourceVersion: "1" } } },
    { type: "BOOKMARK", object: { metadata: { resourceVersion: "2" } } },
  ];
  await using api = await startLocalApi((_request, response) => {
    response.writeHead(200);
    const bytes = Buffer.from(lines.map((line) => JSON.stringify(line)).join("\n") + "\n");
    // Byte by byte: characters and lines are torn everywhere.
    for (const byte of bytes) response.write(Uint8Array.of(byte));
    response.end();
  });
  const ends: string[] = [];
  using client = openClient(accessTo(api.url), { onWatchEnd: (...words) => ends.push(words.join(" ")) });
  const told: unknown[] = [];
  const watch = client.watch(PODS, { resourceVersion: "0", timeoutSeconds: 9, onOpen: () => told.push("open") });
  for await (const event of watch) told.push(event);
  assert.deepEqual(told, ["open", ...lines]);
  assert.deepEqual(ends, ["pods ended"]);
  assert.equal(
    api.seen[0]?.url,
    "/api/v1/pods?watch=true&allowWatchBookmarks=true&timeoutSeconds=9&resourceVersion=0",
  );
});

Deno.test("client.watch throws what the server says, silence, garbage and broken streams", async () => {
  await using api = await startLocalApi(({ url }, response) => {
    if (url.includes("resourceVersion=410")) return sendJson(response, statusBody(410, "Expired", "old"), 410);
    response.writeHead(200);
    if (url.includes("resourceVersion=411")) {
      return void response.end(JSON.stringify({ type: "ERROR", object: statusBody(410, "Expired", "old") }) + "\n");
    }
    if (url.includes("resourceVersion=7")) return void response.end("<html>\n");
    response.write("\n");
    if (url.includes("resourceVersion=8")) setTimeout(() => response.destroy(), 10);
  });
  const ends: string[] = [];
  const onWatchEnd = (...words: readonly string[]): void => void ends.push(words.join(" "));
  using client = openClient(accessTo(api.url), { watchMarginMs: 50, onWatchEnd });
  let opened = 0;
  const codeOf = async (resourceVersion: string): Promise<string> =>
    (await failureOf(collect(client.watch(PODS, { resourceVersion, timeoutSeconds: 0, onOpen: () => opened++ })))).code;
  assert.equal(await codeOf("410"), "kube-gone");
  assert.equal(opened, 0, "a refused watch is not open");
  assert.equal(await codeOf("411"), "kube-gone");
  assert.equal(await codeOf("7"), "kube-answer-garbage");
  assert.equal(await codeOf("8"), "kube-answer-cut");
  assert.equal(await codeOf("9"), "kube-answer-silent");
  assert.deepEqual(ends, ["gone", "answer-garbage", "answer-cut", "answer-silent"].map((code) => `pods kube-${code}`));
});

Deno.test("client.watch tries a busy server again, and frees the connections of refused tries", async () => {
  let tries = 0;
  await using api = await startLocalApi((_request, response) => {
    if (++tries <= 2) {
      // The body is never finished: only giving the answer up frees its socket.
      return void response.writeHead(429, { "retry-after": "0" }).write("busy\n");
    }
    response.writeHead(200).end('{"type":"BOOKMARK","object":{}}\n');
  });
  using client = openClient(accessTo(api.url));
  assert.equal((await collect(client.watch(PODS, {}))).length, 1);
  assert.equal(api.connections, 3);
});

Deno.test("client.watch does not wait for the rest of a refusal as long as for an event", async () => {
  await using api = await startLocalApi((_request, response) => void response.writeHead(500).write("half"));
  const fast: Clock = {
    ...IMPATIENT_CLOCK,
    monotonicMs: () => performance.now() * 100,
    setTimer: (callback, delayMs) => IMPATIENT_CLOCK.setTimer(callback, delayMs / 100),
  };
  using client = openClient(accessTo(api.url), { clock: fast });
  const error = await failureOf(collect(client.watch(PODS, { resourceVersion: "1" })));
  assert.equal(error.code, "kube-answer-silent");
  assert.match(error.message, /silent for 30 s/);
});

Deno.test("client answers requests beside 40 open watches", async () => {
  await using api = await startLocalApi(({ url }, response) => {
    if (!url.includes("watch=true")) return sendJson(response, { ok: true });
    response.writeHead(200);
    response.write(JSON.stringify({ type: "ADDED", object: { metadata: { name: "a", resourceVersion: "1" } } }) + "\n");
  });
  using client = openClient(accessTo(api.url));
  const stop = new AbortController();
  const watches = Array.from({ length: 40 }, () => {
    const opened = Promise.withResolvers<void>();
    const ended = assert.rejects(async () => {
      for await (const _event of client.watch(PODS, { resourceVersion: "0", signal: stop.signal })) opened.resolve();
    }, { name: "AbortError" });
    return { opened: opened.promise, ended };
  });
  await Promise.all(watches.map(({ opened }) => opened));
  assert.deepEqual(await client.raw("GET", "/x"), { ok: true });
  stop.abort();
  await Promise.all(watches.map(({ ended }) => ended));
});

Deno.test("client.watch and requests end with an AbortError when the caller says so", async () => {
  await using api = await startLocalApi(({ url }, response) => {
    if (url.includes("watch")) response.writeHead(200).write('{"type":"BOOKMARK","object":{}}\n');
  });
  using client = openClient(accessTo(api.url));
  const stop = new AbortController();
  await assert.rejects(async () => {
    for await (const _event of client.watch(PODS, { signal: stop.signal })) stop.abort();
  }, { name: "AbortError" });
  const early = new AbortController();
  const waiting = client.raw("GET", "/never", { signal: early.signal });
  early.abort();
  await assert.rejects(waiting, { name: "AbortError" });
});
