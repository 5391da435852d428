// A network that loses, delays and closes, in simulated time: who is found dead, when, and that nobody else is.
import { deepEqual, equal, ok } from "node:assert/strict";
import { randomFrom } from "../../../support/random.ts";
import { type Ask, type AskedNode, type LifeChange, NodeLife, QUIET_PORT } from "../../../../core/runtime/node_life.ts";

type Answer = "answered" | "refused" | "silent";

interface Network {
  /** What a node's kernel does with a connect, and how long each way takes. */
  readonly reply: (ask: Ask, nowMs: number) => Answer;
  readonly delayMs?: number;
  /** Probability with which a packet is lost. */
  readonly loss?: number;
  /** What whoever asks takes between asks while all answer. */
  readonly calmIntervalMs?: number;
}

class Simulation {
  readonly life: NodeLife;
  readonly changes: (LifeChange & { readonly atMs: number })[] = [];
  readonly asked: Ask[] = [];
  nowMs = 0;
  readonly #network: Network;
  readonly #random: () => number;
  #arrivals: { readonly atMs: number; readonly ask: Ask; readonly answer: Answer }[] = [];
  /** Until when this program stands still. */
  stalledUntilMs = 0;

  constructor(nodes: readonly AskedNode[], network: Network, seed = 1) {
    this.#network = network;
    this.life = new NodeLife(network);
    this.#random = randomFrom(seed);
    this.life.replace(nodes, 0);
  }

  runUntil(endMs: number): this {
    for (;;) {
      const timerMs = Math.max(this.life.nextMs() ?? Infinity, this.stalledUntilMs);
      const arrivalMs = Math.max(this.#arrivals[0]?.atMs ?? Infinity, this.stalledUntilMs);
      // As with ask_nodes.ts: what waits in sockets is read before a late timer is heeded.
      const nextMs = Math.min(timerMs, arrivalMs);
      if (nextMs > endMs) break;
      this.nowMs = Math.max(this.nowMs, nextMs);
      const isLate = this.stalledUntilMs > (this.life.nextMs() ?? Infinity);
      if (isLate ? timerMs < arrivalMs : timerMs <= arrivalMs) {
        for (const ask of this.life.due(this.nowMs)) this.#send(ask);
      } else this.#arrive();
      for (const change of this.life.takeChanges()) this.changes.push({ ...change, atMs: this.nowMs });
    }
    this.nowMs = endMs;
    return this;
  }

  get told(): readonly string[] {
    return this.changes.map(({ what, node }) => `${what} ${node}`);
  }

  get dead(): readonly string[] {
    return [...this.life.dead.keys()];
  }

  /** The kernel sends a SYN again after one second; answers are lost as easily. */
  #send(ask: Ask): void {
    this.asked.push(ask);
    const { reply, delayMs = 0, loss = 0 } = this.#network;
    for (const againMs of [0, 1000, 2000]) {
      if (this.#random() < loss || this.#random() < loss) continue;
      const thereMs = this.nowMs + againMs + delayMs;
      const answer = reply(ask, thereMs);
      if (answer === "silent") continue;
      this.#arrivals.push({ atMs: thereMs + delayMs, ask, answer });
      this.#arrivals.sort((a, b) => a.atMs - b.atMs);
      return;
    }
  }

  #arrive(): void {
    const arrival = this.#arrivals.shift();
    // Given up by then.
    if (arrival === undefined || this.nowMs - arrival.ask.begunMs >= 3000) return;
    if (arrival.answer !== "silent") this.life[arrival.answer](arrival.ask, this.nowMs);
  }
}

const MINUTES = 60_000;
/** Agents, and the server. */
const CALM_INTERVALS_MS = [1000, 2500];
const NODES = ["a", "b", "c"].map((name, index) => ({ name, ips: [`10.0.0.${index + 1}`], kubeletPort: 10_250 }));
const well = (): Answer => "answered";

/** Node c falls silent at `atMs`, until `untilMs`. */
function silentC(atMs: number, untilMs = Infinity, else_: Answer = "answered"): Network["reply"] {
  return ({ node }, nowMs) => node === "c" && nowMs >= atMs && nowMs < untilMs ? "silent" : else_;
}

