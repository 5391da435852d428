import assert from "node:assert/strict";
import type { KubeList, WatchEvent, WatchOptions } from "../../../../core/kube/contract.ts";
import { answerError, connectionError } from "../../../../core/kube/transport/connection_errors.ts";
import { statusError } from "../../../../core/kube/errors.ts";
import { compareResourceVersions, ObjectStore } from "../../../../core/kube/object_store.ts";
import { type Reflector, type ReflectorOptions, startReflector } from "../../../../core/kube/reflector.ts";
import { CONFIG_MAPS } from "../../../../core/kube/resources.ts";
import type { ConfigMap } from "../../../../core/kube/types.ts";
import { createLogger } from "../../../../core/shared/log.ts";
import { createFakeClock, type FakeClock } from "../../../support/fake_clock.ts";
import { EventChannel, scriptedClient } from "./_scripted_client.ts";

function configMap(name: string, resourceVersion: string, data: Record<string, string> = {}): ConfigMap {
  return { metadata: { namespace: "ns", name, resourceVersion }, data };
}

function failure(code: number, reason = ""): Error {
  return statusError({ code, reason }, { action: { verb: "watch", resource: "configmaps" }, httpStatus: code });
}

const END_OF_LIST = { "k8s.io/initial-events-end": "true" };

function bookmark(resourceVersion: string, annotations?: Record<string, string>): WatchEvent<ConfigMap> {
  return { type: "BOOKMARK", object: { metadata: { resourceVersion, ...(annotations ? { annotations } : {}) } } };
}

function added(object: ConfigMap): WatchEvent<ConfigMap> {
  return { type: "ADDED", object };
}

interface World {
  readonly reflector: Reflector<ConfigMap>;
  readonly clock: FakeClock;
  readonly stop: () => Promise<void>;
  readonly lists: KubeList<ConfigMap>[];
  readonly watches: {
    readonly options: WatchOptions;
    readonly events: EventChannel<ConfigMap>;
    readonly atMs: number;
  }[];
  /** Errors of the next watches, which the server does not accept. */
  readonly server: { outages: number };
  readonly refusals: Error[];
  readonly changes: string[];
  readonly log: string[];
}

/** A reflector on a scripted server; each watch is a channel, each list takes the next of `lists`. */
function start(options: Partial<ReflectorOptions<ConfigMap>> & { readonly lists?: KubeList<ConfigMap>[] } = {}): World {
  const { lists = [], ...rest } = options;
  const refusals: Error[] = [];
  const clock = createFakeClock();
  const stop = new AbortController();
  const watches: World["watches"] = [];
  const changes: string[] = [];
  const log: string[] = [];
  const server = { outages: 0 };
  const scripted = scriptedClient({
    list: () => {
      const list = lists.shift();
      return list === undefined ? Promise.reject(failure(503)) : Promise.resolve(list);
    },
    watch: (_type: unknown, watchOptions: WatchOptions) => {
      const events = new EventChannel<ConfigMap>();
      const end = (): void => events.send(new DOMException("stop", "AbortError"));
      if (watchOptions.signal?.aborted) end();
      else watchOptions.signal?.addEventListener("abort", end);
      watches.push({ options: watchOptions, events, atMs: clock.monotonicMs() });
      const refusal = refusals.shift();
      if (refusal === undefined) watchOptions.onOpen?.();
      else events.send(refusal);
      return events;
    },
  });
  const client = Object.defineProperty(scripted, "outages", { get: () => server.outages });
  const reflector = startReflector({
    client,
    type: CONFIG_MAPS,
    clock,
    logger: createLogger({ level: "info", format: "text", write: (line) => log.push(line), now: () => 0 }),
    signal: stop.signal,
    onChange: ({ key, before, after }) => {
      const mark = before === undefined ? "+" : after === undefined ? "-" : "~";
      changes.push(`${mark}${key}@${(after ?? before)?.metadata?.resourceVersion}`);
    },
    ...rest,
  });
  return {
    reflector,
    clock,
    lists,
    watches,
    refusals,
    server,
    changes,
    log,
    stop: async () => {
      stop.abort();
      await reflector.done;
      assert.equal(clock.timers, 0, "no timer is left");
    },
  };
}

