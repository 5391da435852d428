// Real connects on loopback, and the timer with a clock that stands still.
import { deepEqual, equal } from "node:assert/strict";
import { createServer } from "node:net";
import { askByTcp, type AskEnd, askNodes, type BeginAsk } from "../../../../core/runtime/ask_nodes.ts";
import type { Ask, LifeChange } from "../../../../core/runtime/node_life.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { createFakeClock } from "../../../support/fake_clock.ts";

function askOf(port: number): Ask {
  return { node: "a", ip: "127.0.0.1", port, begunMs: 0 };
}

Deno.test("an ask that is answered ends by a reset, a refused one says so, and one that is given up says nothing", async () => {
  const seen: string[] = [];
  const server = createServer((socket) => {
    socket.on("error", (error: Error & { code?: string }) => seen.push(error.code ?? ""));
    socket.on("end", () => seen.push("end"));
    socket.on("close", () => server.close());
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const closed = new Promise<void>((resolve) => server.on("close", () => resolve()));
  const { port } = server.address() as { port: number };
  equal(await new Promise<AskEnd>((resolve) => askByTcp(askOf(port), resolve)), "answered");
  await closed;
  deepEqual(seen, ["ECONNRESET"]);
  equal(await new Promise<AskEnd>((resolve) => askByTcp(askOf(port), resolve)), "refused");
  let told = 0;
  const giveUp = askByTcp(askOf(port), () => told++);
  giveUp();
  giveUp();
  await new Promise((resolve) => setTimeout(resolve, 20));
  equal(told, 0);
});

Deno.test("asks nobody before it is told whom, tells what changed, gives up what is silent and ends with its signal", async () => {
  const clock = createFakeClock();
  const ending = new AbortController();
  const told: string[] = [];
  const isSilent = new Set<string>();
  let open = 0;
  const beginAsk: BeginAsk = (ask, onEnd) => {
    open++;
    let isOpen = true;
    const close = (): void => {
      if (isOpen) open--;
      isOpen = false;
    };
    if (!isSilent.has(ask.node)) {
      queueMicrotask(() => {
        close();
        onEnd("answered");
      });
    }
    return close;
  };
  const onChange = (changes: readonly LifeChange[]): void => {
    told.push(...changes.map(({ what, node }) => `${what} ${node}`));
  };
  const asker = askNodes({ clock, logger: SILENT_LOGGER, signal: ending.signal, onChange, beginAsk });
  equal(clock.timers, 0);
  asker.replace([{ name: "a", ips: ["10.0.0.1"] }, { name: "b", ips: ["10.0.0.2"] }]);
  await clock.advance(10_000);
  deepEqual(told, []);
  isSilent.add("b");
  await clock.advance(3000);
  deepEqual(told, ["dead b"]);
  deepEqual([...asker.dead.keys()], ["b"]);
  await clock.advance(60_000);
  equal(open <= 4, true, `${open} asks wait`);
  equal(clock.timers, 1);
  isSilent.delete("b");
  await clock.advance(1000);
  deepEqual(told, ["dead b", "back b"]);
  deepEqual([...asker.dead.keys()], []);
  isSilent.add("a");
  await clock.advance(500);
  ending.abort();
  deepEqual([open, clock.timers], [0, 0]);
  asker.replace([{ name: "c", ips: ["10.0.0.3"] }]);
  equal(clock.timers, 0);
});

Deno.test("on a busy machine answers that wait are read before a node is found dead", async () => {
  const clock = createFakeClock();
  const ending = new AbortController();
  const told: string[] = [];
  const unread: (() => void)[] = [];
  let isBusy = false;
  const beginAsk: BeginAsk = (_, onEnd) => {
    if (isBusy) unread.push(() => onEnd("answered"));
    else queueMicrotask(() => onEnd("answered"));
    return () => {};
  };
  // A timer that comes late, and what waits in sockets behind it.
  const busy: typeof clock = {
    ...clock,
    setTimer: (callback, delayMs) =>
      clock.setTimer(() => {
        callback();
        for (const read of unread.splice(0)) clock.setTimer(read, 0);
      }, isBusy ? Math.max(delayMs, 900) : delayMs),
  };
  const onChange = (changes: readonly LifeChange[]): void => void told.push(...changes.map(({ what }) => what));
  const asker = askNodes({ clock: busy, logger: SILENT_LOGGER, signal: ending.signal, onChange, beginAsk });
  asker.replace([{ name: "a", ips: ["10.0.0.1"] }]);
  await clock.advance(5000);
  isBusy = true;
  await clock.advance(60_000);
  deepEqual(told, []);
  ending.abort();
});