Deno.test("a node that dies is found dead within 2.8 s, or as much later as asks are longer apart, whenever it dies and whatever its ports say before", () => {
  for (const calmIntervalMs of CALM_INTERVALS_MS) {
    for (const answer of ["answered", "refused"] as const) {
      for (let diedMs = 60_000; diedMs < 60_000 + calmIntervalMs; diedMs += 25) {
        const reply = silentC(diedMs, Infinity, answer);
        const run = new Simulation(NODES, { reply, calmIntervalMs }).runUntil(70_000);
        deepEqual(run.told, ["dead c"], `died at ${diedMs}`);
        const [dead] = run.changes;
        ok(dead && dead.atMs - diedMs <= 1800 + calmIntervalMs, `found after ${dead && dead.atMs - diedMs} ms`);
        deepEqual(run.dead, ["c"]);
      }
    }
  }
});

Deno.test("while all answer nodes are asked as seldom as whoever asks says; all each second while one does not", () => {
  const asksIn = (run: Simulation, fromMs: number, node: string): number =>
    run.asked.filter((ask) => ask.node === node && ask.begunMs >= fromMs && ask.begunMs < fromMs + MINUTES).length;
  const run = new Simulation(NODES, { reply: silentC(3 * MINUTES, 5 * MINUTES), calmIntervalMs: 2500 });
  run.runUntil(10 * MINUTES);
  deepEqual(run.told, ["dead c", "back c"]);
  deepEqual([MINUTES, 3.5 * MINUTES, 8 * MINUTES].map((fromMs) => asksIn(run, fromMs, "a")), [24, 60, 24]);
  equal(asksIn(run, 3.5 * MINUTES, "c"), 60);
  const deaf = new Simulation(NODES, { reply: silentC(0), calmIntervalMs: 2500 }).runUntil(10 * MINUTES);
  deepEqual(
    ["a", "c"].map((node) => asksIn(deaf, 8 * MINUTES, node)),
    [24, 2],
    "one that was never heard of hurries nobody",
  );
});

Deno.test("with 300 ms each way and 5 % of packets lost it takes little longer", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const diedMs = 60_000 + seed * 37;
    const calmIntervalMs = CALM_INTERVALS_MS[seed % 2] ?? 0;
    const network = { reply: silentC(diedMs), delayMs: 300, loss: 0.05, calmIntervalMs };
    const run = new Simulation(NODES, network, seed).runUntil(90_000);
    ok(run.told.includes("dead c"), `seed ${seed}: ${run.told.join()}`);
    deepEqual(run.dead, ["c"]);
  }
});

Deno.test("the first answer brings a node back, within a second", () => {
  for (const answer of ["answered", "refused"] as const) {
    const network = { reply: silentC(60_000, 600_000, answer), calmIntervalMs: 2500 };
    const run = new Simulation(NODES, network).runUntil(15 * MINUTES);
    deepEqual(run.told, ["dead c", "back c"]);
    const back = run.changes[1];
    ok(back && back.atMs - 600_000 <= 1000, `back after ${back && back.atMs - 600_000} ms`);
    ok(back.silentMs >= 540_000);
    deepEqual(run.dead, []);
  }
});

Deno.test("30 minutes with packets lost and delay take nothing out: 5 % and 300 ms each way, or 8 % and less", () => {
  for (const [delayMs, loss] of [[300, 0.05], [150, 0.08], [0, 0.08]] as const) {
    for (let seed = 1; seed <= 20; seed++) {
      for (const answer of ["answered", "refused"] as const) {
        const calmIntervalMs = CALM_INTERVALS_MS[seed % 2] ?? 0;
        const network = { reply: () => answer, delayMs, loss, calmIntervalMs };
        const run = new Simulation(NODES, network, seed).runUntil(30 * MINUTES);
        deepEqual(run.told, [], `seed ${seed}, ${delayMs} ms, ${loss}`);
      }
    }
  }
});

Deno.test("a kubelet that restarts, a frozen one, and a busy one take nothing out", () => {
  const restarting: Network["reply"] = ({ port }, nowMs) =>
    port === 10_250 && nowMs % MINUTES < 20_000 ? "refused" : "answered";
  // The kernel answers for a frozen program until as many connections wait as the program asked for; then its port is silent.
  const frozen: Network["reply"] = ({ port }, nowMs) => port === 10_250 && nowMs > 5 * MINUTES ? "silent" : "answered";
  const isSlow: Network["reply"] = (_, nowMs) => nowMs % 10_000 < 1500 ? "silent" : "answered";
  for (const reply of [restarting, frozen, isSlow]) {
    for (const calmIntervalMs of CALM_INTERVALS_MS) {
      deepEqual(new Simulation(NODES, { reply, calmIntervalMs }).runUntil(30 * MINUTES).told, []);
    }
  }
});