Deno.test("startReflector streams the list, follows events and bookmarks, and goes on where it was", async () => {
  const { reflector, clock, watches, changes, stop } = start();
  await clock.advance(0);
  assert.equal(watches[0]?.options.sendInitialEvents, true);
  watches[0]?.events.send(added(configMap("a", "1")), added(configMap("b", "2")));
  await clock.advance(0);
  assert.equal(reflector.isSynced, false);
  assert.equal(reflector.objects.size, 0, "an incomplete list is not shown");
  watches[0]?.events.send(bookmark("5", END_OF_LIST));
  await reflector.synced;
  assert.equal(reflector.isConnected, true);
  watches[0]?.events.send(
    { type: "MODIFIED", object: configMap("a", "6") },
    { type: "DELETED", object: configMap("b", "7") },
    bookmark("20"),
    "end",
  );
  await clock.advance(0);
  assert.deepEqual(changes, ["+ns/a@1", "+ns/b@2", "~ns/a@6", "-ns/b@2"]);
  assert.equal(watches[1]?.options.resourceVersion, "20");
  assert.equal(watches[1]?.options.sendInitialEvents, undefined);
  const seconds = watches[1]?.options.timeoutSeconds ?? 0;
  assert.ok(seconds >= 300 && seconds <= 600);
  await stop();
  assert.equal(reflector.isConnected, false);
});

Deno.test("startReflector falls back to plain lists on servers without streaming lists, and stays there", async () => {
  const { reflector, clock, lists, watches, stop } = start({
    lists: [{ items: [configMap("a", "1")], resourceVersion: "9" }],
  });
  await clock.advance(0);
  watches[0]?.events.send(failure(422, "Invalid"));
  await clock.advance(5000);
  await reflector.synced;
  assert.deepEqual([...reflector.objects.keys()], ["ns/a"]);
  assert.equal(watches[1]?.options.resourceVersion, "9");
  lists.push({ items: [], resourceVersion: "30" });
  watches[1]?.events.send(failure(410, "Expired"));
  await clock.advance(5000);
  assert.equal(watches[2]?.options.resourceVersion, "30");
  assert.equal(reflector.objects.size, 0);
  await stop();
});

Deno.test("startReflector gives up a streaming list that never completes", async () => {
  const { reflector, clock, watches, stop } = start({ lists: [{ items: [], resourceVersion: "9" }] });
  await clock.advance(0);
  watches[0]?.events.send(added(configMap("a", "1")));
  await clock.advance(40_000);
  await reflector.synced;
  assert.equal(watches[1]?.options.resourceVersion, "9");
  await stop();
});

Deno.test("startReflector finds what was added, changed and deleted while it could not watch", async () => {
  const { clock, lists, watches, changes, stop } = start({
    streamingList: false,
    lists: [{ items: [configMap("same", "1"), configMap("gone", "2"), configMap("old", "3")], resourceVersion: "5" }],
  });
  await clock.advance(0);
  changes.length = 0;
  lists.push({
    items: [configMap("same", "1"), configMap("old", "12"), configMap("new", "11")],
    resourceVersion: "15",
  });
  watches[0]?.events.send(failure(410, "Gone"));
  await clock.advance(1);
  assert.deepEqual(changes, ["-ns/gone@2", "~ns/old@12", "+ns/new@11"]);
  await stop();
});

