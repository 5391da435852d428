import assert from "node:assert/strict";
import type { KubeClient, ListOptions } from "../../../../core/kube/contract.ts";
import { createLogger } from "../../../../core/shared/log.ts";
import { WantedSlices } from "../../../../core/kube/wanted_slices.ts";
import { createFakeClock, type FakeClock } from "../../../support/fake_clock.ts";
import { scriptedClient } from "../../core/kube/_scripted_client.ts";

interface Bench {
  readonly slices: WantedSlices;
  readonly clock: FakeClock;
  /** What was asked for: `NAMESPACE|SELECTOR`. */
  readonly asked: string[];
  /** Answers of the next lists; each is waited for. */
  readonly answers: Promise<unknown>[];
  readonly listed: () => number;
  readonly stop: () => Promise<void>;
}

function start(): Bench {
  const clock = createFakeClock();
  const stop = new AbortController();
  const asked: string[] = [];
  const answers: Promise<unknown>[] = [];
  let listed = 0;
  const client: KubeClient = scriptedClient({
    list: async (_type: unknown, options: ListOptions = {}) => {
      asked.push(`${options.namespace ?? "*"}|${options.labelSelector}`);
      await answers.shift();
      return { items: [], resourceVersion: "1" };
    },
  });
  const slices = new WantedSlices({
    client,
    clock,
    logger: createLogger({ level: "error", format: "text", write: () => {}, now: () => 0 }),
    signal: stop.signal,
    merge: () => {},
    onListed: () => listed++,
  });
  const running = slices.run();
  return {
    slices,
    clock,
    asked,
    answers,
    listed: () => listed,
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}

const LABEL = "kubernetes.io/service-name";

/** The watch brings a slice of each. */
function drop(slices: WantedSlices, ...services: readonly string[]): void {
  assert.ok(services.every((service) => !slices.keeps(service)));
}

Deno.test("WantedSlices lists the first Service at once and all that come meanwhile in one request", async () => {
  const { slices, clock, asked, answers, listed, stop } = start();
  drop(slices, "ns/a", "ns/b", "other/c");
  const first = Promise.withResolvers<void>();
  answers.push(first.promise);
  slices.replace(new Set(["ns/a"]));
  await clock.advance(0);
  slices.replace(new Set(["ns/a", "ns/b"]));
  slices.replace(new Set(["ns/a", "ns/b", "other/c"]));
  await clock.advance(0);
  assert.deepEqual([slices.isComplete("ns/a"), slices.isComplete("ns/b")], [false, false]);
  first.resolve();
  await clock.advance(0);
  assert.deepEqual(asked, [`ns|${LABEL} in (a)`, `*|${LABEL} in (b,c)`]);
  assert.deepEqual(["ns/a", "ns/b", "other/c"].map((key) => slices.isComplete(key)), [true, true, true]);
  assert.equal(listed(), 2);
  await stop();
});

Deno.test("WantedSlices lists again what was unwanted for a moment while a list was under way", async () => {
  const { slices, clock, asked, answers, stop } = start();
  drop(slices, "ns/a");
  const first = Promise.withResolvers<void>();
  answers.push(first.promise);
  slices.replace(new Set(["ns/a"]));
  await clock.advance(0);
  // Between these two what the watch brings of the Service is dropped, and the list may be older than that.
  slices.replace(new Set());
  slices.replace(new Set(["ns/a"]));
  first.resolve();
  await clock.advance(0);
  assert.equal(asked.length, 2);
  assert.equal(slices.isComplete("ns/a"), true);
  await stop();
});

Deno.test("WantedSlices lists nothing of a Service of which it has dropped nothing", async () => {
  const { slices, clock, asked, stop } = start();
  slices.replace(new Set(["ns/a"]));
  await clock.advance(0);
  assert.deepEqual([slices.keeps("ns/a"), slices.isComplete("ns/a"), asked.length], [true, true, 0]);
  await stop();
});

Deno.test("WantedSlices lists again what it dropped after it was known whole, and not what was only unwanted", async () => {
  const { slices, clock, asked, stop } = start();
  drop(slices, "ns/a", "ns/b");
  slices.replace(new Set(["ns/a", "ns/b"]));
  await clock.advance(0);
  slices.replace(new Set());
  drop(slices, "ns/b");
  slices.replace(new Set(["ns/a", "ns/b"]));
  await clock.advance(0);
  assert.deepEqual(asked, [`ns|${LABEL} in (a,b)`, `ns|${LABEL} in (b)`]);
  await stop();
});

Deno.test("WantedSlices tries again after a failure, and forgets what is no longer wanted", async () => {
  const { slices, clock, asked, answers, stop } = start();
  drop(slices, "ns/a", "ns/b");
  answers.push(Promise.reject(new Error("away")));
  slices.replace(new Set(["ns/a", "ns/b"]));
  await clock.advance(0);
  assert.equal(slices.isComplete("ns/a"), false);
  slices.replace(new Set(["ns/b"]));
  await clock.advance(5_000);
  assert.deepEqual(asked.at(-1), `ns|${LABEL} in (b)`);
  assert.equal(slices.isComplete("ns/b"), true);
  await stop();
});

Deno.test("WantedSlices remembers ten thousand Services whose slices it dropped, and takes any other for one of them after that", async () => {
  const { slices, clock, asked, stop } = start();
  slices.replace(new Set(["ns/new"]));
  for (let at = 0; at < 10_000; at++) drop(slices, `ns/s${at}`);
  slices.replace(new Set(["ns/new", "ns/other"]));
  await clock.advance(0);
  assert.deepEqual(asked, []);
  drop(slices, "ns/one-too-many");
  slices.replace(new Set(["ns/new", "ns/other", "ns/one-too-many", "ns/s0"]));
  await clock.advance(0);
  assert.deepEqual(asked, [`ns|${LABEL} in (one-too-many,s0)`]);
  await stop();
});

Deno.test("WantedSlices asks for at most 100 Services at once", async () => {
  const { slices, clock, asked, stop } = start();
  const names = Array.from({ length: 250 }, (_, at) => `ns/s${at}`);
  drop(slices, ...names);
  slices.replace(new Set(names));
  await clock.advance(0);
  assert.deepEqual(asked.map((one) => one.split(",").length), [100, 100, 50]);
  await stop();
});
