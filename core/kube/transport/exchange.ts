// One HTTP request and its answer on a socket: time limits, size limits, lines, and every way in which it can break off.
// Which requests are made, with whose credentials and how often, is transport.ts's business.
import * as http from "node:http";
import * as https from "node:https";
import type { Clock } from "../../runtime/clock.ts";
import { abortError, isAbort, isK3slbError, type K3slbError } from "../../shared/errors.ts";
import { answerError, connectionError, type ConnectionFailure, timeoutError } from "./connection_errors.ts";
import { LineSplitter } from "./json_lines.ts";

/** What an {@linkcode Exchange} takes. */
export interface ExchangeOptions {
  readonly failure: ConnectionFailure;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly wholeAnswer: boolean;
  /** Any of them ends the exchange. Listeners are taken back at its end: the signals may live as long as the program. */
  readonly signals: readonly AbortSignal[];
  readonly clock: Clock;
}

/** What {@linkcode Exchange.start} sends. */
export interface ExchangeStart {
  readonly isTls: boolean;
  readonly options: https.RequestOptions;
  readonly body?: Buffer;
}

/** One request and its answer. Every way to fail ends in {@linkcode Exchange.#fail}, which destroys the socket. */
export class Exchange {
  readonly #options: ExchangeOptions;
  #request: http.ClientRequest | undefined;
  #answer: http.IncomingMessage | undefined;
  #failure: Error | undefined;
  #cancelTimers: (() => void)[] = [];
  #reject: (error: unknown) => void = () => {};
  readonly #onAbort = (): void => {
    this.#fail(abortError());
    this.#reject(this.#failure);
  };

  constructor(options: ExchangeOptions) {
    this.#options = options;
  }

  get status(): number {
    return this.#answer?.statusCode ?? 0;
  }

  get headers(): http.IncomingHttpHeaders {
    return this.#answer?.headers ?? {};
  }

  /** Sends the request and waits for the answer's headers. */
  async start(start: ExchangeStart): Promise<void> {
    const { clock, connectTimeoutMs, timeoutMs, failure, signals } = this.#options;
    for (const signal of signals) signal.throwIfAborted();
    // First of all, as it throws what is wrong with a key, a certificate or a header: nothing must be left behind then.
    const request = this.#open(start);
    this.#request = request;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#reject = reject;
    for (const signal of signals) signal.addEventListener("abort", this.#onAbort);
    request.on("response", (answer) => {
      this.#answer = answer;
      resolve();
    });
    request.on("error", (error) => {
      this.#fail(connectionError(error, failure));
      reject(this.#failure);
    });
    // A request that is destroyed may end without an "error" event on some runtimes.
    request.on("close", () => {
      if (this.#answer !== undefined) return;
      this.#fail(connectionError(new Error("connection closed before an answer"), failure));
      reject(this.#failure);
    });
    const cancelConnect = clock.setTimer(
      () => this.#failAnd(timeoutError("connect", connectTimeoutMs, failure), reject),
      connectTimeoutMs,
    );
    const cancelAnswer = clock.setTimer(
      () => this.#failAnd(timeoutError("answer", timeoutMs, failure), reject),
      timeoutMs,
    );
    this.#cancelTimers = [cancelConnect, cancelAnswer];
    request.on("socket", (socket) => {
      if (CONNECTED_SOCKETS.has(socket)) return cancelConnect();
      socket.setNoDelay(true);
      // A peer that vanished is noticed below HTTP too; watches are silent for long.
      socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
      const onConnect = (): void => {
        CONNECTED_SOCKETS.add(socket);
        cancelConnect();
      };
      const event = start.isTls ? "secureConnect" : "connect";
      socket.once(event, onConnect);
      // A socket serves many requests; their listeners must not pile up on it.
      this.#cancelTimers.push(() => socket.removeListener(event, onConnect));
    });
    request.end(start.body);
    try {
      await promise;
    } catch (error) {
      this.#finish();
      throw error;
    }
    cancelConnect();
    if (request.socket !== null) CONNECTED_SOCKETS.add(request.socket);
    if (!this.#options.wholeAnswer) cancelAnswer();
  }

  /** Gives the answer up without reading it. Safe to call twice. */
  cancel(): void {
    this.#finish();
    this.#request?.destroy();
  }

  /** The whole body. */
  async text(): Promise<string> {
    const answer = this.#answer;
    if (answer === undefined) throw new TypeError("Exchange has not been started");
    const chunks: Uint8Array[] = [];
    let size = 0;
    try {
      for await (const chunk of answer) {
        size += chunk.length;
        if (size > this.#options.maxBytes) throw this.#tooLarge();
        chunks.push(chunk);
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (!answer.complete) throw new Error("aborted");
      return Buffer.concat(chunks, size).toString("utf8");
    } catch (error) {
      throw this.#bodyFailure(error);
    } finally {
      this.#finish();
    }
  }

  /** The body's lines as they come. `silenceMs` is asked now and then, as it may change. */
  async *lines(silenceMs: () => number): AsyncGenerator<string, void, undefined> {
    const answer = this.#answer;
    if (answer === undefined) throw new TypeError("Exchange has not been started");
    const { clock, failure, maxBytes } = this.#options;
    const splitter = new LineSplitter(maxBytes);
    let lastByteMs = clock.monotonicMs();
    let isEnded = false;
    let cancelSilence: (() => void) | undefined;
    // One timer that looks at the time of the last byte, instead of one per chunk.
    const watchSilence = (leftMs: number): void => {
      cancelSilence = clock.setTimer(() => {
        const limitMs = silenceMs();
        const stillMs = lastByteMs + limitMs - clock.monotonicMs();
        if (stillMs > 0) return watchSilence(stillMs);
        this.#fail(answerError("silent", `the stream has been silent for ${limitMs / 1000} s`, failure));
      }, Math.min(leftMs, nextSilenceCheckMs(clock)));
    };
    watchSilence(silenceMs());
    try {
      for await (const chunk of answer) {
        lastByteMs = clock.monotonicMs();
        yield* splitter.push(chunk);
      }
      if (this.#failure !== undefined) throw this.#failure;
      if (!answer.complete) throw new Error("aborted");
      isEnded = true;
      if (splitter.pendingBytes > 0) yield splitter.rest();
    } catch (error) {
      if (error instanceof RangeError) throw this.#tooLarge();
      throw this.#bodyFailure(error);
    } finally {
      cancelSilence?.();
      this.#finish();
      if (!isEnded) this.#request?.destroy();
    }
  }

  #open({ isTls, options }: ExchangeStart): http.ClientRequest {
    try {
      return (isTls ? https : http).request(options);
    } catch (error) {
      throw connectionError(error, this.#options.failure);
    }
  }

  #bodyFailure(error: unknown): unknown {
    if (this.#failure !== undefined) return this.#failure;
    if (isK3slbError(error) || isAbort(error)) return error;
    const { failure } = this.#options;
    return answerError(
      "cut",
      `the answer broke off (${error instanceof Error ? error.message : String(error)})`,
      failure,
    );
  }

  #tooLarge(): K3slbError {
    const { maxBytes, failure } = this.#options;
    const error = answerError("too-large", `the answer is larger than ${maxBytes} bytes`, failure);
    this.#fail(error);
    return error;
  }

  #failAnd(error: Error, reject: (error: unknown) => void): void {
    this.#fail(error);
    reject(this.#failure);
  }

  /** The first failure counts; what it causes downstream is not reported in its place. */
  #fail(error: Error): void {
    this.#failure ??= error;
    this.#answer?.destroy();
    this.#request?.destroy();
  }

  #finish(): void {
    for (const cancel of this.#cancelTimers) cancel();
    this.#cancelTimers = [];
    for (const signal of this.#options.signals) signal.removeEventListener("abort", this.#onAbort);
  }
}

/** Sockets whose handshake is done; a reused one says so no second time. */
const CONNECTED_SOCKETS = new WeakSet<object>();

/** Time until the next look. All streams look at the same moments, so that an idle program wakes up once for all of them. */
function nextSilenceCheckMs(clock: Clock): number {
  const nowMs = clock.monotonicMs();
  // Timers may be a little early.
  return Math.ceil((nowMs + EARLY_MS) / SILENCE_CHECK_MS) * SILENCE_CHECK_MS - nowMs;
}

/** Time in milliseconds until the kernel asks a silent peer whether it is there. */
export const TCP_KEEP_ALIVE_MS = 30_000;
const SILENCE_CHECK_MS = 30_000;
const EARLY_MS = 1000;
