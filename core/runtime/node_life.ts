// Which nodes have died, told from whether they answer a TCP connect: whom to ask when, how long each has been silent, and what follows. Pure:
// times are handed in, connects are made by ask_nodes.ts, and it never fails.
// Bounds: with 5 % of packets lost each way and 600 ms of round trip nine SYNs of one window (seven asks, and the kernel's second SYN of two of
// them) come early enough to be answered in it; all nine are lost once in 1.2 billion windows (0.0975^9), which is once in 39 years for each
// node. A node that was taken for dead by mistake is back with its next answer, a second later. The client's own SYN comes again after 1 and
// 3 s: a node that dies just after an answer is found dead within 2.8 s, plus what is added to the second between two asks while all answer.
import { nextTurn } from "./clock.ts";

/** A node that can be asked. */
export interface AskedNode {
  /** Its name. */
  readonly name: string;
  /** Its addresses; others than the first are tried only while the node has never answered. */
  readonly ips: readonly string[];
  /** The kubelet's port, as the Node says it. */
  readonly kubeletPort?: number;
}

/** One question: whether anything, even a refusal, comes back from there. */
export interface Ask {
  /** Name of the node. */
  readonly node: string;
  /** Where it is asked. */
  readonly ip: string;
  /** TCP port there. */
  readonly port: number;
  /** When it was asked. */
  readonly begunMs: number;
  /** Earlier asks of the node wait for their answer. */
  readonly again?: true;
}

/** A node that answered before, and does not any more. */
export interface SilentNode {
  readonly name: string;
  /** Where it was asked. */
  readonly ip: string;
  /** When the last ask that it answered began. */
  readonly sinceMs: number;
}

/** One thing worth telling. */
export interface LifeChange {
  /**
   * - `dead`: it has stopped answering;
   * - `back`: it answers again;
   * - `deaf`: it has not answered since it is asked, or it is there without answering, so that its silence means nothing;
   * - `heard`: it answers now, after it was told to be deaf.
   */
  readonly what: "dead" | "back" | "deaf" | "heard";
  readonly node: string;
  readonly ip: string;
  /** How long it had been silent, in milliseconds. */
  readonly silentMs: number;
}

/**
 * kube-proxy's port for health checks, asked before the kubelet's: it speaks plain HTTP, so that a connection that is reset leaves no line in
 * a log (the kubelet writes one for each), and a node without it refuses, which is an answer too.
 */
export const QUIET_PORT = 10_256;
const DEFAULT_KUBELET_PORT = 10_250;

/** From one ask of a node to the next while it answers, at the least; always so long while another node does not answer. */
const ASK_INTERVAL_MS = 1000;
/** Most nodes that are asked in a second; beyond, each is asked less often, in turn. */
const MAX_ASKS_A_SECOND = 32;
/** From one ask to the next when the first was not answered. */
const SUSPECT_INTERVAL_MS = 200;
/** Asks without an answer after which a node is dead, each {@linkcode SUSPECT_INTERVAL_MS} after the one before. */
const FATAL_TRIES = 9;
/** So many are no accident: whoever else was silent meanwhile has the same cause. */
const SUSPICIOUS_TRIES = 7;
/** Others must have been heard this long after a node fell silent. */
const WITNESS_MS = 500;
/** A timer that is this late says that this very program, or its machine, stood still; on a busy one timers are late by less. */
const LATE_MS = 3000;
/** A refusal that takes longer may be the kernel's, which looked for the neighbour in vain. */
const QUICK_MS = 1000;
/** Asks without an answer after which a node that never answered counts as deaf. */
const DEAF_TRIES = 10;
/** From one ask of a deaf node to the next. */
const DEAF_INTERVAL_MS = 30_000;

interface Way {
  readonly ip: string;
  readonly port: number;
}

