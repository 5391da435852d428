// A program in a namespace that makes or takes load: `load_peer.ts serve PORT` or `load_peer.ts ask` (jobs as JSON lines on its input, one
// answer line for each). One thread, blocking calls: what is measured is the kernel's path, not an event loop.
import { createInterface } from "node:readline";
import process from "node:process";
import {
  beginConnection,
  closeSocket,
  connectSocket,
  exchange,
  receive,
  sendBytes,
  serve,
  sleepMicroseconds,
  socketAddress,
  tcpSocket,
  udpSocket,
  waitForSocket,
} from "./libc.ts";

/** Where load goes. */
export interface Target {
  readonly ip: string;
  readonly port: number;
}

/** How load is made. */
export type LoadKind =
  /** One request after the other on one connection. */
  | "keep-alive"
  /** A new connection for each request, `flows` under way at once. */
  | "connect"
  /** One datagram and its answer after the other, `flows` sockets at once. */
  | "udp"
  /** A new socket for each datagram. */
  | "udp-new";

/** One job of the client. */
export type Job =
  | {
    readonly job: "load";
    readonly kind: LoadKind;
    readonly target: Target;
    readonly durationMs: number;
    /** Sockets in use at once, for `udp` and `connect`. @default {1} */
    readonly flows?: number;
  }
  /** Tries each target about every millisecond until it has answered once. */
  | { readonly job: "wait"; readonly targets: readonly Target[]; readonly deadlineMs: number };

/** What a load job found. */
export interface LoadResult {
  readonly perSecond: number;
  /** Microseconds for one operation. */
  readonly p50us: number;
  readonly p99us: number;
  readonly count: number;
  readonly failed: number;
}

/** What a wait job found: milliseconds since 1970 of each target's first answer; `0` if there was none. */
export interface WaitResult {
  readonly answeredAtMs: readonly number[];
}

