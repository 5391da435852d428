import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CredentialOptions, Credentials } from "../../../../core/kube/cluster_access.ts";
import { CONFIG_MAPS, NODES, PODS, SERVICES } from "../../../../core/kube/resources.ts";
import {
  isAlreadyExists,
  isConflict,
  isForbidden,
  isGone,
  isInvalid,
  isKindMissing,
  isNamespaceTerminating,
  isNotFound,
  isUnauthorized,
} from "../../../../core/kube/errors.ts";
import type { Clock } from "../../../../core/runtime/clock.ts";
import { K3slbError } from "../../../../core/shared/errors.ts";
import { createCertificateAuthority } from "../../../support/certificates.ts";
import { accessTo, IMPATIENT_CLOCK, openClient, sendJson, startLocalApi, statusBody } from "./_local_api.ts";

async function failureOf(work: Promise<unknown>): Promise<K3slbError> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof K3slbError, String(error));
    return error;
  }
  throw new assert.AssertionError({ message: "it did not fail" });
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

Deno.test("client sends paths, queries and bodies in the API's terms", async () => {
  await using api = await startLocalApi((_request, response) => sendJson(response, { metadata: { name: "a" } }));
  using client = openClient(accessTo(api.url));
  const object = { metadata: { name: "a", namespace: "ns" }, data: { x: "1" } };
  await client.apply(CONFIG_MAPS, object);
  await client.patch(SERVICES, { namespace: "ns", name: "s" }, { type: "merge", body: {} }, { subresource: "status" });
  await client.delete(NODES, { name: "n" }, { uid: "u" });
  await client.create(CONFIG_MAPS, object, { dryRun: true, fieldValidation: "Strict" });
  await client.delete(NODES, { name: "n" }, { uid: "u", resourceVersion: "7" });
  await client.delete(NODES, { name: "n" });
  assert.deepEqual(api.seen.map(({ method, url }) => `${method} ${url}`), [
    "PATCH /api/v1/namespaces/ns/configmaps/a?fieldManager=k3slb&force=true",
    "PATCH /api/v1/namespaces/ns/services/s/status?fieldManager=k3slb",
    "DELETE /api/v1/nodes/n",
    "POST /api/v1/namespaces/ns/configmaps?fieldManager=k3slb&fieldValidation=Strict&dryRun=All",
    "DELETE /api/v1/nodes/n",
    "DELETE /api/v1/nodes/n",
  ]);
  assert.equal(api.seen[0]?.headers["content-type"], "application/apply-patch+yaml");
  assert.deepEqual(JSON.parse(api.seen[0]?.body ?? ""), { ...object, apiVersion: "v1", kind: "ConfigMap" });
  assert.deepEqual(
    [2, 4, 5].map((index) => JSON.parse(api.seen[index]?.body ?? "").preconditions),
    [{ uid: "u" }, { uid: "u", resourceVersion: "7" }, {}],
  );
  assert.equal(api.connections, 1, "one kept-alive connection serves them all");
});

Deno.test("client.list asks for metadata alone where that is enough", async () => {
  await using api = await startLocalApi((_request, response) => sendJson(response, { items: [] }));
  using client = openClient(accessTo(api.url));
  await client.list(CONFIG_MAPS, { isMetadataOnly: true });
  await client.list(CONFIG_MAPS);
  assert.deepEqual(api.seen.map(({ headers }) => headers.accept), [
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    "application/json",
  ]);
});

Deno.test("client.list puts pages together and gives items their type", async () => {
  await using api = await startLocalApi(({ url }, response) => {
    const isSecond = url.includes("continue=more");
    sendJson(response, {
      metadata: { resourceVersion: "7", ...(isSecond ? {} : { continue: "more" }) },
      items: [{ metadata: { name: isSecond ? "b" : "a" } }],
    });
  });
  using client = openClient(accessTo(api.url));
  const list = await client.list(PODS, { pageSize: 1, labelSelector: "a=b" });
  assert.deepEqual(list, {
    resourceVersion: "7",
    items: ["a", "b"].map((name) => ({ metadata: { name }, apiVersion: "v1", kind: "Pod" })),
  });
  assert.deepEqual(api.seen.map(({ url }) => url), [
    "/api/v1/pods?labelSelector=a%3Db&limit=1",
    "/api/v1/pods?labelSelector=a%3Db&limit=1&continue=more",
  ]);
});