interface Life {
  readonly node: AskedNode;
  readonly ways: readonly Way[];
  state: "unknown" | "deaf" | "alive" | "dead";
  /** Index of the way that answered last, or is tried first. */
  way: number;
  /** Asks since the last answer. */
  tries: number;
  /** When the first of them began. */
  firstTryMs: number;
  /** When the last ask that was answered began. */
  answeredMs: number;
  /** When a refusal came that is to be confirmed by another. */
  refusedMs: number;
  nextMs: number;
}

/** What {@linkcode NodeLife} takes. */
export interface NodeLifeOptions {
  /**
   * Milliseconds from one ask of a node to the next while all answer, at least 1000: what is beyond is added to the time in which a node
   * that dies is found.
   * @default {1000}
   */
  readonly calmIntervalMs?: number;
}

/** Judges nodes by their answers. */
export class NodeLife {
  readonly #calmIntervalMs: number;
  /** Whether nobody was waited for beyond a first ask when {@linkcode due} was called last. */
  #isCalm = false;
  #lives = new Map<string, Life>();
  #changes: LifeChange[] = [];
  /** When {@linkcode due} was to be called. */
  #expectedMs: number | undefined;
  #secondMs = -Infinity;
  #askedInSecond = 0;

  constructor({ calmIntervalMs = ASK_INTERVAL_MS }: NodeLifeOptions = {}) {
    this.#calmIntervalMs = calmIntervalMs;
  }

  /** Says which nodes are to be asked from now on; what is known of those that stay is kept. */
  replace(nodes: Iterable<AskedNode>, nowMs: number): void {
    const lives = new Map<string, Life>();
    for (const node of nodes) {
      const known = this.#lives.get(node.name);
      const ways = waysTo(node);
      if (ways.length === 0) continue;
      lives.set(node.name, known && sameWays(known.ways, ways) ? known : newLife(node, ways, nowMs));
    }
    this.#lives = lives;
  }

