// Who gets the page, and what becomes of those who do not read it.
import { deepEqual, equal, match } from "node:assert/strict";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { PageFacts } from "../../../../core/status/render_page.ts";
import { createStatusPage } from "../../../../core/status/status_page.ts";
import type { Clock } from "../../../../core/runtime/clock.ts";
import { createFakeClock } from "../../../support/fake_clock.ts";

const FACTS: PageFacts = {
  version: "1.0.0",
  isLeading: false,
  answers: [],
  status: {
    server: { name: "s", state: "Active", message: "", problem: false },
    nodes: [],
    services: [],
    charts: [],
    addOns: [],
  },
};

/** A response that nobody reads from: what is written stays. */
class Unread {
  status = 0;
  written: string[] = [];
  isDestroyed = false;
  readonly ended = Promise.withResolvers<string>();

  get writableLength(): number {
    return this.written.join("").length;
  }

  writeHead(status: number): void {
    this.status = status;
  }

  write(text: string): void {
    this.written.push(text);
  }

  end(text = ""): void {
    this.ended.resolve(text);
  }

  on(): void {}

  destroy(): void {
    this.isDestroyed = true;
  }
}

function ask(
  path: string,
  { clock = createFakeClock(), peer, host }: { readonly clock?: Clock; readonly peer?: string; readonly host?: string },
): Unread {
  const page = createStatusPage({ read: () => Promise.resolve(FACTS), clock, onFailure: () => {} });
  const response = new Unread();
  const request = { method: "GET", socket: { remoteAddress: peer }, headers: host === undefined ? {} : { host } };
  equal(page(path, request as unknown as IncomingMessage, response as unknown as ServerResponse), true);
  return response;
}

const ASKERS: readonly (readonly [peer: string | undefined, host: string | undefined, isShown: boolean])[] = [
  ["127.0.0.1", "127.0.0.1:10260", true],
  ["127.0.0.1", "localhost:10260", true],
  ["127.0.0.1", "node1", true],
  ["127.0.0.1", undefined, true],
  ["::1", "[::1]:10260", true],
  ["::ffff:127.0.0.1", "127.0.0.1:10260", true],
  // A website that gives its name this address.
  ["127.0.0.1", "rebound.example.com:10260", false],
  ["127.0.0.1", "127.0.0.1.example.com", false],
  // A pod, where the address is open to all.
  ["10.42.0.7", "10.42.1.1:10260", false],
  ["fd42::7", "[fd42::1]:10260", false],
  [undefined, "localhost", false],
];

for (const [peer, host, isShown] of ASKERS) {
  Deno.test(`the page is ${isShown ? "shown" : "refused"} to ${peer} who asks ${host}`, async () => {
    const asker = { ...(peer === undefined ? {} : { peer }), ...(host === undefined ? {} : { host }) };
    const page = ask("/", asker);
    match(await page.ended.promise, isShown ? /<!doctype html>/i : /^the page is for this host alone: ssh /);
    const events = ask("/events", asker);
    deepEqual([page.status, events.status], isShown ? [200, 200] : [403, 403]);
  });
}

Deno.test("a viewer who does not read is let go", async () => {
  const clock = createFakeClock();
  const viewer = ask("/events", { clock, peer: "127.0.0.1" });
  await clock.advance(2_000);
  equal(viewer.isDestroyed, true);
  equal(viewer.written.length, 1);
});
