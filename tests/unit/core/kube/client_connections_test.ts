// Connections of the client: which are kept, which are not used again, and how many there are.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Credentials } from "../../../../core/kube/access/cluster_access.ts";
import { PODS } from "../../../../core/kube/resources.ts";
import { createCertificateAuthority } from "../../../support/certificates.ts";
import { waitUntil } from "../../../support/wait.ts";
import { accessTo, failureOf, IMPATIENT_CLOCK, openClient, sendJson, startLocalApi } from "./_local_api.ts";

/** A server without HTTP of its own: `serve` is given each request, with the connection's number. */
async function startSocketServer(
  serve: (socket: Socket, request: { readonly connection: number; readonly text: string }) => void,
): Promise<AsyncDisposable & { readonly url: string; readonly sockets: readonly Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    const connection = sockets.push(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes) => serve(socket, { connection, text: bytes.toString() }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sockets,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function answer(socket: Socket, headers = ""): void {
  socket.write(`HTTP/1.1 200 OK\r\ncontent-length: 2\r\n${headers}\r\n{}`);
}

Deno.test("client goes to a new connection after one that is half open has let a request wait in vain, past others like it", async () => {
  const waiting: Socket[] = [];
  let isAway = false;
  await using server = await startSocketServer((socket, { connection }) => {
    // The first three answer when all of them are there, and never again: whoever held them then is gone, and says nothing.
    if (connection > 3) return answer(socket);
    if (!isAway && waiting.push(socket) === 3) {
      isAway = true;
      for (const one of waiting) answer(one);
    }
  });
  using client = openClient(accessTo(server.url));
  const ask = (): Promise<unknown> => client.raw("POST", "/x", { body: {}, timeoutMs: 2000 });
  await Promise.all([ask(), ask(), ask()]);
  assert.equal((await failureOf(ask())).code, "kube-timeout");
  await ask();
  await ask();
  assert.equal(server.sockets.length, 4);
});

Deno.test("client takes a new connection where the former one was closed, cut, or talks on", async () => {
  await using server = await startSocketServer((socket, { text }) => {
    answer(socket, text.includes("/close") ? "connection: close\r\n" : "");
    if (text.includes("/end")) socket.end();
    if (text.includes("/reset")) socket.resetAndDestroy();
    if (text.includes("/more")) socket.write("HTTP/1.1 200 OK\r\n\r\n");
  });
  using client = openClient(accessTo(server.url));
  for (const path of ["/kept", "/close", "/end", "/reset", "/more"]) {
    const before = Math.max(1, server.sockets.length);
    // A reset may overtake the answer.
    await client.raw("POST", path, { body: {} }).catch(() => {});
    const socket = server.sockets.at(-1);
    if (path !== "/kept") await waitUntil(`the end after ${path}`, () => socket?.destroyed);
    await client.raw("GET", "/y");
    assert.equal(server.sockets.length, before + (path === "/kept" ? 0 : 1), path);
  }
});

Deno.test("client trusts no connection that nobody has used for a minute", async () => {
  await using api = await startLocalApi((_request, response) => sendJson(response, {}));
  let nowMs = 0;
  using client = openClient(accessTo(api.url), { clock: { ...IMPATIENT_CLOCK, monotonicMs: () => nowMs } });
  for (const [atMs, connections] of [[0, 1], [59_000, 1], [118_000, 1], [178_000, 2]] as const) {
    nowMs = atMs;
    await client.raw("GET", "/x");
    assert.equal(api.connections, connections, `at ${atMs} ms`);
  }
});

Deno.test("client lets requests wait for a connection when very many hang, and gives each its turn", async () => {
  const held: (() => void)[] = [];
  let isHeld = true;
  await using api = await startLocalApi((_request, response) => {
    const send = (): void => sendJson(response, {});
    if (isHeld) held.push(send);
    else send();
  });
  using client = openClient(accessTo(api.url));
  const stop = new AbortController();
  const asked = Array.from({ length: 200 }, () => client.raw("GET", "/x"));
  const givenUp = assert.rejects(client.raw("GET", "/x", { signal: stop.signal }), { name: "AbortError" });
  await waitUntil("the first requests to hang", () => held.length >= 128);
  stop.abort();
  await givenUp;
  assert.equal(api.connections, 128);
  isHeld = false;
  for (const send of held.splice(0)) send();
  await Promise.all(asked);
  assert.equal(api.seen.length, 200);
  assert.equal(api.connections, 128);
});

Deno.test("client.watch holds a fast server back while its reader is slow, and loses nothing", async () => {
  const count = 4_000;
  let written = 0;
  await using api = await startLocalApi(async (_request, response) => {
    response.writeHead(200);
    for (; written < count; written++) {
      const object = { metadata: { name: `${written}`, annotations: { a: "x".repeat(5_000) } } };
      if (!response.write(`${JSON.stringify({ type: "ADDED", object })}\n`)) {
        await new Promise((resolve) => response.once("drain", resolve));
      }
    }
    response.end();
  });
  using client = openClient(accessTo(api.url));
  let next = 0;
  for await (const { object } of client.watch(PODS, { resourceVersion: "0" })) {
    assert.equal(object.metadata?.name, `${next++}`);
    if (next !== 1) continue;
    let before = 0;
    await waitUntil("the server to stand still", () => before === (before = written), { intervalMs: 200 });
    assert.ok(written < count, "all was taken into memory");
  }
  assert.equal(next, count);
});

Deno.test("client uses rotated certificates and tokens from the next request on, and drops what the former ones opened", async () => {
  const dir = await mkdtemp(join(tmpdir(), "k3slb-connections-"));
  try {
    const own = await createCertificateAuthority(join(dir, "own"));
    const foreign = await createCertificateAuthority(join(dir, "foreign"));
    const local = await own.issue({ file: "local", commonName: "server", hosts: ["127.0.0.1"] });
    const refused = await foreign.issue({ file: "refused", commonName: "first" });
    const [first, second] = [
      await own.issue({ file: "a", commonName: "a" }),
      await own.issue({ file: "b", commonName: "b" }),
    ];
    await using api = await startLocalApi((_request, response) => sendJson(response, {}), {
      ...{ ca: own.ca, requestCert: true, rejectUnauthorized: true, cert: local.cert, key: local.key },
    });
    let now: Credentials = { ca: own.ca, certificate: refused.cert, key: refused.key, authorization: "Bearer a" };
    using client = openClient(accessTo(api.url, {}, { credentials: () => Promise.resolve(now) }));
    await failureOf(client.raw("GET", "/x"));
    now = { ...now, certificate: first.cert, key: first.key };
    await client.raw("GET", "/x");
    now = { ...now, authorization: "Bearer b" };
    await client.raw("GET", "/x");
    assert.equal(api.connections, 1, "a token needs no new connection");
    now = { ...now, certificate: second.cert, key: second.key };
    await client.raw("GET", "/x");
    assert.equal(api.connections, 2);
    assert.deepEqual(api.seen.map(({ headers }) => headers.authorization), ["Bearer a", "Bearer b", "Bearer b"]);
    await waitUntil("the end of the former identity's connection", () => api.openConnections === 1);
  } finally {
    await rm(dir, { recursive: true });
  }
});

Deno.test("client loses no place for connections that failed: refused, cut, given up while they were made", async () => {
  let isCut = true;
  await using server = await startSocketServer((socket) => isCut ? socket.destroy() : answer(socket));
  using client = openClient(accessTo(server.url));
  using refused = openClient(accessTo("http://127.0.0.1:1"));
  for (let i = 0; i < 150; i++) {
    await failureOf(client.raw("POST", "/x", { body: {} }));
    assert.equal((await failureOf(refused.raw("POST", "/x", { body: {} }))).code, "kube-unreachable");
    const stop = new AbortController();
    const givenUp = assert.rejects(client.raw("POST", "/x", { body: {}, signal: stop.signal }), { name: "AbortError" });
    // Its connection is begun by now.
    await Promise.resolve().then(() => Promise.resolve());
    stop.abort();
    await givenUp;
  }
  isCut = false;
  assert.deepEqual(await client.raw("POST", "/x", { body: {} }), {});
});
