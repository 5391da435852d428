import assert from "node:assert/strict";
import type { ObjectKey, Patch } from "../../../../core/kube/contract.ts";
import { statusError } from "../../../../core/kube/errors.ts";
import { createEventRecorder, cutToBytes, type EventRecorder, referenceTo } from "../../../../core/kube/events.ts";
import type { KubeEvent } from "../../../../core/kube/types.ts";
import { createLogger } from "../../../../core/shared/log.ts";
import { createFakeClock, type FakeClock } from "../../../support/fake_clock.ts";
import { scriptedClient } from "./_scripted_client.ts";

interface World {
  readonly recorder: EventRecorder;
  readonly clock: FakeClock;
  readonly created: KubeEvent[];
  readonly patched: { readonly key: ObjectKey; readonly body: object }[];
  readonly log: string[];
}

function start(fail: (name: string) => Error | undefined = () => undefined): World {
  const clock = createFakeClock();
  const created: KubeEvent[] = [];
  const patched: { key: ObjectKey; body: object }[] = [];
  const log: string[] = [];
  const client = scriptedClient({
    create: async (_type: unknown, event: KubeEvent) => {
      await Promise.resolve();
      const error = fail("create");
      if (error !== undefined) throw error;
      created.push(event);
      return event;
    },
    patch: async (_type: unknown, key: ObjectKey, patch: Patch) => {
      await Promise.resolve();
      const error = fail("patch");
      if (error !== undefined) throw error;
      patched.push({ key, body: patch.body });
      return {};
    },
  });
  const logger = createLogger({ level: "info", format: "text", write: (line) => log.push(line), now: () => 0 });
  const recorder = createEventRecorder({ client, component: "service-lb-controller", host: "node-1", clock, logger });
  return { recorder, clock, created, patched, log };
}

const SERVICE = { apiVersion: "v1", kind: "Service", namespace: "ns", name: "web", uid: "u1" };

function failure(code: number, reason: string): Error {
  return statusError({ code, reason }, { action: { verb: "create", resource: "events" }, httpStatus: code });
}

Deno.test("recorder.record writes a v1 Event with all that kubectl describe shows", async () => {
  const { recorder, created } = start();
  recorder.record(SERVICE, { type: "Normal", reason: "Served", message: "ok", annotations: { a: "b" } });
  recorder.record({ apiVersion: "v1", kind: "Node", name: "n" }, { type: "Warning", reason: "R", message: "m" });
  await recorder.flush();
  const [event, other] = created;
  assert.match(event?.metadata?.name ?? "", /^web\.[0-9a-f]+$/);
  assert.deepEqual(event, {
    apiVersion: "v1",
    kind: "Event",
    metadata: { namespace: "ns", name: event?.metadata?.name, annotations: { a: "b" } },
    involvedObject: SERVICE,
    type: "Normal",
    reason: "Served",
    message: "ok",
    count: 1,
    firstTimestamp: "2026-11-23T00:00:00Z",
    lastTimestamp: "2026-11-23T00:00:00Z",
    source: { component: "service-lb-controller", host: "node-1" },
    reportingComponent: "service-lb-controller",
    reportingInstance: "node-1",
  });
  assert.equal(other?.metadata?.namespace, "default", "Events of cluster-scoped objects");
});

Deno.test("recorder.record counts a repeated Event with at most one write a minute", async () => {
  const { recorder, clock, created, patched } = start();
  for (let second = 0; second < 300; second++) {
    recorder.record(SERVICE, { type: "Warning", reason: "PortInUse", message: "taken" });
    await clock.advance(1000);
  }
  await recorder.flush();
  assert.equal(created.length, 1);
  assert.ok(patched.length >= 4 && patched.length <= 6, `${patched.length} patches`);
  assert.deepEqual(patched.at(-1), {
    key: { namespace: "ns", name: created[0]?.metadata?.name },
    body: { count: 300, lastTimestamp: "2026-11-23T00:04:59Z" },
  });
  assert.equal(clock.timers, 0);
  await clock.advance(11 * 60_000);
  recorder.record(SERVICE, { type: "Warning", reason: "PortInUse", message: "taken" });
  await recorder.flush();
  assert.equal(created.length, 2, "after ten quiet minutes it is a new Event");
});

Deno.test("recorder.record: an Event that is updated has the last message, and stays one", async () => {
  const { recorder, clock, created, patched } = start();
  const content = { type: "Warning", reason: "JobFailed", isUpdated: true } as const;
  for (const port of [41_001, 41_002, 41_003]) {
    recorder.record(SERVICE, { ...content, message: `refused from :${port}` });
    await clock.advance(30_000);
  }
  await recorder.flush();
  assert.equal(created.length, 1);
  assert.match(JSON.stringify(patched.at(-1)?.body), /"message":"refused from :41003"/);
  recorder.record(SERVICE, { type: "Warning", reason: "JobFailed", message: "another kind" });
  await recorder.flush();
  assert.equal(created.length, 2);
});

