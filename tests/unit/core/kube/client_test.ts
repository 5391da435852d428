import assert from "node:assert/strict";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CredentialOptions, Credentials } from "../../../../core/kube/access/cluster_access.ts";
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
} from "../../../../core/kube/errors.ts";
import { isK3slbError } from "../../../../core/shared/errors.ts";
import { createCertificateAuthority } from "../../../support/certificates.ts";
import { accessTo, failureOf, openClient, sendJson, startLocalApi, statusBody } from "./_local_api.ts";

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

Deno.test("client keeps the digits of large integers in objects of kinds that may have them", async () => {
  const text = '{"metadata":{"name":"a"},"spec":{"id":9007199254740993}}';
  await using api = await startLocalApi(({ url }, response) => {
    if (url.includes("watch")) response.end(`{"type":"ADDED","object":${text}}\n`);
    else response.end(url.endsWith("/a") ? text : `{"items":[${text}]}`);
  });
  using client = openClient(accessTo(api.url));
  const type = { ...CONFIG_MAPS, keepsIntegers: true } as const;
  const seen: unknown[] = [await client.get(type, { name: "a" }), ...(await client.list(type)).items];
  for await (const { object } of client.watch(type, {})) seen.push(object);
  assert.equal(seen.length, 3);
  for (const object of seen) assert.match(JSON.stringify(object), /"id":9007199254740993\b/);
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
    "/api/v1/pods?labelSelector=a%3Db&continue=more&limit=1",
  ]);
});

Deno.test("client.list asks for smaller pages where large objects make one too large, and holds none with each", async () => {
  const names = Array.from({ length: 20 }, (_, index) => `pod-${index}`);
  await using api = await startLocalApi(({ url }, response) => {
    const query = new URL(url, "http://x").searchParams;
    const from = Number(query.get("continue") ?? 0);
    const isWhole = query.get("resourceVersion") === "0";
    const end = isWhole ? names.length : Math.min(names.length, from + Number(query.get("limit")));
    sendJson(response, {
      metadata: { resourceVersion: "7", ...(end < names.length ? { continue: String(end) } : {}) },
      items: names.slice(from, end).map((name) => ({ metadata: { name, annotations: { a: "x".repeat(3_000) } } })),
    });
  });
  using client = openClient(accessTo(api.url), { maxAnswerBytes: 10_000 });
  const list = await client.list(PODS, { resourceVersion: "0" });
  assert.deepEqual(list.items.map(({ metadata }) => metadata?.name), names);
  const seen: unknown[] = [];
  assert.deepEqual(await client.list(PODS, { pageSize: 2, each: (pod) => seen.push(pod.metadata?.name) }), {
    resourceVersion: "7",
    items: [],
  });
  assert.deepEqual(seen, names);
});

Deno.test("client.list gives up where even one object is too large", async () => {
  await using api = await startLocalApi((_request, response) => void response.end("x".repeat(20_000)));
  using client = openClient(accessTo(api.url), { maxAnswerBytes: 10_000 });
  assert.equal((await failureOf(client.list(PODS))).code, "kube-answer-too-large");
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
  {
    name: "401",
    given: statusBody(401, "Unauthorized", "who"),
    want: (error: unknown) => isK3slbError(error, "kube-unauthorized"),
  },
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
    assert.deepEqual(
      [api.seen.length, misnamed.seen.length],
      [20, 2],
      "nothing is said to a server that may be another",
    );
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