Deno.test("startReflector keeps trying with growing pauses, and logs each cause once", async () => {
  const { reflector, clock, lists, watches, log, stop } = start({ streamingList: false });
  await clock.advance(120_000);
  assert.equal(reflector.isConnected, false);
  assert.equal(reflector.isSynced, false);
  assert.match(reflector.lastError?.message ?? "", /503/);
  assert.equal(log.length, 1, log.join("\n"));
  lists.push({ items: [], resourceVersion: "1" });
  await clock.advance(40_000);
  assert.equal(watches.length, 1);
  assert.equal(reflector.lastError, undefined);
  assert.equal(log.length, 2);
  assert.match(log[1] ?? "", /back/);
  await stop();
});

Deno.test("startReflector says that a watch is back only when the server has accepted it", async () => {
  const { reflector, clock, watches, refusals, log, stop } = start({
    streamingList: false,
    lists: [{ items: [], resourceVersion: "1" }],
  });
  await clock.advance(60_000);
  watches[0]?.events.send("end");
  await clock.advance(0);
  assert.equal(reflector.isConnected, true, "a watch that the server ends is no failure");
  refusals.push(...Array.from({ length: 4 }, () => failure(503)));
  watches[1]?.events.send(failure(503));
  await clock.advance(8_000);
  assert.equal(watches.length, 6);
  assert.equal(reflector.isConnected, false);
  assert.equal(log.length, 1, log.join("\n"));
  await clock.advance(8_000);
  assert.equal(reflector.isConnected, true);
  assert.match(log[1] ?? "", /back/);
  await stop();
});

Deno.test("startReflector lists at once when the server has forgotten its point in time, also after an outage", async () => {
  const { clock, lists, watches, refusals, stop } = start({
    streamingList: false,
    lists: [{ items: [], resourceVersion: "1" }],
  });
  await clock.advance(0);
  lists.push({ items: [], resourceVersion: "50" });
  refusals.push(...Array.from({ length: 5 }, () => failure(503)), failure(410, "Expired"));
  watches[0]?.events.send(failure(503));
  await clock.advance(60_000);
  assert.equal(watches.length, 8);
  assert.equal(watches[7]?.options.resourceVersion, "50");
  assert.equal(watches[7]?.atMs, watches[6]?.atMs);
  await stop();
});

Deno.test("startReflector is not driven hot by a server that forgets each point in time at once", async () => {
  const { clock, lists, watches, refusals, stop } = start({ streamingList: false });
  for (let i = 0; i < 1_000; i++) {
    lists.push({ items: [], resourceVersion: String(i) });
    refusals.push(failure(410, "Expired"));
  }
  await clock.advance(60_000);
  assert.ok(watches.length < 25, `${watches.length} watches in a minute`);
  await stop();
});

Deno.test("startReflector forgets its failures when a watch has lived", async () => {
  const { clock, watches, refusals, stop } = start({
    streamingList: false,
    lists: [{ items: [], resourceVersion: "1" }],
  });
  await clock.advance(0);
  refusals.push(...Array.from({ length: 6 }, () => failure(503)));
  watches[0]?.events.send(failure(503));
  await clock.advance(60_000);
  assert.equal(watches.length, 8);
  watches[7]?.events.send(failure(503));
  await clock.advance(500);
  assert.equal(watches.length, 9, "the pause is the first one again");
  await stop();
});

Deno.test("startReflector is not driven hot by a server that ends each watch at once", async () => {
  const { clock, watches, stop } = start({ streamingList: false, lists: [{ items: [], resourceVersion: "1" }] });
  for (let second = 0; second < 60; second++) {
    watches.at(-1)?.events.send("end");
    await clock.advance(1000);
  }
  assert.ok(watches.length < 15, `${watches.length} watches in a minute`);
  await stop();
});

