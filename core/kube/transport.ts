// HTTP/1.1 to one API server through one keep-alive agent, with credentials that may change while the program runs.
// What the answers mean is client.ts's business; what failed connections mean is in connection_errors.ts.
import * as http from "node:http";
import * as https from "node:https";
import type { Clock } from "../runtime/clock.ts";
import { isAbort, isK3slbError, type K3slbError } from "../shared/errors.ts";
import type { ClusterAccess, Credentials } from "./cluster_access.ts";
import { answerError, connectionError, type ConnectionFailure, timeoutError } from "./connection_errors.ts";
import type { RequestAction } from "./errors.ts";
import { LineSplitter } from "./json_lines.ts";

/** One request. */
export interface TransportRequest {
  readonly method: string;
  /** Path with its query, such as `/api/v1/services?limit=1`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly action: RequestAction;
  /** Whether sending it twice is the same as sending it once. */
  readonly isIdempotent: boolean;
  /** Time until the answer must be complete; of a stream: until its headers are there. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** A complete answer. */
export interface TransportAnswer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** An answer whose body is read line by line. Not reading it to its end requires `return()` of the iterator (a `break` does it). */
export interface TransportStream {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly lines: AsyncIterable<string>;
}

/** What is told about each request, for metrics. */
export interface RequestObservation {
  readonly verb: string;
  readonly resource: string;
  /** HTTP status, or the error's code if there was no answer. */
  readonly result: string;
  readonly durationMs: number;
}

/** What {@linkcode createTransport} takes. */
export interface TransportOptions {
  readonly access: ClusterAccess;
  readonly clock: Clock;
  /** Value of the `User-Agent` header. */
  readonly userAgent: string;
  readonly onRequest?: (observation: RequestObservation) => void;
  /**
   * Time in milliseconds until a connection must stand.
   * @default {10000}
   */
  readonly connectTimeoutMs?: number;
  /**
   * Largest answer, and largest line of a stream, in bytes.
   * @default {268435456}
   */
  readonly maxAnswerBytes?: number;
}

/** Connections to one API server. */
export interface Transport {
  readonly server: string;
  /** Any HTTP status is an answer; what is retried is bounded and listed at {@linkcode createTransport}. */
  request(request: TransportRequest): Promise<TransportAnswer>;
  /** @param silenceMs A stream with no byte for this long is given up with code `kube-answer-silent`. */
  stream(request: TransportRequest, silenceMs: number): Promise<TransportStream>;
  /** Closes every connection. Safe to call twice. */
  close(): void;
}

/**
 * Connects to `options.access`, when the first request is made.
 *
 * Tried again, at most 4 times in all, with growing random delays or the server's `Retry-After`: answers 429 and 503 of any
 * method (the server has not acted on it), and lost connections of idempotent requests. A 401 is tried once more with
 * refreshed credentials.
 */
export function createTransport(options: TransportOptions): Transport {
  return new HttpTransport(options);
}

class HttpTransport implements Transport {
  readonly server: string;
  readonly #options: TransportOptions;
  readonly #url: URL;
  readonly #closing = new AbortController();
  #connected: { readonly agent: http.Agent; readonly credentials: Credentials } | undefined;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.server = options.access.server;
    this.#url = new URL(options.access.server);
  }