const STATUS_TABLE = [
  { name: "404 of an object", given: statusBody(404, "NotFound", "gone"), want: isNotFound },
  {
    name: "404 of a kind",
    given: statusBody(404, "NotFound", "the server could not find the requested resource"),
    want: isKindMissing,
  },
  { name: "409 AlreadyExists", given: statusBody(409, "AlreadyExists", "there"), want: isAlreadyExists },
  { name: "409 Conflict", given: statusBody(409, "Conflict", "changed"), want: isConflict },
  { name: "403", given: statusBody(403, "Forbidden", "no"), want: isForbidden },
  {
    name: "403 in a dying namespace",
    given: statusBody(403, "Forbidden", "unable to create new content in namespace x because it is being terminated"),
    want: isNamespaceTerminating,
  },
  { name: "401", given: statusBody(401, "Unauthorized", "who"), want: isUnauthorized },
  { name: "410", given: statusBody(410, "Expired", "old"), want: isGone },
  { name: "422", given: statusBody(422, "Invalid", "bad"), want: isInvalid },
];

for (const { name, given, want } of STATUS_TABLE) {
  Deno.test(`client answers ${name} with an error that can be asked`, async () => {
    await using api = await startLocalApi((_request, response) => {
      sendJson(response, given, (given as { code: number }).code);
    });
    using client = openClient(accessTo(api.url));
    const error = await failureOf(client.get(PODS, { namespace: "ns", name: "p" }));
    assert.ok(want(error), `${error.code}: ${error.message}`);
    const asked = STATUS_TABLE.filter((row) => row.want === isAlreadyExists && row.want(error));
    assert.equal(asked.length, want === isAlreadyExists ? 1 : 0);
    assert.match(error.message, /^Cannot get pods "p" in namespace "ns": /);
    assert.notEqual(error.hint ?? "", "");
  });
}

Deno.test("client tries 429 and 503 again, also for POST, and a lost connection only if that is safe", async () => {
  let failures = 0;
  await using api = await startLocalApi((request, response) => {
    if (request.url.includes("lost")) return void response.destroy();
    if (failures++ % 3 < 2) {
      response.writeHead(failures % 2 === 0 ? 503 : 429, { "retry-after": "0" });
      return void response.end("busy");
    }
    sendJson(response, {});
  });
  using client = openClient(accessTo(api.url));
  await client.create(CONFIG_MAPS, { metadata: { name: "a", namespace: "ns" } });
  assert.equal(api.seen.length, 3);
  const read = await failureOf(client.raw("GET", "/lost"));
  assert.equal(read.details["connection"], true);
  const reads = api.seen.length - 3;
  // A runtime may itself repeat a GET that a reused connection lost.
  assert.ok(reads === 4 || reads === 5, `${reads} reads`);
  await failureOf(client.raw("POST", "/lost", { body: {} }));
  assert.equal(api.seen.length, 3 + reads + 1);
});

Deno.test("client asks for fresh credentials once after a 401", async () => {
  let token = "old";
  await using api = await startLocalApi(({ headers }, response) => {
    if (headers.authorization === "Bearer new") return sendJson(response, { ok: true });
    sendJson(response, statusBody(401, "Unauthorized", "Unauthorized"), 401);
  });
  const access = accessTo(api.url, {}, {
    credentials: (options = {}) => {
      if (options.refresh === true) token = "new";
      return Promise.resolve({ authorization: `Bearer ${token}` });
    },
    impersonationHeaders: [["Impersonate-User", "jane"], ["Impersonate-Group", "a"], ["Impersonate-Group", "b"]],
  });
  using client = openClient(access);
  assert.deepEqual(await client.raw("GET", "/x"), { ok: true });
  assert.equal(api.seen.length, 2);
  assert.equal(api.seen[1]?.headers["impersonate-user"], "jane");
  assert.equal(api.seen[1]?.headers["impersonate-group"], "a, b");
});

const BROKEN_TABLE: readonly { name: string; given: Parameters<typeof startLocalApi>[0]; want: string }[] = [
  { name: "no answer", given: () => {}, want: "kube-timeout" },
  {
    name: "half an answer, then silence",
    given: (_request, response) => void response.writeHead(200, { "content-length": "100" }).write('{"a":'),
    want: "kube-timeout",
  },
  {
    name: "half an answer, then the end",
    given: (_request, response) => {
      response.writeHead(200, { "content-length": "100" }).write('{"a":');
      setTimeout(() => response.destroy(), 10);
    },
    want: "kube-answer-cut",
  },
  { name: "HTML", given: (_request, response) => void response.end("<html>"), want: "kube-answer-garbage" },
  {
    name: "an endless answer",
    given: (_request, response) => void response.end("x".repeat(20_000)),
    want: "kube-answer-too-large",
  },
  {
    name: "a proxy's 502",
    given: (_request, response) => void response.writeHead(502).end("Bad Gateway"),
    want: "kube-server-error",
  },
];

