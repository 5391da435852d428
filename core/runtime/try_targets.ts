// Tries addresses and ports from this machine: by a TCP connection, which is closed at once or asked by HTTP, or by an empty UDP packet, which
// is sent once more after half the time. Adapter.
import { createSocket, type Socket } from "node:dgram";
import { connect } from "node:net";
import { lookup } from "node:dns/promises";
import { ipFamilyOf } from "../shared/ip_ranges.ts";
import type { Clock } from "./clock.ts";
import { inParallel } from "./in_parallel.ts";
import { failureOutcome, type ProbeOutcome, type ProbeTarget } from "./probe_outcome.ts";

/** What {@linkcode tryTargets} takes. */
export interface TryOptions {
  readonly clock: Clock;
  /** Ends the probe with an AbortError. */
  readonly signal: AbortSignal;
  /** Milliseconds that one attempt has. @default {2000} */
  readonly timeoutMs?: number;
  /** Milliseconds after which no attempt begins. @default {30000} */
  readonly totalMs?: number;
  /** Asks each TCP port for this path by HTTP; absent: connecting is enough. */
  readonly httpPath?: string;
  /** Tries one target; for tests. */
  readonly tryTarget?: typeof tryTarget;
}

/**
 * Tries all targets, at most 32 at a time; the outcomes are in the order of the targets.
 * @throws {DOMException} "AbortError" once the signal is aborted
 */
export async function tryTargets(
  targets: readonly ProbeTarget[],
  options: TryOptions,
): Promise<readonly ProbeOutcome[]> {
  const { timeoutMs = TIMEOUT_MS, totalMs = TOTAL_MS, ...common } = options;
  const { clock, signal } = common;
  const attempt = options.tryTarget ?? tryTarget;
  const endMs = clock.monotonicMs() + totalMs;
  const outcomes = await inParallel(targets, MAX_AT_ONCE, async (target): Promise<ProbeOutcome> => {
    signal.throwIfAborted();
    const isTried = target.protocol !== "SCTP" && clock.monotonicMs() < endMs;
    return isTried ? await attempt(target, { ...common, timeoutMs }) : { state: "NotTried" };
  });
  signal.throwIfAborted();
  return outcomes;
}

/** What {@linkcode tryTarget} takes. */
export interface AttemptOptions extends Pick<TryOptions, "clock" | "signal" | "httpPath"> {
  readonly timeoutMs: number;
}

/** Tries one TCP or UDP port. Never throws; ends within the time, and at once when the signal is aborted. */
export function tryTarget(target: ProbeTarget, options: AttemptOptions): Promise<ProbeOutcome> {
  return target.protocol === "UDP" ? tryUdp(target, options) : tryTcp(target, options);
}

async function tryTcp({ address, port }: ProbeTarget, options: AttemptOptions): Promise<ProbeOutcome> {
  const { clock, httpPath } = options;
  let late: ProbeOutcome = { state: "TimedOut" };
  const outcome = await attempt(() => late, options, ({ end, startedMs }) => {
    const socket = connect({ host: address, port });
    const latency = (): Pick<ProbeOutcome, "latencyMs"> => ({ latencyMs: clock.monotonicMs() - startedMs });
    socket.once("connect", () => {
      if (httpPath === undefined) return end({ state: "Connected", ...latency() });
      late = { state: "NotHttp", ...latency() };
      const host = address.includes(":") ? `[${address}]` : address;
      let answer = "";
      socket.on("data", (part) => {
        answer = (answer + part.toString("latin1")).slice(0, STATUS_LINE_LENGTH);
        const status = /^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1];
        if (status !== undefined) end({ state: "Connected", ...latency(), httpStatus: Number(status) });
        else if (answer.length === STATUS_LINE_LENGTH) end(late);
      });
      socket.once("end", () => end(late));
      socket.write(`GET ${httpPath} HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: close\r\n\r\n`);
    });
    // A socket that is destroyed may still tell of an error.
    socket.on("error", (error) => end(failureOutcome(codeOf(error))));
    return () => socket.destroy();
  });
  // Bun calls every failure of a TCP connection "ECONNREFUSED"; whether there is a way at all is asked of the kernel then.
  return outcome.state === "Refused" && !await hasRoute({ address, port }, options) ? { state: "NoRoute" } : outcome;
}

