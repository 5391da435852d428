import assert from "node:assert/strict";
import { createWorkQueue } from "../../../../core/runtime/work_queue.ts";
import { isK3slbError } from "../../../../core/shared/errors.ts";
import { createFakeClock } from "../../../support/fake_clock.ts";

Deno.test("queue.run handles each waiting key once, in order, and again what is added while it runs", async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue({ clock });
  const stop = new AbortController();
  const handled: string[] = [];
  for (const key of ["a", "b", "a", "c", "a"]) queue.add(key);
  assert.equal(queue.length, 3);
  const done = queue.run({
    signal: stop.signal,
    reconcile: async (key) => {
      handled.push(key);
      if (key === "b" && handled.length === 2) {
        queue.add("b");
        queue.add("b");
      }
      await clock.sleep(10);
    },
  });
  await clock.advance(100);
  assert.deepEqual(handled, ["a", "b", "c", "b"]);
  stop.abort();
  await done;
});

Deno.test("queue.run handles once what is added several times before its turn begins, whether or not a worker is free", async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue({ clock });
  const stop = new AbortController();
  const handled: string[] = [];
  const done = queue.run({
    signal: stop.signal,
    reconcile: (key) => {
      handled.push(key);
      return Promise.resolve();
    },
  });
  await clock.advance(10);
  queue.add("a");
  queue.add("a");
  queue.addAfter("a", 0);
  await clock.advance(10);
  assert.deepEqual(handled, ["a"]);
  stop.abort();
  await done;
});

Deno.test("queue.run never handles one key twice at a time, and different keys at once", async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue({ clock });
  const stop = new AbortController();
  const running = new Set<string>();
  let most = 0;
  const done = queue.run({
    signal: stop.signal,
    workers: 3,
    reconcile: async (key) => {
      assert.ok(!running.has(key));
      running.add(key);
      most = Math.max(most, running.size);
      await clock.sleep(10);
      running.delete(key);
    },
    onFailure: (_key, error) => assert.fail(String(error)),
  });
  for (let round = 0; round < 5; round++) {
    for (const key of ["a", "b", "c", "d"]) queue.add(key);
    await clock.advance(7);
  }
  await clock.advance(100);
  assert.equal(most, 3);
  stop.abort();
  await done;
});

Deno.test("queue.run puts a failed key back with growing delays, until it succeeds", async () => {
  const clock = createFakeClock(0, 1);
  const queue = createWorkQueue({ clock, firstBackoffMs: 100, maxBackoffMs: 500 });
  const stop = new AbortController();
  const timesMs: number[] = [];
  const failures: number[] = [];
  const done = queue.run({
    signal: stop.signal,
    reconcile: () => {
      timesMs.push(clock.monotonicMs());
      return timesMs.length < 6 ? Promise.reject(new Error("no")) : Promise.resolve();
    },
    onFailure: (_key, _error, count) => failures.push(count),
  });
  queue.add("a");
  await clock.advance(10_000);
  assert.deepEqual(timesMs, [0, 100, 300, 700, 1200, 1700]);
  assert.deepEqual(failures, [1, 2, 3, 4, 5]);
  assert.equal(queue.failures("a"), 0);
  stop.abort();
  await done;
});

Deno.test("queue.addAfter keeps the earliest time, and an add overtakes it", async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue({ clock });
  const stop = new AbortController();
  const timesMs: number[] = [];
  const done = queue.run({
    signal: stop.signal,
    reconcile: () => Promise.resolve(void timesMs.push(clock.monotonicMs())),
  });
  queue.addAfter("a", 500);
  queue.addAfter("a", 200);
  queue.addAfter("a", 900);
  await clock.advance(1000);
  queue.addAfter("a", 500);
  queue.add("a");
  await clock.advance(1000);
  assert.deepEqual(timesMs, [200, 1000]);
  stop.abort();
  await done;
});

Deno.test("queue.run waits for what is under way when it is stopped, and leaves no timer", async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue({ clock });
  const stop = new AbortController();
  let isFinished = false;
  const done = queue.run({
    signal: stop.signal,
    reconcile: async () => {
      await clock.sleep(50);
      isFinished = true;
    },
  });
  queue.add("a");
  queue.add("b");
  queue.addAfter("c", 10_000);
  await clock.advance(10);
  stop.abort();
  queue.add("d");
  await clock.advance(50);
  await done;
  assert.equal(isFinished, true);
  assert.equal(clock.timers, 0);
  assert.equal(queue.length, 0);
});