const TIMEOUT_MS = 3_000;
const MAX_SAMPLES = 400_000;
const REQUEST = new TextEncoder().encode("GET / HTTP/1.1\r\nHost: bench\r\n\r\n");
const RESPONSE = new TextEncoder().encode("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
const answer = new Uint8Array(4096);
const samples = new Float64Array(MAX_SAMPLES);

/** Does one operation at `nowMs`; when it had begun, or `undefined` if it failed. */
type Operation = (nowMs: number) => number | undefined;

function load(job: Job & { readonly job: "load" }): LoadResult {
  const { operation, end } = prepare(job);
  let count = 0;
  let failed = 0;
  const startMs = performance.now();
  const endMs = startMs + job.durationMs;
  let nowMs = startMs;
  while (nowMs < endMs && count < MAX_SAMPLES) {
    const begunMs = operation(nowMs);
    const afterMs = performance.now();
    if (begunMs === undefined) failed++;
    else samples[count++] = (afterMs - begunMs) * 1000;
    nowMs = afterMs;
  }
  end();
  const sorted = samples.subarray(0, count).sort();
  const at = (share: number): number => sorted[Math.min(count - 1, Math.floor(count * share))] ?? 0;
  return { perSecond: count * 1000 / (nowMs - startMs), p50us: at(0.5), p99us: at(0.99), count, failed };
}

function prepare({ kind, target, flows = 1 }: Job & { readonly job: "load" }): {
  readonly operation: Operation;
  readonly end: () => void;
} {
  const address = socketAddress(target.ip, target.port);
  const timed = (work: () => boolean): Operation => (nowMs) => work() ? nowMs : undefined;
  if (kind === "connect") {
    if (flows > 1) return connectRing(address, flows);
    return { operation: timed(() => connectOnce(address, TIMEOUT_MS)), end: () => {} };
  }
  if (kind === "udp") return udpRing(address, flows);
  if (kind === "udp-new") {
    const once = (): boolean => {
      const fd = udpSocket(address, TIMEOUT_MS);
      const ok = exchange(fd, REQUEST, answer);
      closeSocket(fd);
      return ok;
    };
    return { operation: timed(once), end: () => {} };
  }
  const fd = tcpSocket(TIMEOUT_MS);
  if (!connectSocket(fd, address)) throw new Error(`No connection to ${target.ip} port ${target.port}`);
  return { operation: timed(() => exchange(fd, REQUEST, answer)), end: () => closeSocket(fd) };
}

/** Every socket has one datagram under way; each operation takes the oldest answer and sends the next one. */
function udpRing(address: Uint8Array<ArrayBuffer>, flows: number): ReturnType<typeof prepare> {
  const sockets = Array.from({ length: flows }, () => udpSocket(address, TIMEOUT_MS));
  const begunMs = sockets.map((fd) => sendBytes(fd, REQUEST) ? performance.now() : 0);
  let at = 0;
  return {
    operation: (nowMs) => {
      const [fd = 0, begun] = [sockets[at], begunMs[at]];
      const ok = receive(fd, answer) > 0;
      begunMs[at] = nowMs;
      at = (at + 1) % flows;
      return sendBytes(fd, REQUEST) && ok ? begun : undefined;
    },
    end: () => sockets.forEach(closeSocket),
  };
}

/** Every socket is in a connection's life: begun, asked, answered; each operation ends the oldest one and begins the next. */
function connectRing(address: Uint8Array<ArrayBuffer>, flows: number): ReturnType<typeof prepare> {
  const sockets = Array.from({ length: flows }, () => beginConnection(address));
  const begunMs = sockets.map(() => performance.now());
  const half = Math.floor(flows / 2);
  const ask = (at: number): boolean => {
    const fd = sockets[at % flows] ?? 0;
    return waitForSocket(fd, "writable", TIMEOUT_MS) && sendBytes(fd, REQUEST);
  };
  const asked = sockets.map((_, at) => at < half && ask(at));
  let at = 0;
  return {
    operation: (nowMs) => {
      const [fd = 0, begun] = [sockets[at], begunMs[at]];
      const next = (at + half) % flows;
      asked[next] = ask(next);
      const ok = asked[at] === true && waitForSocket(fd, "readable", TIMEOUT_MS) && receive(fd, answer) > 0;
      closeSocket(fd);
      sockets[at] = beginConnection(address);
      begunMs[at] = nowMs;
      at = (at + 1) % flows;
      return ok ? begun : undefined;
    },
    end: () => sockets.forEach(closeSocket),
  };
}

function connectOnce(address: Uint8Array<ArrayBuffer>, timeoutMs: number): boolean {
  const fd = tcpSocket(timeoutMs);
  const ok = connectSocket(fd, address) && exchange(fd, REQUEST, answer);
  closeSocket(fd);
  return ok;
}

function wait({ targets, deadlineMs }: Job & { readonly job: "wait" }): WaitResult {
  const addresses = targets.map(({ ip, port }) => socketAddress(ip, port));
  const answeredAtMs = targets.map(() => 0);
  const endMs = performance.now() + deadlineMs;
  while (performance.now() < endMs && answeredAtMs.includes(0)) {
    addresses.forEach((address, i) => {
      if (answeredAtMs[i] === 0 && connectOnce(address, 250)) {
        answeredAtMs[i] = performance.timeOrigin + performance.now();
      }
    });
    sleepMicroseconds(1_000);
  }
  return { answeredAtMs };
}

async function ask(): Promise<void> {
  print("ready");
  for await (const line of createInterface({ input: process.stdin })) {
    const job = JSON.parse(line) as Job;
    try {
      print(JSON.stringify(job.job === "load" ? load(job) : wait(job)));
    } catch (error) {
      print(JSON.stringify({ error: error instanceof Error ? error.message : String(error) }));
    }
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

if (import.meta.main) {
  const [mode, port] = process.argv.slice(2);
  if (mode === "ask") await ask();
  else serve(Number(port), RESPONSE, () => print("ready"));
}