/** Whether the kernel knows a way to an address. Connecting a UDP socket looks for one and sends nothing. */
async function hasRoute({ address, port }: Omit<ProbeTarget, "protocol">, options: AttemptOptions): Promise<boolean> {
  if (ipFamilyOf(address) === undefined) return true;
  const { state } = await attempt(() => ({ state: "Silent" }), options, ({ end }) => {
    const socket = udpSocket(address, end);
    socket.connect(port, address, (error?: unknown) => end(error === undefined ? { state: "Silent" } : noRoute(error)));
    return () => socket.close();
  });
  return state !== "NoRoute";
}

function udpSocket(ip: string, end: Attempt["end"]): Socket {
  const socket = createSocket(ipFamilyOf(ip) === "IPv6" ? "udp6" : "udp4");
  socket.on("error", (error) => end(failureOutcome(codeOf(error))));
  return socket;
}

/** A UDP socket is refused a connection for want of a way; not every runtime says the code. */
function noRoute(error: unknown): ProbeOutcome {
  const code = codeOf(error);
  return code === UNKNOWN_CODE ? { state: "NoRoute" } : failureOutcome(code);
}

async function tryUdp({ address, port }: ProbeTarget, options: AttemptOptions): Promise<ProbeOutcome> {
  let ip = address;
  if (ipFamilyOf(address) === undefined) {
    const found = await attempt(() => ({ state: "UnknownName" }), options, ({ end }) => {
      lookup(address).then((result) => {
        ip = result.address;
        end({ state: "Answered" });
      }, (error: unknown) => end(failureOutcome(codeOf(error))));
      return () => {};
    });
    if (found.state !== "Answered") return found;
  }
  return await attempt(() => ({ state: "Silent" }), options, ({ end, startedMs }) => {
    const socket = udpSocket(ip, end);
    const { clock, timeoutMs } = options;
    let sentMs = startedMs;
    let isClosed = false;
    let stopTimer = (): void => {};
    const send = (): void => {
      sentMs = clock.monotonicMs();
      socket.send(new Uint8Array(0), (error) => {
        if (error instanceof Error) end(failureOutcome(codeOf(error)));
      });
    };
    socket.on("message", () => end({ state: "Answered", latencyMs: clock.monotonicMs() - sentMs }));
    // Only a connected socket is told of an ICMP refusal.
    socket.connect(port, ip, (failure?: unknown) => {
      if (isClosed) return;
      if (failure !== undefined) return end(noRoute(failure));
      send();
      // The first packet may be lost while neighbours look for each other.
      stopTimer = clock.setTimer(send, timeoutMs / 2);
    });
    return () => {
      isClosed = true;
      stopTimer();
      socket.close();
    };
  });
}

interface Attempt {
  /** Takes the first outcome, forgets the others. */
  readonly end: (outcome: ProbeOutcome) => void;
  readonly startedMs: number;
}

/** Runs `start` until it ends, the time is over (then what `late` says holds) or the signal is aborted; what `start` returned closes it. */
function attempt(
  late: () => ProbeOutcome,
  { clock, signal, timeoutMs }: AttemptOptions,
  start: (attempt: Attempt) => () => void,
): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    let close: (() => void) | undefined;
    let isOver = false;
    const end = (outcome: ProbeOutcome): void => {
      if (isOver) return;
      isOver = true;
      stopTimer();
      signal.removeEventListener("abort", onAbort);
      close?.();
      resolve(outcome);
    };
    const onAbort = (): void => end({ state: "NotTried" });
    const stopTimer = clock.setTimer(() => end(late()), timeoutMs);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      close = start({ end, startedMs: clock.monotonicMs() });
      if (isOver) close();
    } catch (error) {
      end(failureOutcome(codeOf(error)));
    }
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : UNKNOWN_CODE;
}

const STATUS_LINE_LENGTH = "HTTP/1.1 200".length;
const UNKNOWN_CODE = "unknown";
const TIMEOUT_MS = 2_000;
const TOTAL_MS = 30_000;
const MAX_AT_ONCE = 32;