  /** Nodes that are dead now, by name. */
  get dead(): ReadonlyMap<string, SilentNode> {
    const dead = [...this.#lives.values()].filter(({ state }) => state === "dead");
    return new Map(dead.map((life) => [life.node.name, { name: life.node.name, ...silence(life) }]));
  }

  /** Names of nodes that have never answered. */
  get deaf(): readonly string[] {
    return [...this.#lives.values()].filter(({ state }) => state === "deaf").map(({ node }) => node.name);
  }

  /** What has happened since this was asked last. */
  takeChanges(): readonly LifeChange[] {
    return this.#changes.splice(0);
  }

  /** When {@linkcode due} has something to do; `undefined` if never. */
  nextMs(): number | undefined {
    let nextMs: number | undefined;
    for (const life of this.#lives.values()) if (!(life.nextMs >= (nextMs ?? Infinity))) nextMs = life.nextMs;
    this.#expectedMs = nextMs;
    return nextMs;
  }

  /** Judges, and returns whom to ask now. */
  due(nowMs: number): readonly Ask[] {
    // What was asked before may have been answered while nobody was there to hear it.
    if (this.#expectedMs !== undefined && nowMs - this.#expectedMs > LATE_MS) this.#restartSilences(nowMs);
    const asks: Ask[] = [];
    const due = [...this.#lives.values()].filter((life) => life.nextMs <= nowMs).sort((a, b) => a.nextMs - b.nextMs);
    for (const life of due) {
      if (this.#isFatal(life, nowMs)) this.#become(life, "dead", nowMs);
      if (life.state === "unknown" && life.tries >= DEAF_TRIES) this.#become(life, "deaf", nowMs);
      if (!isSuspect(life) && !this.#hasRoom(nowMs)) {
        life.nextMs = this.#secondMs + 1000;
        continue;
      }
      asks.push(this.#ask(life, nowMs));
    }
    this.#isCalm = [...this.#lives.values()].every(isCalm);
    if (!this.#isCalm) this.#hurry(nowMs);
    return asks;
  }

  /** Something came back for `ask`, however late. */
  answered(ask: Ask, nowMs: number): void {
    const life = this.#lives.get(ask.node);
    const way = life?.ways.findIndex(({ ip, port }) => ip === ask.ip && port === ask.port) ?? -1;
    if (life === undefined || way === -1) return;
    // All were silent together and one is heard again: it was this machine that was cut off, and the others are about to be heard, too.
    const wasCutOff = life.state === "alive" && life.tries >= SUSPICIOUS_TRIES && !this.#isWitnessed(life);
    if (life.state === "dead") this.#become(life, "back", nowMs);
    if (life.state === "deaf") this.#become(life, "heard", nowMs);
    life.state = "alive";
    life.way = way;
    life.tries = 0;
    life.answeredMs = Math.max(life.answeredMs, ask.begunMs);
    life.nextMs = this.#nextTurn(nowMs);
    if (wasCutOff) this.#restartSilences(nowMs);
  }

  /**
   * `ask` was refused, as far as the runtime knows: Bun calls every failure so, also that of finding a neighbour, which takes the kernel
   * 3 s. So it counts as an answer if none was late before, or if the next ask is refused as quickly.
   */
  refused(ask: Ask, nowMs: number): void {
    const life = this.#lives.get(ask.node);
    if (life === undefined || nowMs - ask.begunMs >= QUICK_MS) return;
    // At another address it may be the want of a route from here, which says nothing of the node.
    if (ask.ip !== life.ways[life.way]?.ip) return;
    const isConfirmed = ask.begunMs >= life.refusedMs && ask.begunMs - life.refusedMs < QUICK_MS;
    if (isConfirmed || (life.state === "alive" && life.tries === 1)) return this.answered(ask, nowMs);
    if (nowMs - life.refusedMs < QUICK_MS) return;
    life.way = life.ways.findIndex(({ ip, port }) => ip === ask.ip && port === ask.port);
    life.refusedMs = nowMs;
    life.nextMs = nowMs;
  }

  /** The node called `name` has shown otherwise that it is there: if it was dead, it can only not be heard from here any more. */
  excuse(name: string, nowMs: number): void {
    const life = this.#lives.get(name);
    if (life?.state !== "dead") return;
    this.#become(life, "deaf", nowMs);
    // It may have come back this moment, and be heard from with the next asks.
    life.tries = 0;
  }

  /** `ask` could not be asked, for want of a route or a socket here: it says nothing of the node. */
  failed(ask: Ask, nowMs: number): void {
    const life = this.#lives.get(ask.node);
    if (life === undefined || life.state === "dead") return;
    life.tries = 0;
    life.nextMs = this.#nextTurn(nowMs);
  }

  #ask(life: Life, nowMs: number): Ask {
    if (life.tries === 0) life.firstTryMs = nowMs;
    // The way that answered last and the others take turns: a firewall that closes one says nothing of the node.
    // Another address may have no route from here, which Bun calls a refusal: it is tried only while none has answered.
    const best = life.ways[life.way] as Way;
    const others = life.ways.filter((way) => way !== best && (!isHeard(life) || way.ip === best.ip));
    const isToBeConfirmed = nowMs - life.refusedMs < QUICK_MS;
    const way = isToBeConfirmed || life.tries % 2 === 0 ? best : others[(life.tries >> 1) % others.length] ?? best;
    const again = life.tries > 0 ? { again: true } as const : {};
    life.tries++;
    if (life.state === "deaf" && life.tries > DEAF_TRIES) life.nextMs = nowMs + DEAF_INTERVAL_MS;
    else life.nextMs = isWatched(life) ? nowMs + SUSPECT_INTERVAL_MS : this.#nextTurn(nowMs);
    return { node: life.node.name, ...way, begunMs: nowMs, ...again };
  }

  /** Whether `life`'s silence means that its node is dead. */
  #isFatal(life: Life, nowMs: number): boolean {
    // Nothing came since then, not even a refusal that was not confirmed.
    const silentMs = nowMs - Math.max(life.firstTryMs, life.refusedMs);
    return life.state === "alive" && life.tries >= FATAL_TRIES && silentMs >= FATAL_TRIES * SUSPECT_INTERVAL_MS &&
      this.#isWitnessed(life);
  }

  /** Whether somebody else was heard after `life` fell silent; also if there is nobody else. If not, it is this machine that is cut off. */
  #isWitnessed(life: Life): boolean {
    const others = [...this.#lives.values()].filter((one) => one !== life && one.state === "alive");
    return others.length === 0 || others.some((one) => one.answeredMs >= life.firstTryMs + WITNESS_MS);
  }

  #restartSilences(nowMs: number): void {
    for (const life of this.#lives.values()) {
      if (life.state !== "alive" || life.tries === 0) continue;
      life.tries = 0;
      life.nextMs = nowMs;
    }
  }

  /** Whoever answers is asked sooner while another one does not: it is the witness that only that one is silent. */
  #hurry(nowMs: number): void {
    const turnMs = this.#nextTurn(nowMs);
    for (const life of this.#lives.values()) {
      if (life.state === "alive" && life.tries === 0) life.nextMs = Math.min(life.nextMs, turnMs);
    }
  }

  /** Turns of all nodes are together, so that the program wakes up once for all. */
  #nextTurn(nowMs: number): number {
    const seconds = Math.ceil(this.#lives.size / MAX_ASKS_A_SECOND);
    const intervalMs = Math.max(this.#isCalm ? this.#calmIntervalMs : ASK_INTERVAL_MS, seconds * ASK_INTERVAL_MS);
    return nextTurn(nowMs, intervalMs);
  }

  #hasRoom(nowMs: number): boolean {
    if (nowMs - this.#secondMs >= 1000) {
      this.#secondMs = nowMs;
      this.#askedInSecond = 0;
    }
    return this.#askedInSecond++ < MAX_ASKS_A_SECOND;
  }

  #become(life: Life, what: LifeChange["what"], nowMs: number): void {
    life.state = what === "back" || what === "heard" ? "alive" : what;
    const { ip, sinceMs } = silence(life);
    this.#changes.push({ what, node: life.node.name, ip, silentMs: nowMs - sinceMs });
  }
}

function newLife(node: AskedNode, ways: readonly Way[], nowMs: number): Life {
  const times = { firstTryMs: nowMs, answeredMs: nowMs, refusedMs: -Infinity, nextMs: nowMs };
  return { node, ways, state: "unknown", way: 0, tries: 0, ...times };
}

function waysTo({ ips, kubeletPort = DEFAULT_KUBELET_PORT }: AskedNode): readonly Way[] {
  return ips.flatMap((ip) => [...new Set([QUIET_PORT, kubeletPort])].map((port) => ({ ip, port })));
}

function sameWays(a: readonly Way[], b: readonly Way[]): boolean {
  return a.length === b.length && a.every(({ ip, port }, index) => b[index]?.ip === ip && b[index]?.port === port);
}

function silence(life: Life): Pick<SilentNode, "ip" | "sinceMs"> {
  return { ip: life.ways[life.way]?.ip ?? "", sinceMs: life.answeredMs };
}

/** Whether it has ever answered. */
function isHeard({ state }: Life): boolean {
  return state === "alive" || state === "dead";
}

/** Whether an answer to the last ask is waited for shortly: its silence will be fatal soon. */
function isWatched({ state, tries }: Life): boolean {
  return state === "alive" && tries <= FATAL_TRIES;
}

/** Whether no answer of it is overdue, or none is expected. */
function isCalm({ state, tries }: Life): boolean {
  return state === "alive" ? tries <= 1 : state === "deaf" && tries > DEAF_TRIES;
}

/** Whether the next ask is one more of those that follow each other shortly. */
function isSuspect({ state, tries }: Life): boolean {
  return state === "alive" && tries > 0 && tries < FATAL_TRIES;
}
