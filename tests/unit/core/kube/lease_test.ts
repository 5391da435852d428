import assert from "node:assert/strict";
import type { CallOptions } from "../../../../core/kube/contract.ts";
import { statusError } from "../../../../core/kube/errors.ts";
import { runLeaderElection } from "../../../../core/kube/lease.ts";
import type { Lease } from "../../../../core/kube/types.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { createFakeClock, type FakeClock } from "../../../support/fake_clock.ts";
import { scriptedClient } from "./_scripted_client.ts";

function failure(code: number, reason = ""): Error {
  return statusError({ code, reason }, { action: { verb: "update", resource: "leases" }, httpStatus: code });
}

/** One Lease with the server's version check; candidates can be cut off from it. */
class LeaseServer {
  lease: Lease | undefined;
  writes = 0;
  readonly cutOff = new Set<string>();
  /** Who gets no answer to a write, although it arrives. */
  readonly unheard = new Set<string>();
  /** Before each answer, also of a refusal. */
  wait: () => Promise<void> = () => Promise.resolve();
  #version = 0;

  /** As a restore of etcd does. */
  turnBack(lease: Lease | undefined): void {
    this.lease = lease;
    this.#version = 1;
  }

  client(identity: string): ReturnType<typeof scriptedClient> {
    const reach = async (): Promise<void> => {
      await this.wait();
      if (this.cutOff.has(identity)) throw failure(503);
    };
    const store = (lease: Lease): Lease => {
      this.writes++;
      this.lease = { ...lease, metadata: { ...lease.metadata, uid: "u", resourceVersion: String(++this.#version) } };
      return this.lease;
    };
    const answer = (lease: Lease, signal?: AbortSignal): Promise<Lease> => {
      const written = store(lease);
      if (!this.unheard.has(identity)) return Promise.resolve(written);
      return new Promise((_resolve, reject) =>
        signal?.addEventListener("abort", () => reject(new DOMException("stop", "AbortError")))
      );
    };
    return scriptedClient({
      get: async () => {
        await reach();
        if (this.lease === undefined) throw failure(404, "NotFound");
        return this.lease;
      },
      create: async (_type: unknown, lease: Lease, { signal }: CallOptions) => {
        await reach();
        if (this.lease !== undefined) throw failure(409, "AlreadyExists");
        return await answer(lease, signal);
      },
      update: async (_type: unknown, lease: Lease, { signal }: CallOptions) => {
        await reach();
        if (lease.metadata?.resourceVersion !== this.lease?.metadata?.resourceVersion) throw failure(409, "Conflict");
        return await answer(lease, signal);
      },
    });
  }
}

interface Participant {
  readonly identity: string;
  readonly stop: AbortController;
  readonly done: Promise<void>;
  isLeading: boolean;
  terms: number;
  readonly holders: string[];
}

function join(server: LeaseServer, clock: FakeClock, identity: string): Participant {
  const stop = new AbortController();
  const participant = { identity, stop, isLeading: false, terms: 0, holders: [] as string[] };
  const done = runLeaderElection({
    client: server.client(identity),
    namespace: "kube-system",
    name: "k3slb-server",
    identity,
    clock,
    logger: SILENT_LOGGER,
    signal: stop.signal,
    onLeader: (holder) => participant.holders.push(holder),
    lead: async (signal) => {
      participant.isLeading = true;
      participant.terms++;
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      participant.isLeading = false;
    },
  });
  return Object.assign(participant, { done });
}

async function stopAll(clock: FakeClock, ...participants: readonly Participant[]): Promise<void> {
  for (const { stop } of participants) stop.abort();
  await clock.advance(0);
  await Promise.all(participants.map(({ done }) => done));
  assert.equal(clock.timers, 0, "no timer is left");
}

Deno.test("runLeaderElection has one leader, who renews; the next one leads at once after a release", async () => {
  const clock = createFakeClock();
  await clock.advance(1234);
  const server = new LeaseServer();
  const a = join(server, clock, "a");
  await clock.advance(100);
  const b = join(server, clock, "b");
  await clock.advance(60_000);
  assert.deepEqual([a.isLeading, b.isLeading, a.terms], [true, false, 1]);
  assert.ok(server.writes >= 8 && server.writes <= 10, "renewed every 7.5 s");
  assert.equal(server.lease?.spec?.leaseDurationSeconds, 15);
  assert.equal(server.lease?.spec?.renewTime, "2026-11-23T00:01:00.000000Z", "together with what else is periodic");
  a.stop.abort();
  await clock.advance(0);
  assert.equal(a.isLeading, false);
  assert.equal(server.lease?.spec?.holderIdentity, "");
  await clock.advance(3000);
  assert.equal(b.isLeading, true);
  assert.equal(server.lease?.spec?.leaseTransitions, 1);
  assert.deepEqual(b.holders, ["a", "b"]);
  await stopAll(clock, a, b);
});

Deno.test("runLeaderElection releases a lease whose last renewal arrived without an answer", async () => {
  const clock = createFakeClock();
  const server = new LeaseServer();
  const a = join(server, clock, "a");
  await clock.advance(10_000);
  const { lease } = server;
  assert.equal(lease?.spec?.holderIdentity, "a");
  // What the server has when the answer to a renewal is lost.
  server.lease = { ...lease, metadata: { ...lease?.metadata, resourceVersion: "unheard" } };
  a.stop.abort();
  await clock.advance(0);
  await a.done;
  assert.equal(server.lease?.spec?.holderIdentity, "");
});

for (const was of ["held", "missing"] as const) {
  Deno.test(`runLeaderElection starts a new term when a restore brings back a state in which the lease was ${was}`, async () => {
    const clock = createFakeClock();
    const server = new LeaseServer();
    const a = join(server, clock, "a");
    await clock.advance(100);
    const early = server.lease;
    await clock.advance(60_000);
    assert.equal(a.terms, 1);
    server.turnBack(was === "held" ? early : undefined);
    await clock.advance(12_000);
    assert.deepEqual([a.isLeading, a.terms, server.lease?.spec?.holderIdentity], [true, 2, "a"]);
    await clock.advance(60_000);
    assert.equal(a.terms, 2);
    await stopAll(clock, a);
  });
}

for (const isNew of [true, false]) {
  Deno.test(`runLeaderElection releases a lease that it ${isNew ? "made" : "took"} while it was stopped`, async () => {
    const clock = createFakeClock();
    const server = new LeaseServer();
    if (!isNew) {
      const former = join(server, clock, "former");
      await clock.advance(100);
      await stopAll(clock, former);
    }
    server.unheard.add("a");
    const a = join(server, clock, "a");
    await clock.advance(100);
    assert.deepEqual([server.lease?.spec?.holderIdentity, a.isLeading], ["a", false]);
    a.stop.abort();
    server.unheard.clear();
    await stopAll(clock, a);
    assert.equal(server.lease?.spec?.holderIdentity, "");
    assert.equal(a.terms, 0);
  });
}

Deno.test("runLeaderElection ends soon although the server does not answer", async () => {
  const clock = createFakeClock();
  const server = new LeaseServer();
  const a = join(server, clock, "a");
  await clock.advance(1000);
  assert.equal(a.isLeading, true);
  server.unheard.add("a");
  a.stop.abort();
  await clock.advance(5000);
  await a.done;
  assert.equal(clock.timers, 0);
});

Deno.test("runLeaderElection leaves the lease to another process that took it", async () => {
  const clock = createFakeClock();
  const server = new LeaseServer();
  const a = join(server, clock, "a");
  await clock.advance(10_000);
  const { lease } = server;
  server.lease = {
    ...lease,
    metadata: { ...lease?.metadata, resourceVersion: "taken" },
    spec: { ...lease?.spec, holderIdentity: "b" },
  };
  a.stop.abort();
  await clock.advance(0);
  await a.done;
  assert.equal(server.lease?.spec?.holderIdentity, "b");
});

Deno.test("runLeaderElection takes over within 20 s of a death, and never while the leader still leads", async () => {
  const clock = createFakeClock();
  const server = new LeaseServer();
  const a = join(server, clock, "a");
  await clock.advance(0);
  const b = join(server, clock, "b");
  await clock.advance(31_700);
  server.cutOff.add("a");
  const cutMs = clock.monotonicMs();
  while (!b.isLeading && clock.monotonicMs() - cutMs < 60_000) {
    await clock.advance(100);
    assert.ok(!(a.isLeading && b.isLeading), "two leaders");
  }
  assert.ok(clock.monotonicMs() - cutMs <= 20_000, `${clock.monotonicMs() - cutMs} ms`);
  assert.equal(a.isLeading, false);
  server.cutOff.delete("a");
  await clock.advance(10_000);
  assert.deepEqual([a.isLeading, b.isLeading], [false, true]);
  await stopAll(clock, a, b);
});

Deno.test("runLeaderElection survives a short outage of the server without losing leadership", async () => {
  const clock = createFakeClock();
  const server = new LeaseServer();
  const a = join(server, clock, "a");
  await clock.advance(5000);
  server.cutOff.add("a");
  await clock.advance(6000);
  server.cutOff.delete("a");
  await clock.advance(30_000);
  assert.deepEqual([a.isLeading, a.terms], [true, 1]);
  await stopAll(clock, a);
});

for (const tookMs of [0, 300, 1400, 1470]) {
  Deno.test(`runLeaderElection gives up 12.5 s after the last renewal, when failures take ${tookMs} ms`, async () => {
    const clock = createFakeClock();
    const server = new LeaseServer();
    const a = join(server, clock, "a");
    await clock.advance(7500);
    server.cutOff.add("a");
    server.wait = () => clock.sleep(tookMs);
    await clock.advance(12_400);
    assert.equal(a.isLeading, true);
    await clock.advance(100);
    assert.equal(a.isLeading, false, "others may lead 15 s after it");
    await clock.advance(2000);
    a.stop.abort();
    await clock.advance(10_000);
    await a.done;
  });
}

for (const [firstMs, laterMs] of [[8000, 0], [4900, 4900]] as const) {
  Deno.test(`runLeaderElection leads on although the Lease takes ${firstMs} ms to make and ${laterMs} to renew`, async () => {
    const clock = createFakeClock();
    await clock.advance(7400);
    const server = new LeaseServer();
    server.wait = () => clock.sleep(server.lease === undefined ? firstMs / 2 : laterMs);
    const a = join(server, clock, "a");
    await clock.advance(120_000);
    assert.deepEqual([a.isLeading, a.terms], [true, 1]);
    a.stop.abort();
    await clock.advance(20_000);
    await a.done;
  });
}

Deno.test("runLeaderElection leads again after it lost leadership and nobody else wants it", async () => {
  const clock = createFakeClock();
  const server = new LeaseServer();
  const a = join(server, clock, "a");
  await clock.advance(5000);
  server.cutOff.add("a");
  await clock.advance(30_000);
  assert.equal(a.isLeading, false);
  server.cutOff.delete("a");
  await clock.advance(20_000);
  assert.deepEqual([a.isLeading, a.terms], [true, 2]);
  await stopAll(clock, a);
});

Deno.test("runLeaderElection does not trust the holder's clock: a record that changes is alive", async () => {
  const clock = createFakeClock();
  const server = new LeaseServer();
  const far = join(server, createFakeClock(0), "far");
  await clock.advance(0);
  assert.equal(server.lease?.spec?.renewTime?.slice(0, 4), "1970");
  const near = join(server, clock, "near");
  await clock.advance(10_000);
  assert.equal(near.isLeading, false, "the old time in the record means nothing");
  await clock.advance(10_000);
  assert.equal(near.isLeading, true, "the record did not change for the lease's duration");
  near.stop.abort();
  far.stop.abort();
  await clock.advance(0);
  await Promise.all([near.done, far.done]);
});

Deno.test("runLeaderElection throws what lead throws and releases the lease", async () => {
  const clock = createFakeClock();
  const server = new LeaseServer();
  const failed = assert.rejects(
    runLeaderElection({
      client: server.client("a"),
      namespace: "ns",
      name: "l",
      identity: "a",
      clock,
      logger: SILENT_LOGGER,
      signal: new AbortController().signal,
      lead: () => Promise.reject(new Error("broken")),
    }),
    /broken/,
  );
  await clock.advance(0);
  await failed;
  assert.equal(server.lease?.spec?.holderIdentity, "");
  assert.equal(clock.timers, 0);
});