Deno.test("recorder.record drops a flood about one object, not Events about others", async () => {
  const { recorder, created } = start();
  for (let index = 0; index < 100; index++) {
    recorder.record(SERVICE, { type: "Normal", reason: "R", message: `message ${index}` });
  }
  recorder.record({ ...SERVICE, name: "other", uid: "u2" }, { type: "Normal", reason: "R", message: "m" });
  await recorder.flush();
  assert.equal(created.length, 26);
  assert.deepEqual(created.slice(0, 3).map(({ message }) => message), ["message 0", "message 1", "message 2"]);
  assert.equal(created.at(-1)?.involvedObject.name, "other");
});

Deno.test("recorder.record creates the Event again when the server has forgotten it", async () => {
  const { recorder, clock, created } = start((call) => call === "patch" ? failure(404, "NotFound") : undefined);
  recorder.record(SERVICE, { type: "Normal", reason: "R", message: "m" });
  await clock.advance(61_000);
  recorder.record(SERVICE, { type: "Normal", reason: "R", message: "m" });
  await recorder.flush();
  assert.deepEqual(created.map(({ count }) => count), [1, 2]);
});

const FAILURE_TABLE = [
  { name: "forbidden", given: failure(403, "Forbidden"), want: 0 },
  { name: "an unknown namespace", given: failure(404, "NotFound"), want: 0 },
  { name: "a broken server", given: failure(500, "InternalError"), want: 1 },
];

for (const { name, given, want } of FAILURE_TABLE) {
  Deno.test(`recorder.record never throws and logs ${want} lines for ${name}`, async () => {
    const { recorder, log } = start(() => given);
    recorder.record(SERVICE, { type: "Normal", reason: "R", message: "m" });
    await recorder.flush();
    assert.equal(log.length, want);
  });
}

Deno.test("recorder.flush returns when its signal is aborted", async () => {
  const { clock, log } = start();
  const recorder = createEventRecorder({
    client: scriptedClient({ create: () => new Promise(() => {}) }),
    component: "c",
    host: "h",
    clock,
    logger: createLogger({ level: "info", format: "text", write: (line) => log.push(line), now: () => 0 }),
  });
  recorder.record(SERVICE, { type: "Normal", reason: "R", message: "m" });
  const stop = new AbortController();
  const flushed = recorder.flush(stop.signal);
  stop.abort();
  await flushed;
});

const CUT_TABLE = [
  { name: "short", given: "abc", want: "abc" },
  { name: "exact", given: "0123456789", want: "0123456789" },
  { name: "long", given: "0123456789a", want: "0123456..." },
  { name: "in the middle of a character", given: "012345\u00e9\u00e9\u00e9", want: "012345..." },
];

for (const { name, given, want } of CUT_TABLE) {
  Deno.test(`cutToBytes: ${name}`, () => {
    assert.equal(cutToBytes(given, 10), want);
    assert.ok(new TextEncoder().encode(cutToBytes(given, 10)).length <= 10);
  });
}

Deno.test("referenceTo takes what an Event needs", () => {
  const object = { apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "ns", uid: "u1" }, spec: {} };
  assert.deepEqual(referenceTo(object), SERVICE);
});

Deno.test("recorder.record writes one line that steers no terminal, and keeps no more of it than it writes", async () => {
  const { recorder, created } = start();
  recorder.record(SERVICE, { type: "Warning", reason: "R", message: `a\x1b[2J\n\x9bb${"ß".repeat(1_000_000)}` });
  await recorder.flush();
  const { message = "" } = created[0] ?? {};
  assert.match(message, /^a\\u001b\[2J \\u009bbß+\.\.\.$/);
  assert.ok(new TextEncoder().encode(message).length <= 1024);
});

Deno.test("recorder.record: namespaces whose webhook hangs keep no Event of another one, nor take its room", async () => {
  const clock = createFakeClock();
  const written = new Map<string, number>();
  const recorder = createEventRecorder({
    client: scriptedClient({
      create: async (_type: unknown, { metadata, message = "" }: KubeEvent, { timeoutMs = 30_000 } = {}) => {
        if (metadata?.namespace?.startsWith("evil")) {
          await clock.sleep(timeoutMs);
          throw failure(504, "Timeout");
        }
        await clock.sleep(5);
        written.set(message, clock.now());
      },
    }),
    component: "c",
    host: "h",
    clock,
    logger: createLogger({ level: "error", format: "text", write: () => {}, now: () => 0 }),
  });
  const record = (namespace: string, name: string, message: string): void =>
    recorder.record({ ...SERVICE, namespace, name, uid: `${namespace}/${name}` }, {
      type: "Normal",
      reason: "R",
      message,
    });
  record("honest", "web", "first");
  await clock.advance(1_000);
  for (let i = 0; i < 24; i++) for (let j = 0; j < 60; j++) record(`evil-${i}`, `web-${j}`, "m");
  const recordedMs: number[] = [];
  for (let minute = 0; minute < 20; minute++) {
    recordedMs.push(clock.now());
    record("honest", `web-${minute}`, `${minute}`);
    await clock.advance(60_000);
  }
  const delays = recordedMs.map((ms, minute) => (written.get(`${minute}`) ?? Infinity) - ms);
  assert.ok(Math.max(...delays) <= 10, String(delays));
});