Deno.test("queue.run handles a key again after the delay that its work returns", async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue({ clock });
  const stop = new AbortController();
  let runs = 0;
  const done = queue.run({ signal: stop.signal, reconcile: () => Promise.resolve(++runs < 3 ? 100 : undefined) });
  queue.add("a");
  await clock.advance(1000);
  assert.equal(runs, 3);
  stop.abort();
  await done;
});

/** Handles `hung` keys that take 30 s and fail, and then `others`; the times at which the latter were done. */
async function timesBesideHung(hung: number, others: number, rounds = 1): Promise<readonly number[]> {
  const clock = createFakeClock(0, 1);
  const queue = createWorkQueue({ clock });
  const stop = new AbortController();
  const took: number[] = [];
  const addedMs = new Map<string, number>();
  const done = queue.run({
    signal: stop.signal,
    workers: 4,
    patienceMs: 2_000,
    reconcile: async (key) => {
      if (key.startsWith("hung")) {
        await clock.sleep(30_000);
        throw new Error("timeout");
      }
      await clock.sleep(50);
      took.push(clock.monotonicMs() - (addedMs.get(key) ?? 0));
    },
  });
  for (let i = 0; i < hung; i++) queue.add(`hung-${i}`);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < others; i++) {
      addedMs.set(`other-${i}`, clock.monotonicMs());
      queue.add(`other-${i}`);
    }
    for (let second = 0; second < 60; second++) await clock.advance(1_000);
  }
  stop.abort();
  await clock.advance(60_000);
  await done;
  assert.equal(took.length, others * rounds);
  assert.equal(clock.timers, 0);
  return took;
}

Deno.test("queue.run: ten keys whose work hangs for ever delay the others once, by the patience, and never again", async () => {
  const times = await timesBesideHung(10, 8, 5);
  assert.ok(Math.max(...times.slice(0, 8)) <= 3 * 2_000 + 100, String(times));
  assert.ok(Math.max(...times.slice(8)) <= 100, String(times));
});

/** A queue of keys `group/name`, and what became of its honest keys; keys of `evil` groups hang until they are given up while `hangs` says so. */
function queueBesideEvil(hangs: () => boolean): {
  readonly seen: { most: number; took: number[]; codes: Set<string> };
  add(key: string): void;
  seconds(count: number): Promise<void>;
  end(): Promise<void>;
} {
  const clock = createFakeClock(0, 1);
  const queue = createWorkQueue({ clock, groupOf: (key) => key.split("/", 1)[0] ?? "" });
  const stop = new AbortController();
  const addedMs = new Map<string, number>();
  const seen = { running: 0, most: 0, took: [] as number[], codes: new Set<string>() };
  const done = queue.run({
    signal: stop.signal,
    workers: 4,
    patienceMs: 2_000,
    reconcile: async (key, signal) => {
      seen.most = Math.max(seen.most, ++seen.running);
      try {
        await clock.sleep(key.startsWith("evil") && hangs() ? 30_000 : 50, signal);
        if (key.startsWith("evil") && hangs()) throw new Error("timeout");
      } finally {
        seen.running--;
      }
      if (key.startsWith("honest")) seen.took.push(clock.monotonicMs() - (addedMs.get(key) ?? 0));
    },
    onFailure: (_key, error) => seen.codes.add(isK3slbError(error) ? error.code : "timeout"),
  });
  return {
    seen,
    add: (key: string): void => {
      addedMs.set(key, clock.monotonicMs());
      queue.add(key);
    },
    seconds: async (count: number): Promise<void> => {
      for (let second = 0; second < count; second++) await clock.advance(1_000);
    },
    end: async (): Promise<void> => {
      stop.abort();
      await clock.advance(60_000);
      await done;
      assert.equal(clock.timers, 0);
    },
  };
}

Deno.test("queue.run: however many groups hang, no more are under way than connections bear, and each has its turn", async () => {
  const { seen, add, seconds, end } = queueBesideEvil(() => true);
  for (let i = 0; i < 200; i++) add(`evil-${i}/a`);
  await seconds(300);
  await end();
  assert.ok(seen.most <= 3 * (4 + 8), String(seen.most));
  assert.ok(seen.codes.has("kube-timeout"));
});

Deno.test("queue.run: two hundred groups that hang delay none that was quick before", async () => {
  const { seen, add, seconds, end } = queueBesideEvil(() => true);
  add("honest/a");
  await seconds(1);
  for (let i = 0; i < 200; i++) add(`evil-${i}/a`);
  for (let second = 0; second < 120; second++) {
    // Nothing is known of this key, but of its group.
    add(`honest/${second}`);
    await seconds(1);
  }
  await end();
  assert.equal(seen.took.length, 121);
  assert.ok(Math.max(...seen.took) <= 100, String(seen.took));
});

