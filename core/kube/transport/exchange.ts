// One HTTP request and its answer: time limits, size limits, lines, and every way in which it can break off.
// Which requests are made, with whose credentials and how often, is transport.ts's business; bytes are http_messages.ts's, sockets connections.ts's.
import { type Clock, nextTurn } from "../../runtime/clock.ts";
import { abortError, isK3slbError, type K3slbError } from "../../shared/errors.ts";
import { answerError, connectionError, type ConnectionFailure, timeoutError } from "./connection_errors.ts";
import type { Connection, ConnectionPool, ConnectionUser } from "./connections.ts";
import { AnswerReader, type HttpHead, type HttpRequest, renderRequest } from "./http_messages.ts";
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
  /** Where its connection comes from. */
  readonly pool: ConnectionPool;
}

/** One request and its answer. Whatever fails, the connection is ended. */
export class Exchange implements ConnectionUser {
  readonly #options: ExchangeOptions;
  readonly #answer = new AnswerReader();
  #request: Uint8Array = new Uint8Array();
  #connection: Connection | undefined;
  /** Of the body, not read yet. */
  #chunks: Uint8Array[] = [];
  #waitingBytes = 0;
  #failure: Error | undefined;
  #cancelTimers: (() => void)[] = [];
  #cancelConnect: () => void = () => {};
  #takeBack: () => void = () => {};
  /** Wakes whoever waits for what comes next. */
  #wake: () => void = () => {};
  readonly #onAbort = (): void => this.#giveUp(abortError());

  constructor(options: ExchangeOptions) {
    this.#options = options;
  }

  get status(): number {
    return this.#answer.head?.status ?? 0;
  }

  get headers(): HttpHead["headers"] {
    return this.#answer.head?.headers ?? {};
  }