Deno.test("a firewall that closes one port while it is asked takes nothing out: another one answers", () => {
  for (const closed of [QUIET_PORT, 10_250]) {
    const reply: Network["reply"] = ({ port }, nowMs) => port === closed && nowMs > 5 * MINUTES ? "silent" : "answered";
    const run = new Simulation(NODES, { reply, loss: 0.05, calmIntervalMs: 2500 }).runUntil(30 * MINUTES);
    deepEqual(run.told, []);
    equal(run.asked.at(-1)?.port === closed, false, "asked where it answers");
  }
});

Deno.test("a node that never answers is told once, and never dead; asked seldom, and heard when it answers", () => {
  const run = new Simulation(NODES, { reply: silentC(0, 20 * MINUTES) }).runUntil(20 * MINUTES);
  deepEqual(run.told, ["deaf c"]);
  deepEqual(run.life.deaf, ["c"]);
  const late = run.asked.filter(({ node, begunMs }) => node === "c" && begunMs > 10 * MINUTES);
  ok(late.length >= 18 && late.length <= 22, `${late.length} asks in ten minutes`);
  deepEqual(new Set(late.map(({ port }) => port)), new Set([QUIET_PORT, 10_250]));
  run.runUntil(22 * MINUTES);
  deepEqual(run.told, ["deaf c", "heard c"]);
});

Deno.test("all silent at once: this machine is cut off, nothing is dead, and nothing is when it is heard again", () => {
  for (const cutMs of [1000, 1750, 2000, 2500, 2750, 3000, 5000, 60_000, 10 * MINUTES]) {
    for (let startMs = 60_000; startMs < 62_500; startMs += 125) {
      const reply: Network["reply"] = (_, nowMs) => nowMs >= startMs && nowMs < startMs + cutMs ? "silent" : "answered";
      for (const calmIntervalMs of CALM_INTERVALS_MS) {
        const run = new Simulation(NODES, { reply, delayMs: 5, calmIntervalMs }).runUntil(20 * MINUTES);
        deepEqual(run.told, [], `cut at ${startMs} for ${cutMs}`);
      }
    }
  }
});

Deno.test("cut off while one node is dead already: it stays dead, and the others are not", () => {
  const reply: Network["reply"] = ({ node }, nowMs) =>
    (node === "c" && nowMs > 60_000) || (nowMs > 120_000 && nowMs < 180_000) ? "silent" : "answered";
  const run = new Simulation(NODES, { reply }).runUntil(5 * MINUTES);
  deepEqual(run.told, ["dead c"]);
});

Deno.test("the only other node can die, too", () => {
  const run = new Simulation(NODES.slice(2), { reply: silentC(60_000) }).runUntil(2 * MINUTES);
  deepEqual(run.told, ["dead c"]);
});

Deno.test("a program that stands still takes nobody for dead when it goes on", () => {
  for (const stallMs of [900, 2000, 3000, 30_000]) {
    const run = new Simulation(NODES.slice(2), { reply: well, delayMs: 20, calmIntervalMs: 2500 });
    for (let atMs = 10_000; atMs < 10 * MINUTES; atMs += 40_123) {
      run.runUntil(atMs);
      run.stalledUntilMs = atMs + stallMs;
    }
    deepEqual(run.runUntil(11 * MINUTES).told, [], `${stallMs} ms`);
  }
});

Deno.test("what the kernel says when it finds no neighbour, which Bun calls a refusal, brings nobody back", () => {
  // Each look for a neighbour lasts 3 s and fails all that waits for it.
  let lookEndsMs = -Infinity;
  const run = new Simulation(NODES, { reply: silentC(60_000) });
  const waiting: Ask[] = [];
  for (let atMs = 60_000; atMs < 5 * MINUTES; atMs += 10) {
    const before = run.asked.length;
    run.runUntil(atMs);
    for (const ask of run.asked.slice(before)) {
      if (ask.node !== "c" || ask.begunMs < 68_000) continue;
      if (ask.begunMs >= lookEndsMs) lookEndsMs = ask.begunMs + 3070;
      waiting.push(ask);
    }
    if (atMs >= lookEndsMs) { for (const ask of waiting.splice(0)) run.life.refused(ask, atMs); }
  }
  deepEqual(run.told, ["dead c"]);
});

Deno.test("trouble of this machine says nothing of a node", () => {
  const run = new Simulation(NODES, { reply: silentC(60_000) });
  for (let atMs = 60_000; atMs < 5 * MINUTES; atMs += 500) {
    const before = run.asked.length;
    run.runUntil(atMs);
    for (const ask of run.asked.slice(before)) if (ask.node === "c") run.life.failed(ask, atMs);
  }
  deepEqual(run.told, []);
});

