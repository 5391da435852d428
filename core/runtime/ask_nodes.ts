// Asks nodes whether they are there: TCP connects to their addresses, ended by a reset as soon as they are answered. One timer for all; whom to
// ask when, and what silence means, is decided by node_life.ts.
import { Socket } from "node:net";
import type { Logger } from "../shared/log.ts";
import { type BunRuntime, bunRuntime } from "./bun.ts";
import type { Clock } from "./clock.ts";
import {
  type Ask,
  type AskedNode,
  type LifeChange,
  NodeLife,
  type NodeLifeOptions,
  type SilentNode,
} from "./node_life.ts";

/** How an ask ends: it was answered or refused, or could not be asked, for a reason of this machine. Silence has no end of its own. */
export type AskEnd = "answered" | "refused" | "failed";

/** Begins an ask; the returned function gives it up and is safe to call twice. */
export type BeginAsk = (ask: Ask, onEnd: (end: AskEnd) => void) => () => void;

/** What {@linkcode askNodes} takes. */
export interface AskNodesOptions extends NodeLifeOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends all asking. */
  readonly signal: AbortSignal;
  /** Told what has changed, one or more at a time. */
  readonly onChange: (changes: readonly LifeChange[]) => void;
  /** @default {askByTcp} */
  readonly beginAsk?: BeginAsk;
}

/** Asking that goes on. */
export interface NodeAsker {
  /** Says which nodes are to be asked from now on. */
  replace(nodes: readonly AskedNode[]): void;
  /** Says that a node is there, whether it answers or not. */
  excuse(name: string): void;
  /** Nodes that are dead now, by name. */
  readonly dead: ReadonlyMap<string, SilentNode>;
}

/** Asks nobody until {@linkcode NodeAsker.replace} names some. */
export function askNodes(options: AskNodesOptions): NodeAsker {
  return new Asking(options);
}

class Asking implements NodeAsker {
  readonly #options: AskNodesOptions;
  readonly #life: NodeLife;
  #dead: ReadonlyMap<string, SilentNode> = new Map();
  #cancelTimer: (() => void) | undefined;
  #timerMs = Infinity;
  /** Asks under way, the oldest first. */
  readonly #open = new Map<Ask, () => void>();
  #known = "";

  constructor(options: AskNodesOptions) {
    this.#options = options;
    this.#life = new NodeLife(options);
    options.signal.addEventListener("abort", () => this.#stop(), { once: true });
  }

  get dead(): ReadonlyMap<string, SilentNode> {
    return this.#dead;
  }

  replace(nodes: readonly AskedNode[]): void {
    const text = JSON.stringify(nodes);
    if (text === this.#known || this.#options.signal.aborted) return;
    this.#known = text;
    const names = new Set(nodes.map(({ name }) => name));
    for (const ask of this.#open.keys()) if (!names.has(ask.node)) this.#close(ask);
    this.#life.replace(nodes, this.#now());
    this.#settle();
  }

  excuse(name: string): void {
    this.#life.excuse(name, this.#now());
    this.#settle();
  }

  /** Timers come before what waits in sockets: on a busy machine answers are read first. */
  #wake(): void {
    if (this.#now() - this.#timerMs <= LATE_MS) return this.#turn();
    this.#cancelTimer = this.#options.clock.setTimer(() => this.#turn(), READING_MS);
  }

  #turn(): void {
    this.#timerMs = Infinity;
    const nowMs = this.#now();
    for (const ask of this.#open.keys()) if (nowMs - ask.begunMs >= PATIENCE_MS) this.#close(ask);
    for (const ask of this.#life.due(nowMs)) this.#begin(ask);
    this.#settle();
  }

  #begin(ask: Ask): void {
    const { beginAsk = askByTcp } = this.#options;
    const giveUp = beginAsk(ask, (end) => {
      this.#open.delete(ask);
      this.#life[end](ask, this.#now());
      this.#settle();
    });
    this.#open.set(ask, giveUp);
  }

  #close(ask: Ask): void {
    this.#open.get(ask)?.();
    this.#open.delete(ask);
  }

  /** Tells what happened, and winds the timer. */
  #settle(): void {
    const changes = this.#life.takeChanges();
    if (changes.length > 0 || this.#dead.size > 0) this.#dead = this.#life.dead;
    const nextMs = this.#life.nextMs() ?? Infinity;
    if (nextMs !== this.#timerMs) {
      this.#cancelTimer?.();
      this.#timerMs = nextMs;
      this.#cancelTimer = nextMs === Infinity
        ? undefined
        : this.#options.clock.setTimer(() => this.#wake(), Math.max(0, nextMs - this.#now()));
    }
    if (changes.length === 0) return;
    for (const change of changes) tell(this.#options.logger, change);
    this.#options.onChange(changes);
  }

  #stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (const ask of this.#open.keys()) this.#close(ask);
    this.#life.replace([], this.#now());
    this.#timerMs = Infinity;
  }

  #now(): number {
    return this.#options.clock.monotonicMs();
  }
}

const LATE_MS = 50;
const READING_MS = 20;

/** One line for what has happened to a node. */
function tell(logger: Logger, { what, node, ip, silentMs }: LifeChange): void {
  const facts = { node, ip, seconds: Math.round(silentMs / 100) / 10 };
  if (what === "dead") logger.warn("A node does not answer any more", facts);
  else if (what === "deaf") {
    logger.info("A node does not answer: whether it is there can't be told by asking", facts);
  } else logger.info("A node answers again", facts);
}

/** An ask's packet is sent again by the kernel after 1 s; whatever comes later than this helps nobody. */
const PATIENCE_MS = 3000;

/** Connects, and resets at once. */
export function askByTcp(ask: Ask, onEnd: (end: AskEnd) => void): () => void {
  const bun = bunRuntime();
  // What was given up lives on there until the kernel gives up, too: one for each node that dies, but not one a second.
  return bun === undefined || ask.again === true ? askByNode(ask, onEnd) : askByBun(bun, ask, onEnd);
}

function askByNode(ask: Ask, onEnd: (end: AskEnd) => void): () => void {
  const socket = new Socket();
  let isOver = false;
  const end = (how?: AskEnd): void => {
    if (isOver) return;
    isOver = true;
    socket.resetAndDestroy();
    if (how !== undefined) onEnd(how);
  };
  socket.once("connect", () => end("answered"));
  socket.on("error", (error) => end(endOf(error)));
  socket.connect({ host: ask.ip, port: ask.port });
  return () => end();
}

function askByBun(bun: BunRuntime, ask: Ask, onEnd: (end: AskEnd) => void): () => void {
  let isOver = false;
  const end = (how?: AskEnd): void => {
    if (isOver) return;
    isOver = true;
    if (how !== undefined) onEnd(how);
  };
  const socket = {
    open: (opened: { terminate(): void }) => {
      opened.terminate();
      end("answered");
    },
    data: () => {},
    connectError: (_: unknown, error: Error) => end(endOf(error)),
  };
  bun.connect({ hostname: ask.ip, port: ask.port, socket }).catch((error) => end(endOf(error)));
  return () => end();
}

/** No answer from there is silence; anything else is trouble here, and says nothing of the node. */
function endOf({ code = "" }: Error & { readonly code?: string }): AskEnd | undefined {
  return code === "ECONNREFUSED" ? "refused" : SILENCES.has(code) ? undefined : "failed";
}

/** The last two: nobody on the wire has the address, or a router or a firewall says so. */
const SILENCES: ReadonlySet<string> = new Set(["ETIMEDOUT", "EHOSTUNREACH", "EHOSTDOWN"]);