Deno.test("startReflector opens a watch that a proxy cuts now and then again at once, however often, without a line", async () => {
  const { reflector, clock, watches, log, stop } = start({
    streamingList: false,
    lists: [{ items: [], resourceVersion: "1" }],
  });
  await clock.advance(0);
  for (let count = 1; count <= 20; count++) {
    assert.equal(watches.length, count);
    assert.equal(reflector.isConnected, true);
    await clock.advance(35_000);
    const cut = { action: { verb: "watch", resource: "configmaps" }, server: "https://proxy" };
    watches.at(-1)?.events.send(answerError("cut", "the answer broke off", cut));
    await clock.advance(500);
  }
  assert.equal(reflector.isConnected, true);
  assert.deepEqual(log, []);
  await stop();
});

Deno.test("reflector.synced rejects when the signal comes first", async () => {
  const { reflector, clock, stop } = start();
  await clock.advance(0);
  const waiting = assert.rejects(reflector.synced, { name: "AbortError" });
  await stop();
  await waiting;
});

Deno.test("startReflector ends when it is stopped right after its list", async () => {
  const { reflector, stop } = start({ streamingList: false, lists: [{ items: [], resourceVersion: "1" }] });
  await reflector.synced;
  await stop();
});

Deno.test("startReflector stores what keep returns, and survives a throwing keep and onChange", async () => {
  const { reflector, clock, lists, log, stop } = start({
    streamingList: false,
    keep: (object) => {
      const { name = "" } = object.metadata ?? {};
      if (name === "bad") throw new Error("keep failed");
      return name === "drop" ? undefined : { metadata: { ...object.metadata } };
    },
    onChange: () => {
      throw new Error("change failed");
    },
    lists: [],
  });
  lists.push({
    items: [configMap("a", "1", { big: "x" }), configMap("drop", "2"), configMap("bad", "3")],
    resourceVersion: "5",
  });
  await clock.advance(1000);
  assert.deepEqual([...reflector.objects.values()], [{
    metadata: { namespace: "ns", name: "a", resourceVersion: "1" },
  }]);
  assert.ok(log.some((line) => line.includes("keep failed")) && log.some((line) => line.includes("change failed")));
  await stop();
});

Deno.test("reflector.merge adds what was dropped before, never an older or deleted object, also during a list", async () => {
  const wanted = new Set<string>();
  const { reflector, clock, lists, watches, changes, stop } = start({
    streamingList: true,
    keep: (object) => wanted.has(object.metadata?.name ?? "") ? object : undefined,
    lists: [],
  });
  await clock.advance(0);
  assert.equal(lists.length, 0);
  watches[0]?.events.send(added(configMap("a", "1")), added(configMap("b", "2")));
  await clock.advance(0);
  wanted.add("a");
  reflector.merge([configMap("a", "1")]);
  watches[0]?.events.send(bookmark("10", END_OF_LIST));
  await reflector.synced;
  assert.deepEqual([...reflector.objects.keys()], ["ns/a"], "merged during the list");
  wanted.add("b").add("c");
  watches[0]?.events.send(
    { type: "MODIFIED", object: configMap("b", "12") },
    { type: "DELETED", object: configMap("c", "13") },
  );
  await clock.advance(0);
  reflector.merge([configMap("b", "2"), configMap("c", "3")]);
  assert.deepEqual(changes, ["+ns/a@1", "+ns/b@12"]);
  reflector.merge([configMap("c", "14")]);
  assert.deepEqual(changes.at(-1), "+ns/c@14", "created again after the deletion");
  await stop();
});

interface StoreWorld {
  readonly store: ObjectStore<ConfigMap>;
  readonly changes: string[];
}

function objectStore(): StoreWorld {
  const changes: string[] = [];
  const store = new ObjectStore<ConfigMap>({
    keep: (object) => object,
    onChange: ({ key, before, after }) => {
      changes.push(`${key} ${before?.metadata?.resourceVersion}>${after?.metadata?.resourceVersion}`);
    },
    onFault: (error) => {
      throw error;
    },
  });
  return { store, changes };
}