for (const { name, given, want } of BROKEN_TABLE) {
  Deno.test(`client names ${name} ${want}`, async () => {
    await using api = await startLocalApi(given);
    using client = openClient(accessTo(api.url), { maxAnswerBytes: 10_000 });
    const error = await failureOf(client.raw("GET", "/x", { timeoutMs: 300 }));
    assert.equal(error.code, want, error.message);
    assert.equal(error.retriable, true);
  });
}

Deno.test("client names a refused connection, an unknown host and a peer that is no HTTP server", async () => {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end("SSH-2.0-OpenSSH\r\n", () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const codeOf = async (url: string): Promise<string> => {
    using client = openClient(accessTo(url));
    return (await failureOf(client.raw("GET", "/x", { timeoutMs: 5000 }))).code;
  };
  assert.equal(await codeOf(`http://127.0.0.1:${port}`), "kube-answer-garbage");
  assert.equal(await codeOf(`https://127.0.0.1:${port}`), "kube-tls");
  await new Promise<void>((resolve) => server.close(() => resolve()));
  assert.equal(await codeOf(`http://127.0.0.1:${port}`), "kube-unreachable");
  assert.equal(await codeOf("https://nowhere.invalid:6443"), "kube-dns");
});

Deno.test("client names credentials that cannot be sent, without their text, and leaves no listener behind", async () => {
  await using api = await startLocalApi((_request, response) => sendJson(response, {}));
  using client = openClient(accessTo(api.url, { authorization: "Bearer two\nlines" }));
  const stop = new AbortController();
  const error = await failureOf(client.raw("GET", "/x", { signal: stop.signal }));
  assert.equal(error.code, "kube-credentials-unusable");
  assert.match(error.hint ?? "", /token/);
  assert.ok(!`${error.message} ${error.hint}`.includes("two"));
  // A listener that is left would reject a promise that nobody waits for.
  stop.abort();
  client.close();
  await new Promise((resolve) => setTimeout(resolve));
});

Deno.test("client does not wait for credentials when it is closed or the caller gives up", async () => {
  const hang = ({ signal }: CredentialOptions = {}): Promise<Credentials> =>
    new Promise((_resolve, reject) =>
      signal?.addEventListener("abort", () => reject(new DOMException("stop", "AbortError")))
    );
  using client = openClient(accessTo("http://127.0.0.1:1", {}, { credentials: hang }));
  const stop = new AbortController();
  const given = assert.rejects(client.raw("GET", "/x", { signal: stop.signal }), { name: "AbortError" });
  const other = assert.rejects(client.raw("GET", "/x"), { name: "AbortError" });
  stop.abort();
  await given;
  client.close();
  await other;
});

Deno.test("client over TLS works with a client certificate and names what is wrong with certificates", async () => {
  const dir = await mkdtemp(join(tmpdir(), "k3slb-client-"));
  try {
    const own = await createCertificateAuthority(join(dir, "own"));
    const foreign = await createCertificateAuthority(join(dir, "foreign"));
    const local = await own.issue({ file: "local", commonName: "server", hosts: ["127.0.0.1"] });
    const elsewhere = await own.issue({ file: "elsewhere", commonName: "server", hosts: ["api.example"] });
    const admin = await own.issue({ file: "admin", commonName: "admin" });
    const stranger = await foreign.issue({ file: "stranger", commonName: "stranger" });
    const tls = { ca: own.ca, requestCert: true, rejectUnauthorized: true };
    await using api = await startLocalApi((_request, response) => sendJson(response, { ok: true }), {
      ...tls,
      cert: local.cert,
      key: local.key,
    });
    await using misnamed = await startLocalApi((_request, response) => sendJson(response, { ok: true }), {
      ...tls,
      cert: elsewhere.cert,
      key: elsewhere.key,
    });
    const good = { ca: own.ca, certificate: admin.cert, key: admin.key };
    using client = openClient(accessTo(api.url, good));
    for (let round = 0; round < 20; round++) assert.deepEqual(await client.raw("GET", "/x"), { ok: true });
    assert.equal(api.connections, 1);
    using named = openClient(accessTo(misnamed.url, good, { tlsServerName: "api.example" }));
    assert.deepEqual(await named.raw("GET", "/x"), { ok: true });
    using careless = openClient(accessTo(misnamed.url, { ...good, ca: foreign.ca }, { insecureSkipTlsVerify: true }));
    assert.deepEqual(await careless.raw("GET", "/x"), { ok: true });

    const table: readonly { name: string; url: string; given: Credentials; want: string; serverName?: string }[] = [
      {
        name: "other name",
        url: api.url,
        given: good,
        serverName: "other.example",
        want: "kube-server-name-mismatch",
      },
      { name: "no client certificate", url: api.url, given: { ca: own.ca }, want: "kube-client-certificate-refused" },
      { name: "wrong CA", url: api.url, given: { ...good, ca: foreign.ca }, want: "kube-wrong-ca" },
      { name: "other host", url: misnamed.url, given: good, want: "kube-server-name-mismatch" },
    ];
    const strangers = [
      {
        name: "foreign client certificate",
        url: api.url,
        given: { ca: own.ca, certificate: stranger.cert, key: stranger.key },
      },
    ];
    for (const { name, url, given, want, serverName } of table) {
      using broken = openClient(accessTo(url, given, serverName === undefined ? {} : { tlsServerName: serverName }));
      const error = await failureOf(broken.raw("GET", "/x", { timeoutMs: 5000 }));
      assert.equal(error.code, want, `${name}: ${error.message}`);
    }
    for (const { name, url, given } of strangers) {
      using refused = openClient(accessTo(url, given));
      const error = await failureOf(refused.raw("GET", "/x", { timeoutMs: 5000 }));
      // With TLS 1.3 some runtimes see only that the connection ends; the hint names the certificate all the same.
      assert.match(error.hint ?? "", /client certificate/, `${name}: ${error.message}`);
    }
  } finally {
    await rm(dir, { recursive: true });
  }
});

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
  using client = openClient(accessTo(api.url));
  const told: unknown[] = [];
  const watch = client.watch(PODS, { resourceVersion: "0", timeoutSeconds: 9, onOpen: () => told.push("open") });
  for await (const event of watch) told.push(event);
  assert.deepEqual(told, ["open", ...lines]);
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
  using client = openClient(accessTo(api.url), { watchMarginMs: 50 });
  let opened = 0;
  const codeOf = async (resourceVersion: string): Promise<string> =>
    (await failureOf(collect(client.watch(PODS, { resourceVersion, timeoutSeconds: 0, onOpen: () => opened++ })))).code;
  assert.equal(await codeOf("410"), "kube-gone");
  assert.equal(opened, 0, "a refused watch is not open");
  assert.equal(await codeOf("411"), "kube-gone");
  assert.equal(await codeOf("7"), "kube-answer-garbage");
  assert.equal(await codeOf("8"), "kube-answer-cut");
  assert.equal(await codeOf("9"), "kube-answer-silent");
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

Deno.test("client.discover lists resources without subresources, and nothing for an unknown version", async () => {
  await using api = await startLocalApi(({ url }, response) => {
    if (url === "/apis/apps/v1") {
      return sendJson(response, {
        resources: [
          { name: "deployments", kind: "Deployment", namespaced: true, verbs: ["get"] },
          { name: "deployments/status", kind: "Deployment", namespaced: true, verbs: ["get"] },
        ],
      });
    }
    if (url === "/api") return sendJson(response, { versions: ["v1"] });
    if (url === "/apis") {
      const versions = [{ groupVersion: "a/v1" }, { groupVersion: "a/v2" }];
      return sendJson(response, { groups: [{ versions, preferredVersion: { groupVersion: "a/v2" } }] });
    }
    response.writeHead(404).end("404 page not found");
  });
  using client = openClient(accessTo(api.url));
  assert.deepEqual(await client.discover("apps/v1"), [
    { group: "apps", version: "v1", kind: "Deployment", plural: "deployments", namespaced: true, verbs: ["get"] },
  ]);
  assert.deepEqual(await client.discover("nope/v1"), []);
  assert.deepEqual(await client.apiVersions(), ["v1", "a/v2", "a/v1"]);
});