  /** Sends the request and waits for the answer's headers. */
  async start(request: HttpRequest): Promise<void> {
    const { clock, connectTimeoutMs, timeoutMs, failure, signals, pool, wholeAnswer } = this.#options;
    for (const signal of signals) signal.throwIfAborted();
    // First of all, as it throws what is wrong with a key, a certificate or a header: nothing must be left behind then.
    try {
      this.#request = renderRequest(request);
      this.#takeBack = pool.lend(this);
    } catch (error) {
      throw connectionError(error, failure);
    }
    for (const signal of signals) signal.addEventListener("abort", this.#onAbort);
    const limit = (ms: number, phase: "connect" | "answer"): () => void =>
      clock.setTimer(() => this.#giveUp(timeoutError(phase, ms, failure)), ms);
    if (!this.#connection?.isConnected) this.#cancelConnect = limit(connectTimeoutMs, "connect");
    const cancelAnswer = limit(timeoutMs, "answer");
    this.#cancelTimers = [() => this.#cancelConnect(), cancelAnswer];
    while (this.#answer.head === undefined && this.#failure === undefined) await this.#next();
    if (this.#answer.head === undefined) {
      this.#finish();
      throw this.#failure;
    }
    if (!wholeAnswer) cancelAnswer();
  }

  take(connection: Connection): void {
    this.#connection = connection;
    if (connection.isConnected) this.connected();
  }

  /** Not a word, and no token, before the server has shown who it is. */
  connected(): void {
    this.#cancelConnect();
    this.#connection?.write(this.#request);
  }

  data(bytes: Uint8Array): void {
    const { failure, maxBytes, wholeAnswer } = this.#options;
    try {
      for (const chunk of this.#answer.push(bytes)) {
        this.#chunks.push(chunk);
        this.#waitingBytes += chunk.length;
      }
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return this.#giveUp(answerError("garbage", `the server does not answer in HTTP: ${error.message}`, failure));
    }
    if (this.#answer.isComplete) this.#letGo();
    else if (wholeAnswer) {
      if (this.#waitingBytes > maxBytes) return this.#giveUp(this.#tooLarge());
    } else if (this.#waitingBytes > READ_AHEAD_BYTES) this.#connection?.pause();
    this.#wake();
  }

  ended(error?: Error): void {
    const { failure } = this.#options;
    const said = error ?? new Error("the connection was closed");
    if (this.#answer.head === undefined) this.#failure ??= connectionError(said, failure);
    else if (error !== undefined || !this.#answer.end()) {
      this.#failure ??= answerError("cut", `the answer broke off (${said.message})`, failure);
    }
    this.#connection = undefined;
    this.#wake();
  }

  /** Gives the answer up without reading it. Safe to call twice. */
  cancel(): void {
    this.#finish();
    this.#drop();
  }

  /** The whole body. */
  async text(): Promise<string> {
    try {
      while (!this.#answer.isComplete && this.#failure === undefined) await this.#next();
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#waitingBytes > this.#options.maxBytes) throw this.#tooLarge();
      return Buffer.concat(this.#chunks, this.#waitingBytes).toString("utf8");
    } finally {
      this.#finish();
    }
  }

  /** The body's lines as they come. `silenceMs` is asked now and then, as it may change; `onCut` is told if they break off. */
  async *lines(silenceMs: () => number, onCut: () => void): AsyncGenerator<string, void, undefined> {
    const { clock, failure, maxBytes } = this.#options;
    const splitter = new LineSplitter(maxBytes);
    let lastByteMs = clock.monotonicMs();
    let cancelSilence: (() => void) | undefined;
    // One timer that looks at the time of the last byte, instead of one per chunk.
    const watchSilence = (leftMs: number): void => {
      cancelSilence = clock.setTimer(() => {
        const limitMs = silenceMs();
        const stillMs = lastByteMs + limitMs - clock.monotonicMs();
        if (stillMs > 0) return watchSilence(stillMs);
        this.#giveUp(answerError("silent", `the stream has been silent for ${limitMs / 1000} s`, failure));
      }, Math.min(leftMs, nextSilenceCheckMs(clock)));
    };
    watchSilence(silenceMs());
    try {
      while (true) {
        for (let chunk = this.#takeChunk(); chunk !== undefined; chunk = this.#takeChunk()) {
          lastByteMs = clock.monotonicMs();
          for (const line of splitter.push(chunk)) yield line;
        }
        if (this.#failure !== undefined) throw this.#failure;
        if (this.#answer.isComplete) break;
        await this.#next();
      }
      if (splitter.pendingBytes > 0) yield splitter.rest();
    } catch (error) {
      if (isK3slbError(error, "kube-answer-cut")) onCut();
      throw error instanceof RangeError ? this.#tooLarge() : error;
    } finally {
      cancelSilence?.();
      this.cancel();
    }
  }

  #takeChunk(): Uint8Array | undefined {
    const chunk = this.#chunks.shift();
    this.#waitingBytes -= chunk?.length ?? 0;
    if (this.#chunks.length === 0) this.#connection?.resume();
    return chunk;
  }

  /** Resolves when something has come or happened. */
  #next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    return promise;
  }

  #tooLarge(): K3slbError {
    const { maxBytes, failure } = this.#options;
    return answerError("too-large", `the answer is larger than ${maxBytes} bytes`, failure);
  }

  /** The first failure counts; what it causes downstream is not reported in its place. What has come is of no use then. */
  #giveUp(error: Error): void {
    this.#failure ??= error;
    this.#chunks = [];
    this.#waitingBytes = 0;
    this.#drop();
    this.#wake();
  }

  /** The answer is there: the next request may have its connection. */
  #letGo(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection === undefined) return;
    if (this.#answer.isConnectionKept) this.#options.pool.giveBack(connection);
    else connection.destroy();
  }

  #drop(): void {
    this.#takeBack();
    if (this.#connection === undefined) return;
    this.#connection.destroy();
    this.#connection = undefined;
    // Where one is half open so are those that were made with it: the next request must not wait on each of them in turn.
    if (this.#answer.head === undefined) this.#options.pool.dropIdle();
  }

  #finish(): void {
    for (const cancel of this.#cancelTimers) cancel();
    this.#cancelTimers = [];
    for (const signal of this.#options.signals) signal.removeEventListener("abort", this.#onAbort);
  }
}

/** Time until the next look. */
function nextSilenceCheckMs(clock: Clock): number {
  const nowMs = clock.monotonicMs();
  return nextTurn(nowMs, SILENCE_CHECK_MS) - nowMs;
}

/** A stream that is read more slowly than it comes is not taken further into memory than this. */
const READ_AHEAD_BYTES = 1024 * 1024;
const SILENCE_CHECK_MS = 30_000;