Deno.test("ObjectStore.finishList takes a list whole that is older than what is stored, and then follows older versions", () => {
  const { store, changes } = objectStore();
  for (const object of [configMap("made", "40"), configMap("changed", "41"), configMap("gone", "7")]) store.set(object);
  store.remove(configMap("gone", "42"));
  changes.length = 0;
  store.startList();
  store.addListed(configMap("changed", "6"));
  store.addListed(configMap("gone", "7"));
  store.finishList("10");
  assert.deepEqual(changes, ["ns/made 40>undefined", "ns/changed 41>6", "ns/gone undefined>7"]);
  store.set(configMap("changed", "11"));
  store.remove(configMap("gone", "12"));
  store.merge([configMap("gone", "13")]);
  assert.deepEqual(changes.slice(3), ["ns/changed 6>11", "ns/gone 7>undefined", "ns/gone undefined>13"]);
});

Deno.test("ObjectStore.finishList keeps what was merged during the list, and tells nothing of what is the same", () => {
  const { store, changes } = objectStore();
  store.set(configMap("written", "3"));
  store.set(configMap("same", "4"));
  changes.length = 0;
  store.startList();
  store.addListed(configMap("same", "4"));
  store.merge([configMap("written", "12"), configMap("new", "13")]);
  store.addListed(configMap("written", "3"));
  store.finishList("10");
  assert.deepEqual(changes, ["ns/written 3>12", "ns/new undefined>13"]);
});

Deno.test("startReflector lists again when the server could not be reached: it may come back with an earlier state", async () => {
  const { reflector, clock, lists, watches, refusals, changes, stop } = start({
    streamingList: false,
    lists: [{ items: [configMap("kept", "30"), configMap("made", "31")], resourceVersion: "50" }],
  });
  await clock.advance(0);
  changes.length = 0;
  const away = { action: { verb: "watch", resource: "configmaps" }, server: "https://10.0.0.1:6443" };
  watches[0]?.events.send(answerError("cut", "the answer broke off", away));
  refusals.push(connectionError(new Error("ECONNREFUSED"), away));
  lists.push({ items: [configMap("kept", "20")], resourceVersion: "22" });
  await clock.advance(20_000);
  assert.deepEqual(changes, ["-ns/made@31", "~ns/kept@20"]);
  assert.equal(watches.at(-1)?.options.resourceVersion, "22");
  assert.equal(reflector.isConnected, true);
  await stop();
});

Deno.test("startReflector lists again when another request saw the server away while its own watch was only cut", async () => {
  const { clock, lists, watches, server, changes, stop } = start({
    streamingList: false,
    lists: [{ items: [configMap("kept", "30"), configMap("made", "31")], resourceVersion: "50" }],
  });
  await clock.advance(0);
  changes.length = 0;
  const away = { action: { verb: "watch", resource: "configmaps" }, server: "https://10.0.0.1:6443" };
  watches[0]?.events.send(answerError("cut", "the answer broke off", away));
  server.outages++;
  lists.push({ items: [configMap("kept", "20")], resourceVersion: "22" });
  await clock.advance(20_000);
  assert.deepEqual(changes, ["-ns/made@31", "~ns/kept@20"]);
  assert.equal(watches.at(-1)?.options.resourceVersion, "22");
  await stop();
});

const VERSION_TABLE = [
  { name: "equal", given: ["7", "7"], want: 0 },
  { name: "longer is newer", given: ["10", "9"], want: 1 },
  { name: "shorter is older", given: ["9", "10"], want: -1 },
  { name: "same length", given: ["18446744073709551615", "18446744073709551614"], want: 1 },
  { name: "opaque", given: ["abc", "abd"], want: 1 },
  { name: "missing", given: [undefined, "1"], want: 1 },
] as const;

for (const { name, given, want } of VERSION_TABLE) {
  Deno.test(`compareResourceVersions: ${name}`, () => {
    assert.equal(Math.sign(compareResourceVersions(given[0], given[1])), want);
  });
}
