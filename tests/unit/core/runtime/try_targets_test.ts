import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { createSocket } from "node:dgram";
import { createServer, type Socket } from "node:net";
import { SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import type { ProbeTarget } from "../../../../core/runtime/probe_outcome.ts";
import { tryTarget, tryTargets } from "../../../../core/runtime/try_targets.ts";

const options = { clock: SYSTEM_CLOCK, signal: new AbortController().signal, timeoutMs: 2_000 };

function targets(count: number, protocol: ProbeTarget["protocol"] = "TCP"): readonly ProbeTarget[] {
  return Array.from({ length: count }, (_, index) => ({ address: "127.0.0.1", port: index + 1, protocol }));
}

/** A port on which nobody listens any more, unless `body` keeps it. */
async function withTcpServer(
  body: (port: number) => Promise<void>,
  answer: (socket: Socket) => void = (socket) => socket.destroy(),
): Promise<number> {
  const server = createServer(answer);
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

Deno.test("tryTarget: HTTP: the status that comes, in parts too; what does not speak it, or says nothing, is told", async () => {
  const cases: readonly (readonly [string, (socket: Socket) => void, object])[] = [
    ["an answer", (socket) => socket.end("HTTP/1.1 204 No Content\r\n\r\n"), { state: "Connected", httpStatus: 204 }],
    [
      "in parts",
      (socket) => {
        socket.write("HTTP/1.0 5");
        socket.once("data", () => socket.end("03 Service Unavailable\r\n"));
      },
      { state: "Connected", httpStatus: 503 },
    ],
    ["another language", (socket) => socket.end("SSH-2.0-OpenSSH_9.2p1\r\n"), { state: "NotHttp" }],
    ["the end", (socket) => socket.end(), { state: "NotHttp" }],
    ["silence", () => {}, { state: "NotHttp" }],
  ];
  for (const [name, answer, wanted] of cases) {
    let asked = "";
    const open: Socket[] = [];
    await withTcpServer(async (port) => {
      const target = { address: "127.0.0.1", port, protocol: "TCP" } as const;
      const timeoutMs = name === "silence" ? 100 : 2_000;
      const { latencyMs = -1, ...rest } = await tryTarget(target, { ...options, timeoutMs, httpPath: "/healthz" });
      deepEqual(rest, wanted, name);
      ok(latencyMs >= 0, name);
      if (name === "an answer") {
        equal(asked, `GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`);
      }
      for (const socket of open) socket.destroy();
    }, (socket) => {
      open.push(socket);
      socket.on("error", () => {});
      if (name === "an answer") socket.once("data", (part) => asked = part.toString());
      if (name === "an answer") socket.once("data", () => answer(socket));
      else answer(socket);
    });
  }
});

Deno.test("tryTarget: UDP: an answer is told, to the second packet too; without one there is silence after the time", async () => {
  for (const answered of [1, 2, 3]) {
    const answers = answered < 3;
    const socket = createSocket("udp4");
    let count = 0;
    socket.on("message", (_, from) => {
      if (++count === answered) socket.send("x", from.port, from.address);
    });
    await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
    const { port } = socket.address();
    const { state } = await tryTarget({ address: "127.0.0.1", port, protocol: "UDP" }, {
      ...options,
      timeoutMs: answered === 1 ? 2_000 : 100,
    });
    equal(state, answers ? "Answered" : "Silent");
    await new Promise<void>((resolve) => socket.close(() => resolve()));
  }
});

Deno.test("tryTargets: at most 32 at a time, all of them, in order", async () => {
  let running = 0;
  let most = 0;
  const tried: number[] = [];
  const outcomes = await tryTargets(targets(100), {
    ...options,
    tryTarget: async ({ port }) => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running--;
      tried.push(port);
      return { state: "Connected", latencyMs: port };
    },
  });
  equal(most, 32);
  equal(tried.length, 100);
  deepEqual(outcomes.map(({ latencyMs }) => latencyMs), Array.from({ length: 100 }, (_, index) => index + 1));
});

Deno.test("tryTargets: when the time for all is over, the rest is not tried", async () => {
  let nowMs = 0;
  const outcomes = await tryTargets(targets(100), {
    ...options,
    clock: { ...SYSTEM_CLOCK, monotonicMs: () => nowMs },
    totalMs: 10,
    tryTarget: () => {
      nowMs += 1;
      return Promise.resolve({ state: "TimedOut" });
    },
  });
  equal(outcomes.filter(({ state }) => state === "TimedOut").length, 10);
  equal(outcomes.filter(({ state }) => state === "NotTried").length, 90);
});

Deno.test("tryTargets: SCTP is not tried; a signal ends it", async () => {
  deepEqual(await tryTargets(targets(1, "SCTP"), options), [{ state: "NotTried" }]);
  await rejects(tryTargets(targets(1), { ...options, signal: AbortSignal.abort() }), { name: "AbortError" });
});
