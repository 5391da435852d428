import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { createSocket } from "node:dgram";
import { createServer } from "node:net";
import type { ProbeTarget } from "../../../../cli/probe/probe_result.ts";
import { probeAll, tryTarget } from "../../../../cli/probe/try_target.ts";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";

const options = { clock: SYSTEM_CLOCK, signal: new AbortController().signal, timeoutMs: 2_000 };

function targets(count: number, protocol: ProbeTarget["protocol"] = "TCP"): readonly ProbeTarget[] {
  return Array.from({ length: count }, (_, index) => ({ address: "127.0.0.1", port: index + 1, protocol }));
}

/** A port on which nobody listens any more, unless `body` keeps it. */
async function withTcpServer(body: (port: number) => Promise<void>): Promise<number> {
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  try {
    await body(port);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
  return port;
}

Deno.test("tryTarget: a TCP port that listens connects, with its latency; one that does not refuses", async () => {
  const port = await withTcpServer(async (port) => {
    const { state, latencyMs = -1 } = await tryTarget({ address: "127.0.0.1", port, protocol: "TCP" }, options);
    equal(state, "Connected");
    ok(latencyMs >= 0);
  });
  deepEqual(await tryTarget({ address: "127.0.0.1", port, protocol: "TCP" }, options), { state: "Refused" });
});

Deno.test("tryTarget: UDP: an answer is told; without one there is silence after the time", async () => {
  for (const answers of [true, false]) {
    const socket = createSocket("udp4");
    if (answers) socket.on("message", (_, from) => socket.send("x", from.port, from.address));
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    const { port } = socket.address();
    const { state } = await tryTarget({ address: "127.0.0.1", port, protocol: "UDP" }, {
      ...options,
      timeoutMs: answers ? 2_000 : 50,
    });
    equal(state, answers ? "Answered" : "Silent");
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  }
});

Deno.test("probeAll: at most 32 at a time, all of them, in order", async () => {
  let running = 0;
  let most = 0;
  const rows = await probeAll(targets(100), {
    ...options,
    tryTarget: async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running--;
      return { state: "Connected", latencyMs: 1 };
    },
  });
  equal(most, 32);
  deepEqual(rows.map(({ port }) => port), Array.from({ length: 100 }, (_, index) => index + 1));
});

Deno.test("probeAll: when the time for all is over, the rest is not tried, and says so", async () => {
  let nowMs = 0;
  const rows = await probeAll(targets(100), {
    ...options,
    clock: { ...SYSTEM_CLOCK, monotonicMs: () => nowMs },
    totalMs: 10,
    tryTarget: () => {
      nowMs += 1;
      return Promise.resolve({ state: "TimedOut" });
    },
  });
  equal(rows.length, 100);
  equal(rows.filter(({ state }) => state === "TimedOut").length, 10);
  ok(rows.every(({ problem }) => problem));
});

Deno.test("probeAll: SCTP is not tried; a signal ends it", async () => {
  deepEqual((await probeAll(targets(1, "SCTP"), options)).map(({ state, problem }) => [state, problem]), [[
    "NotTried",
    false,
  ]]);
  await rejects(probeAll(targets(1), { ...options, signal: AbortSignal.abort() }), { name: "AbortError" });
});