Deno.test("at most 32 nodes are asked in a second, each in its turn, and one of 100 that dies is found", () => {
  const many = Array.from({ length: 100 }, (_, index) => ({ name: `n${index}`, ips: [`10.0.1.${index}`] }));
  const reply: Network["reply"] = ({ node }, nowMs) => node === "n77" && nowMs > 60_000 ? "silent" : "answered";
  const run = new Simulation(many, { reply }).runUntil(60_000);
  for (let fromMs = 0; fromMs < 60_000; fromMs += 1000) {
    const asked = run.asked.filter(({ begunMs }) => begunMs >= fromMs && begunMs < fromMs + 1000);
    ok(asked.length <= 32, `${asked.length} in the second from ${fromMs}`);
  }
  for (const { name } of many) {
    const times = run.asked.filter(({ node }) => node === name).map(({ begunMs }) => begunMs);
    ok(times.length >= 14, `${name} was asked ${times.length} times`);
  }
  run.runUntil(70_000);
  deepEqual(run.told, ["dead n77"]);
});

Deno.test("nodes that stay keep what is known of them; those that go are forgotten", () => {
  const run = new Simulation(NODES, { reply: silentC(60_000) }).runUntil(70_000);
  run.life.replace(NODES.slice(1), run.nowMs);
  deepEqual(run.dead, ["c"]);
  run.life.replace(NODES.slice(0, 2), run.nowMs);
  deepEqual(run.dead, []);
  run.life.replace([], run.nowMs);
  equal(run.life.nextMs(), undefined);
});

Deno.test("other addresses of a node are tried while it never answered", () => {
  const node = { name: "d", ips: ["fd00::1", "10.0.0.4"] };
  const run = new Simulation([node], { reply: ({ ip }) => ip === "10.0.0.4" ? "answered" : "silent" });
  run.runUntil(MINUTES);
  deepEqual(run.told, []);
  equal(run.asked.at(-1)?.ip, "10.0.0.4");
});

Deno.test("an address without a route, which Bun calls refused at once, keeps no dead node alive", () => {
  const nodes = NODES.map((node, index) => ({ ...node, ips: [...node.ips, `fd00::${index}`] }));
  const reply: Network["reply"] = ({ node, ip }, nowMs) =>
    ip.includes(":") ? "refused" : node === "c" && nowMs > 60_000 ? "silent" : "answered";
  deepEqual(new Simulation(nodes, { reply }).runUntil(5 * MINUTES).told, ["dead c"]);
});

Deno.test("nor does it stand for the node's answer while that has not been heard, or was excused: the node can die later", () => {
  const nodes = NODES.map((node, index) => ({ ...node, ips: [...node.ips, `fd00::${index}`] }));
  for (const answer of ["answered", "refused"] as const) {
    for (let backMs = 64_000; backMs < 70_000; backMs += 50) {
      const silences = [[0, 5_000], [60_000, backMs], [120_000, Infinity]] as const;
      const reply: Network["reply"] = ({ node, ip }, nowMs) => {
        if (ip.includes(":")) return "refused";
        return node === "c" && silences.some(([from, to]) => nowMs >= from && nowMs < to) ? "silent" : answer;
      };
      const run = new Simulation(nodes, { reply }).runUntil(backMs - 1);
      deepEqual(run.told, ["dead c"], answer);
      run.life.excuse("c", run.nowMs);
      run.runUntil(5 * MINUTES);
      deepEqual(run.told, ["dead c", "deaf c", "heard c", "dead c"], `${answer}, back at ${backMs}`);
    }
  }
});

Deno.test("a node that was excused is asked each second for a while: it may have come back, and its first answers be lost", () => {
  for (const answer of ["answered", "refused"] as const) {
    for (let lostMs = 100; lostMs <= 8_000; lostMs += 100) {
      const run = new Simulation(NODES, { reply: silentC(60_000, 66_000 + lostMs, answer) }).runUntil(66_000);
      run.life.excuse("c", run.nowMs);
      run.runUntil(66_000 + lostMs + 2_000);
      deepEqual(run.told, ["dead c", "deaf c", "heard c"], `${answer}, first ones lost for ${lostMs} ms`);
    }
  }
  const run = new Simulation(NODES, { reply: silentC(60_000) }).runUntil(66_000);
  run.life.excuse("c", run.nowMs);
  run.runUntil(20 * MINUTES);
  deepEqual(run.told, ["dead c", "deaf c"]);
  const late = run.asked.filter(({ node, begunMs }) => node === "c" && begunMs > 10 * MINUTES);
  ok(late.length >= 18 && late.length <= 22, `${late.length} asks in ten minutes`);
});