  request(request: TransportRequest): Promise<TransportAnswer> {
    return this.#withRetries(request, async (signal) => {
      const exchange = await this.#open(request, { signal, wholeAnswer: true });
      return { status: exchange.status, headers: exchange.headers, body: await exchange.text() };
    });
  }

  stream(request: TransportRequest, silenceMs: number): Promise<TransportStream> {
    return this.#withRetries(request, async (signal) => {
      const exchange = await this.#open(request, { signal, wholeAnswer: false });
      const { status, headers } = exchange;
      return { status, headers, lines: exchange.lines(silenceMs) };
    });
  }

  close(): void {
    this.#closing.abort();
    this.#connected?.agent.destroy();
    this.#connected = undefined;
  }

  async #withRetries<A extends { readonly status: number; readonly headers: http.IncomingHttpHeaders }>(
    request: TransportRequest,
    attempt: (signal: AbortSignal) => Promise<A>,
  ): Promise<A> {
    const { clock } = this.#options;
    let isRefreshed = false;
    for (let tries = 1;; tries++) {
      const startMs = clock.monotonicMs();
      const observe = (result: string): void =>
        this.#options.onRequest?.({
          verb: request.action.verb,
          resource: request.action.resource,
          result,
          durationMs: clock.monotonicMs() - startMs,
        });
      const signal = request.signal === undefined
        ? this.#closing.signal
        : AbortSignal.any([request.signal, this.#closing.signal]);
      signal.throwIfAborted();
      let delayMs: number;
      try {
        const answer = await attempt(signal);
        observe(String(answer.status));
        if (answer.status === 401 && !isRefreshed) {
          isRefreshed = true;
          await discard(answer);
          await this.#options.access.credentials({ refresh: true, signal });
          continue;
        }
        if ((answer.status !== 429 && answer.status !== 503) || tries >= MAX_TRIES) return answer;
        await discard(answer);
        delayMs = retryAfterMs(answer.headers) ?? this.#backoffMs(tries);
      } catch (error) {
        if (isAbort(error)) throw error;
        observe(isK3slbError(error) ? error.code : "error");
        if (!isRetriedFailure(error, request) || tries >= MAX_TRIES) throw error;
        delayMs = this.#backoffMs(tries);
      }
      await clock.sleep(delayMs, signal);
    }
  }

  #backoffMs(tries: number): number {
    return FIRST_BACKOFF_MS * 2 ** (tries - 1) * (0.5 + this.#options.clock.random());
  }

  async #open(
    request: TransportRequest,
    options: { readonly signal: AbortSignal; readonly wholeAnswer: boolean },
  ): Promise<Exchange> {
    const { access, userAgent, clock } = this.#options;
    const credentials = await access.credentials({ signal: options.signal });
    const { agent } = this.#connect(credentials);
    const body = request.body === undefined ? undefined : Buffer.from(request.body);
    const exchange = new Exchange({
      failure: {
        action: request.action,
        server: access.server,
        hasClientCertificate: credentials.certificate !== undefined,
      },
      connectTimeoutMs: this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      maxBytes: this.#options.maxAnswerBytes ?? MAX_ANSWER_BYTES,
      timeoutMs: request.timeoutMs,
      wholeAnswer: options.wholeAnswer,
      signal: options.signal,
      clock,
    });
    await exchange.start({
      isTls: this.#url.protocol === "https:",
      options: {
        agent,
        method: request.method,
        hostname: bareHost(this.#url.hostname),
        port: this.#url.port === "" ? (this.#url.protocol === "https:" ? 443 : 80) : Number(this.#url.port),
        path: `${this.#url.pathname.replace(/\/$/, "")}${request.path}`,
        headers: {
          accept: "application/json",
          "user-agent": userAgent,
          ...request.headers,
          ...(body === undefined ? {} : { "content-length": String(body.length) }),
          ...(credentials.authorization === undefined ? {} : { authorization: credentials.authorization }),
          ...impersonation(access),
        },
        ...this.#tlsOptions(credentials),
      },
      ...(body === undefined ? {} : { body }),
    });
    return exchange;
  }

  /** One agent per client certificate and CA; requests under way on a former one finish there. */
  #connect(credentials: Credentials): { readonly agent: http.Agent } {
    const connected = this.#connected;
    if (connected !== undefined && isSameIdentity(connected.credentials, credentials)) return connected;
    // What the former agent still carries goes on; its idle sockets are closed by its own time limit.
    const agent = this.#url.protocol === "https:"
      ? new https.Agent({ ...AGENT_OPTIONS, ...this.#tlsOptions(credentials) })
      : new http.Agent(AGENT_OPTIONS);
    this.#connected = { agent, credentials };
    return this.#connected;
  }

  /** Given to the agent and to each request: Bun reads the latter, Node and Deno either. */
  #tlsOptions(credentials: Credentials): TlsOptions {
    const { access } = this.#options;
    if (this.#url.protocol !== "https:") return {};
    return {
      ...(credentials.ca === undefined ? {} : { ca: credentials.ca }),
      ...(credentials.certificate === undefined ? {} : { cert: credentials.certificate }),
      ...(credentials.key === undefined ? {} : { key: credentials.key }),
      ...(access.tlsServerName === undefined ? {} : { servername: access.tlsServerName }),
      ...(access.insecureSkipTlsVerify ? { rejectUnauthorized: false } : {}),
    };
  }
}

interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  readonly rejectUnauthorized?: boolean;
}

interface ExchangeOptions {
  readonly failure: ConnectionFailure;
  readonly connectTimeoutMs: number;
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly wholeAnswer: boolean;
  readonly signal: AbortSignal;
  readonly clock: Clock;
}

interface ExchangeStart {
  readonly isTls: boolean;
  readonly options: https.RequestOptions;
  readonly body?: Buffer;
}