Deno.test("queue.run: groups that were quick and hang all at once delay others once, by little more than the patience", async () => {
  let hangs = false;
  const { seen, add, seconds, end } = queueBesideEvil(() => hangs);
  const evil = Array.from({ length: 16 }, (_, i) => `evil-${i}/a`);
  const delays: number[] = [];
  for (let turn = 0; turn < 4; turn++) {
    for (let second = 0; second < 60; second++) {
      // Who answers again for a while is not believed at once.
      hangs = second >= 30;
      if (second === 1 || second === 31) { for (const key of evil) add(key); }
      add("honest/a");
      await seconds(1);
    }
    delays.push(Math.max(...seen.took.splice(0)));
  }
  await end();
  const [first = Infinity, ...later] = delays;
  assert.ok(first <= 2_600, String(delays));
  assert.ok(Math.max(...later) <= 100, String(delays));
});

Deno.test("queue.run: two hundred new keys of one namespace that hang delay another namespace's by the patience at most", async () => {
  const clock = createFakeClock(0, 1);
  const queue = createWorkQueue({ clock, groupOf: (key) => key.split("/", 1)[0] ?? "" });
  const stop = new AbortController();
  const addedMs = new Map<string, number>();
  const took: number[] = [];
  const done = queue.run({
    signal: stop.signal,
    workers: 4,
    patienceMs: 2_000,
    reconcile: async (key) => {
      if (key.startsWith("evil/")) {
        await clock.sleep(30_000);
        throw new Error("timeout");
      }
      await clock.sleep(50);
      took.push(clock.monotonicMs() - (addedMs.get(key) ?? 0));
    },
  });
  for (let i = 0; i < 200; i++) queue.add(`evil/hung-${i}`);
  for (let second = 0; second < 60; second++) {
    // Each is new: nothing is known of it.
    for (const key of [`honest/${second}`, `evil/more-${second}`]) {
      addedMs.set(key, clock.monotonicMs());
      queue.add(key);
    }
    await clock.advance(1_000);
  }
  stop.abort();
  await clock.advance(60_000);
  await done;
  assert.equal(took.length, 60);
  assert.ok(Math.max(...took.slice(0, 2)) <= 2_000 + 100, String(took));
  assert.ok(Math.max(...took.slice(2)) <= 100, String(took));
});

Deno.test("queue.run: groups take turns, keys of one stay in order", async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue({ clock, groupOf: (key) => key.slice(0, 1) });
  const stop = new AbortController();
  const handled: string[] = [];
  for (const key of ["a1", "a2", "a3", "b1", "c1", "b2"]) queue.add(key);
  assert.equal(queue.length, 6);
  const done = queue.run({
    signal: stop.signal,
    reconcile: async (key) => {
      handled.push(key);
      await clock.sleep(10);
    },
  });
  await clock.advance(100);
  assert.deepEqual(handled, ["a1", "b1", "c1", "a2", "b2", "a3"]);
  assert.equal(queue.length, 0);
  stop.abort();
  await done;
});

Deno.test("queue.run: a key that was slow once does not wait for others that are, after it was quick", async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue({ clock });
  const stop = new AbortController();
  const handled: string[] = [];
  const done = queue.run({
    signal: stop.signal,
    patienceMs: 100,
    reconcile: async (key) => {
      handled.push(key);
      await clock.sleep(key === "slow" && handled.length === 1 ? 1_000 : 10);
    },
  });
  queue.add("slow");
  queue.add("other");
  await clock.advance(150);
  assert.deepEqual(handled, ["slow", "other"]);
  queue.add("slow");
  await clock.advance(2_000);
  for (const key of ["other", "slow"]) queue.add(key);
  await clock.advance(5);
  assert.deepEqual(handled, ["slow", "other", "slow", "other", "slow"]);
  stop.abort();
  await clock.advance(100);
  await done;
});

Deno.test("queue.run: a key that waits while its group becomes a quick one, and is added again, is handled once", async () => {
  const clock = createFakeClock();
  const queue = createWorkQueue({ clock, groupOf: (key) => key.split("/", 1)[0] ?? "" });
  const stop = new AbortController();
  const begun: string[] = [];
  const done = queue.run({
    signal: stop.signal,
    workers: 1,
    patienceMs: 2_000,
    reconcile: async (key) => {
      begun.push(key);
      await clock.sleep(50);
    },
  });
  for (const key of ["a/1", "b/1", "a/2"]) queue.add(key);
  await clock.advance(60);
  assert.deepEqual(begun, ["a/1", "b/1"]);
  queue.add("a/2");
  await clock.advance(200);
  assert.deepEqual(begun, ["a/1", "b/1", "a/2"]);
  stop.abort();
  await clock.advance(60);
  await done;
});
