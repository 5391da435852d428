import assert from "node:assert/strict";
import { type HealthCheck, startHealthEarly, startHealthServer } from "../../../../core/runtime/health.ts";

async function inServer(
  checks: readonly HealthCheck[],
  work: (get: (path: string) => Promise<{ status: number; body: string; type: string }>) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const server = await startHealthServer({
    address: "127.0.0.1:0",
    checks,
    renderMetrics: () => "k3slb_up 1\n",
    signal: stop.signal,
  });
  try {
    await work(async (path) => {
      const answer = await fetch(`http://127.0.0.1:${server.port}${path}`);
      return { status: answer.status, body: await answer.text(), type: answer.headers.get("content-type") ?? "" };
    });
  } finally {
    stop.abort();
    await server.done;
  }
}

Deno.test("startHealthServer answers probes by their kind and names what fails", async () => {
  let problem: string | undefined;
  const checks: HealthCheck[] = [
    { name: "loop", kind: "live", problem: () => undefined },
    { name: "watch-services", kind: "ready", problem: () => problem },
  ];
  await inServer(checks, async (get) => {
    for (const path of ["/livez", "/healthz", "/readyz"]) assert.deepEqual((await get(path)).body, "ok");
    problem = "not connected";
    assert.equal((await get("/livez")).status, 200);
    const { status, body } = await get("/readyz");
    assert.equal(status, 503);
    assert.equal(body, "[+]loop ok\n[-]watch-services failed: not connected\ncheck failed\n");
    assert.equal((await get("/livez?verbose")).body, "[+]loop ok\ncheck passed\n");
    for (const path of ["/other", "//", "/%"]) assert.equal((await get(path)).status, 404, path);
    const metrics = await get("/metrics");
    assert.equal(metrics.body, "k3slb_up 1\n");
    assert.match(metrics.type, /^text\/plain; version=0\.0\.4/);
  });
});

Deno.test("startHealthServer counts a throwing check as failed", async () => {
  const check: HealthCheck = {
    name: "broken",
    kind: "live",
    problem: () => {
      throw new Error("oops");
    },
  };
  await inServer([check], async (get) => assert.match((await get("/livez")).body, /\[-\]broken failed: oops/));
});

Deno.test("startHealthServer refuses bad and taken addresses", async () => {
  const stop = new AbortController();
  const options = { checks: [], renderMetrics: () => "", signal: stop.signal };
  for (const address of ["", "localhost", "127.0.0.1:99999", "::1:80", "[::1]"]) {
    await assert.rejects(startHealthServer({ ...options, address }), { code: "metrics-address-invalid" }, address);
  }
  const first = await startHealthServer({ ...options, address: "127.0.0.1:0" });
  await assert.rejects(startHealthServer({ ...options, address: `127.0.0.1:${first.port}` }), {
    code: "metrics-address-unusable",
  });
  stop.abort();
  await first.done;
});

Deno.test("startHealthEarly hands a taken address to who takes over", async () => {
  const stop = new AbortController();
  const options = { checks: [], renderMetrics: () => "", signal: stop.signal };
  const first = await startHealthServer({ ...options, address: "127.0.0.1:0" });
  const serve = await startHealthEarly({ ...options, address: `127.0.0.1:${first.port}` });
  await assert.rejects(serve(options), { code: "metrics-address-unusable" });
  stop.abort();
  await first.done;
});

Deno.test("startHealthEarly is alive and not ready until the program speaks for itself", async () => {
  const [stop, ended] = [new AbortController(), new AbortController()];
  // Its port is free again, and no other's for now.
  const probe = await startHealthServer({
    address: "127.0.0.1:0",
    checks: [],
    renderMetrics: () => "",
    signal: ended.signal,
  });
  ended.abort();
  await probe.done;
  const serve = await startHealthEarly({
    address: `127.0.0.1:${probe.port}`,
    renderMetrics: () => "early 1\n",
    signal: stop.signal,
  });
  const get = async (path: string): Promise<readonly [number, string]> => {
    const answer = await fetch(`http://127.0.0.1:${probe.port}${path}`);
    return [answer.status, await answer.text()];
  };
  assert.deepEqual(await get("/livez"), [200, "ok"]);
  assert.deepEqual(await get("/readyz"), [503, "[-]start failed: the start is not done yet\ncheck failed\n"]);
  assert.deepEqual(await get("/metrics"), [200, "early 1\n"]);
  const { done } = await serve({ checks: [], renderMetrics: () => "own 1\n" });
  assert.deepEqual(await get("/readyz"), [200, "ok"]);
  assert.deepEqual(await get("/metrics"), [200, "own 1\n"]);
  stop.abort();
  await done;
});
