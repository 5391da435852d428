// A program in a namespace that makes or takes load: `load_peer.ts serve PORT` or `load_peer.ts ask` (jobs as JSON lines on its input, one
// answer line for each). One thread, blocking calls: what is measured is the kernel's path, not an event loop.
import { createInterface } from "node:readline";
import process from "node:process";
import {
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
  /** A new connection for each request. */
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
    /** Sockets in use at once, for `udp`. */
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
const LAST_RESPONSE = new TextEncoder().encode("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
/** `GET /close` asks for the end of the connection. */
const CLOSE_LETTER = "c".charCodeAt(0);
const answer = new Uint8Array(4096);
const samples = new Float64Array(MAX_SAMPLES);

/** Does one operation; `false` if it failed. */
type Operation = () => boolean;

function load(job: Job & { readonly job: "load" }): LoadResult {
  const { operation, end } = prepare(job);
  let count = 0;
  let failed = 0;
  const startMs = performance.now();
  const endMs = startMs + job.durationMs;
  let nowMs = startMs;
  while (nowMs < endMs && count < MAX_SAMPLES) {
    const ok = operation();
    const afterMs = performance.now();
    if (ok) samples[count++] = (afterMs - nowMs) * 1000;
    else failed++;
    nowMs = afterMs;
  }
  end();
  const sorted = samples.subarray(0, count).sort();
  const at = (share: number): number => sorted[Math.min(count - 1, Math.floor(count * share))] ?? 0;
  const flows = job.flows ?? 1;
  return {
    perSecond: count * 1000 / (nowMs - startMs),
    p50us: at(0.5) * flows,
    p99us: at(0.99) * flows,
    count,
    failed,
  };
}

function prepare({ kind, target, flows = 1 }: Job & { readonly job: "load" }): {
  readonly operation: Operation;
  readonly end: () => void;
} {
  const address = socketAddress(target.ip, target.port);
  if (kind === "connect") return { operation: () => connectOnce(address, TIMEOUT_MS), end: () => {} };
  if (kind === "udp-new") {
    return {
      operation: () => {
        const fd = udpSocket(address, TIMEOUT_MS);
        const ok = exchange(fd, REQUEST, answer);
        closeSocket(fd);
        return ok;
      },
      end: () => {},
    };
  }
  if (kind === "keep-alive") {
    const fd = tcpSocket(TIMEOUT_MS);
    if (!connectSocket(fd, address)) throw new Error(`No connection to ${target.ip} port ${target.port}`);
    return { operation: () => exchange(fd, REQUEST, answer), end: () => closeSocket(fd) };
  }
  // All sockets have one datagram under way; each operation takes the oldest answer and sends the next one.
  const sockets = Array.from({ length: flows }, () => udpSocket(address, TIMEOUT_MS));
  for (const fd of sockets) sendBytes(fd, REQUEST);
  let next = 0;
  return {
    operation: () => {
      const fd = sockets[next] ?? 0;
      next = (next + 1) % flows;
      const ok = receive(fd, answer) > 0;
      return sendBytes(fd, REQUEST) && ok;
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
  else {
    const more = { bytes: RESPONSE, close: false };
    const last = { bytes: LAST_RESPONSE, close: true };
    serve(Number(port), (request) => request[5] === CLOSE_LETTER ? last : more, () => print("ready"));
  }
}