/** One request and its answer. Every way to fail ends in {@linkcode Exchange.#fail}, which destroys the socket. */
class Exchange {
  readonly #options: ExchangeOptions;
  #request: http.ClientRequest | undefined;
  #answer: http.IncomingMessage | undefined;
  #failure: Error | undefined;
  #cancelTimers: (() => void)[] = [];
  readonly #onAbort = (): void => this.#fail(abortReason(this.#options.signal));

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
    const { clock, connectTimeoutMs, timeoutMs, failure, signal } = this.#options;
    signal.throwIfAborted();
    signal.addEventListener("abort", this.#onAbort, { once: true });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const request = (start.isTls ? https : http).request(start.options);
    this.#request = request;
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
      socket.setNoDelay(true);
      // A peer that vanished is noticed below HTTP too; watches are silent for long.
      socket.setKeepAlive(true, TCP_KEEP_ALIVE_MS);
      if (CONNECTED_SOCKETS.has(socket)) return cancelConnect();
      const onConnect = (): void => {
        CONNECTED_SOCKETS.add(socket);
        cancelConnect();
      };
      const event = start.isTls ? "secureConnect" : "connect";
      socket.once(event, onConnect);
      // A socket serves many requests; their listeners must not pile up on it.
      this.#cancelTimers.push(() => socket.removeListener(event, onConnect));
    });
    signal.addEventListener("abort", () => reject(abortReason(signal)), { once: true });
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

  /** The body's lines as they come. */
  async *lines(silenceMs: number): AsyncGenerator<string, void, undefined> {
    const answer = this.#answer;
    if (answer === undefined) throw new TypeError("Exchange has not been started");
    const { clock, failure, maxBytes } = this.#options;
    const splitter = new LineSplitter(maxBytes);
    let lastByteMs = clock.monotonicMs();
    let isEnded = false;
    let cancelSilence: (() => void) | undefined;
    // One timer that looks at the time of the last byte, instead of one per chunk.
    const watchSilence = (delayMs: number): void => {
      cancelSilence = clock.setTimer(() => {
        const leftMs = lastByteMs + silenceMs - clock.monotonicMs();
        if (leftMs > 0) return watchSilence(leftMs);
        this.#fail(answerError("silent", `the stream has been silent for ${silenceMs / 1000} s`, failure));
      }, delayMs);
    };
    watchSilence(silenceMs);
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
    this.#options.signal.removeEventListener("abort", this.#onAbort);
  }
}

function isRetriedFailure(error: unknown, request: TransportRequest): boolean {
  return request.isIdempotent && isK3slbError(error) &&
    (error.code === "kube-unreachable" || error.code === "kube-answer-cut");
}

/** A stream's answer must be given up for its socket to be freed. */
async function discard(answer: object): Promise<void> {
  if (!("lines" in answer)) return;
  await (answer.lines as AsyncGenerator<string>).return(undefined);
}

function retryAfterMs(headers: http.IncomingHttpHeaders): number | undefined {
  const seconds = Number(headers["retry-after"]);
  return Number.isFinite(seconds) && seconds >= 0 && headers["retry-after"] !== undefined
    ? Math.min(seconds * 1000, MAX_RETRY_AFTER_MS)
    : undefined;
}

function isSameIdentity(a: Credentials, b: Credentials): boolean {
  return a.ca === b.ca && a.certificate === b.certificate && a.key === b.key;
}

function impersonation(access: ClusterAccess): Record<string, string | string[]> {
  const headers: Record<string, string[]> = {};
  for (const [name, value] of access.impersonationHeaders) (headers[name] ??= []).push(value);
  return headers;
}

/** `URL` keeps the brackets of an IPv6 host; sockets want it bare. */
function bareHost(hostname: string): string {
  return hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
}

function abortReason(signal: AbortSignal): Error {
  return isAbort(signal.reason) ? signal.reason : new DOMException("The operation was aborted", "AbortError");
}

/** Sockets whose handshake is done; a reused one says so no second time. */
const CONNECTED_SOCKETS = new WeakSet<object>();

const AGENT_OPTIONS = {
  keepAlive: true,
  maxSockets: 32,
  maxFreeSockets: 4,
  timeout: 60_000,
  scheduling: "lifo",
} as const;
const CONNECT_TIMEOUT_MS = 10_000;
const TCP_KEEP_ALIVE_MS = 30_000;
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
const MAX_TRIES = 4;
const FIRST_BACKOFF_MS = 200;
const MAX_RETRY_AFTER_MS = 10_000;
