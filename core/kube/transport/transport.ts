// HTTP/1.1 to one API server over kept-alive connections, with credentials that may change while the program runs.
// What the answers mean is client.ts's business; what failed connections mean is in connection_errors.ts.
import type { Clock } from "../../runtime/clock.ts";
import { isAbort, isK3slbError } from "../../shared/errors.ts";
import type { ClusterAccess, Credentials } from "../access/cluster_access.ts";
import type { RequestAction } from "../errors.ts";
import { ConnectionPool, type TlsOptions } from "./connections.ts";
import { Exchange } from "./exchange.ts";
import type { HttpHead } from "./http_messages.ts";

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
  readonly headers: HttpHead["headers"];
  readonly body: string;
}

/** An answer whose body is read line by line. It is either iterated (a `break` ends it) or cancelled. */
export interface TransportStream {
  readonly status: number;
  readonly headers: HttpHead["headers"];
  readonly lines: AsyncIterable<string>;
  cancel(): void;
}

/** What is told about each request, for metrics. */
export interface RequestObservation {
  /** What was asked for, such as `list`. */
  readonly verb: string;
  /** Plural of the kind. */
  readonly resource: string;
  /** HTTP status, or the error's code if there was no answer. */
  readonly result: string;
  /** Time until the answer, in milliseconds. */
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
   * @default {33554432}
   */
  readonly maxAnswerBytes?: number;
}

/** Connections to one API server. */
export interface Transport {
  readonly server: string;
  /** How often no connection could be made, or several streams broke off at once: the server was away. */
  readonly outages: number;
  /** Any HTTP status is an answer; what is retried is bounded and listed at {@linkcode createTransport}. */
  request(request: TransportRequest): Promise<TransportAnswer>;
  /** @param silenceMs Asked now and then: a stream with no byte for this long is given up with code `kube-answer-silent`. */
  stream(request: TransportRequest, silenceMs: () => number): Promise<TransportStream>;
  /** Closes every connection. Safe to call twice. */
  close(): void;
}

/**
 * Connects to `options.access`, when the first request is made.
 *
 * Tried again, at most 4 times in all, with growing random delays or the server's `Retry-After`: answers 429 and 503 of any
 * method (the server has not acted on it), and lost connections of idempotent requests that are no streams. A 401 is tried once more with
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
  #connected: Connected | undefined;
  #outages = 0;
  /** When the last stream broke off. */
  #cutMs = -Infinity;

  constructor(options: TransportOptions) {
    this.#options = options;
    this.server = options.access.server;
    this.#url = new URL(options.access.server);
  }

  get outages(): number {
    return this.#outages;
  }

  request(request: TransportRequest): Promise<TransportAnswer> {
    return this.#withRetries(request, async () => {
      const exchange = await this.#open(request, true);
      return { status: exchange.status, headers: exchange.headers, body: await exchange.text() };
    });
  }

  stream(request: TransportRequest, silenceMs: () => number): Promise<TransportStream> {
    // Who reads a stream starts it again, and must know that the server was away meanwhile.
    return this.#withRetries({ ...request, isIdempotent: false }, async () => {
      const exchange = await this.#open(request, false);
      const { status, headers } = exchange;
      // Only what was accepted may be silent for long; the words of a refusal must come like any answer.
      const lines = exchange.lines(status === 200 ? silenceMs : () => request.timeoutMs, () => this.#noteCut());
      return { status, headers, lines, cancel: () => exchange.cancel() };
    });
  }

  close(): void {
    this.#closing.abort();
    this.#connected?.requests.retire();
    this.#connected?.streams.retire();
    this.#connected = undefined;
  }

  async #withRetries<A extends TransportAnswer | TransportStream>(
    request: TransportRequest,
    attempt: () => Promise<A>,
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
      request.signal?.throwIfAborted();
      this.#closing.signal.throwIfAborted();
      let delayMs: number;
      try {
        const answer = await attempt();
        observe(String(answer.status));
        if (answer.status === 401 && !isRefreshed) {
          isRefreshed = true;
          if ("cancel" in answer) answer.cancel();
          await this.#credentials(request, { refresh: true });
          continue;
        }
        if ((answer.status !== 429 && answer.status !== 503) || tries >= MAX_TRIES) return answer;
        if ("cancel" in answer) answer.cancel();
        delayMs = retryAfterMs(answer.headers) ?? this.#backoffMs(tries);
      } catch (error) {
        if (isAbort(error)) throw error;
        observe(isK3slbError(error) ? error.code : "error");
        if (isK3slbError(error, "kube-unreachable")) this.#outages++;
        if (!isRetriedFailure(error, request) || tries >= MAX_TRIES) throw error;
        delayMs = this.#backoffMs(tries);
      }
      await clock.sleep(delayMs, request.signal);
    }
  }

  /** A proxy cuts one silent stream; what breaks off together had the same end. */
  #noteCut(): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#cutMs < TOGETHER_MS) this.#outages++;
    this.#cutMs = nowMs;
  }

  #backoffMs(tries: number): number {
    return FIRST_BACKOFF_MS * 2 ** (tries - 1) * (0.5 + this.#options.clock.random());
  }

  async #open(request: TransportRequest, wholeAnswer: boolean): Promise<Exchange> {
    const { access, userAgent, clock } = this.#options;
    const credentials = await this.#credentials(request);
    const { requests, streams } = this.#connect(credentials);
    const exchange = new Exchange({
      failure: {
        action: request.action,
        server: access.server,
        hasClientCertificate: credentials.certificate !== undefined,
      },
      connectTimeoutMs: this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
      maxBytes: this.#options.maxAnswerBytes ?? MAX_ANSWER_BYTES,
      timeoutMs: request.timeoutMs,
      wholeAnswer,
      signals: request.signal === undefined ? [this.#closing.signal] : [request.signal, this.#closing.signal],
      clock,
      pool: wholeAnswer ? requests : streams,
    });
    await exchange.start({
      method: request.method,
      target: `${this.#url.pathname.replace(/\/$/, "")}${request.path}`,
      headers: [
        ["host", this.#url.host],
        ...Object.entries({ accept: "application/json", "user-agent": userAgent, ...request.headers }),
        ...(credentials.authorization === undefined ? [] : [["authorization", credentials.authorization] as const]),
        ...access.impersonationHeaders,
      ],
      ...(request.body === undefined ? {} : { body: request.body }),
    });
    return exchange;
  }

  /** Credentials may take an exec plugin's time: the end of the request, or of this transport, ends the wait. */
  async #credentials(request: TransportRequest, options: { readonly refresh?: boolean } = {}): Promise<Credentials> {
    const ending = new AbortController();
    const end = (): void => ending.abort();
    const signals = request.signal === undefined ? [this.#closing.signal] : [request.signal, this.#closing.signal];
    for (const signal of signals) signal.addEventListener("abort", end);
    try {
      return await this.#options.access.credentials({ ...options, signal: ending.signal });
    } finally {
      for (const signal of signals) signal.removeEventListener("abort", end);
    }
  }

  /** Two pools per client certificate and CA; requests under way on former ones finish there. */
  #connect(credentials: Credentials): Connected {
    const connected = this.#connected;
    if (connected !== undefined && isSameIdentity(connected.credentials, credentials)) return connected;
    connected?.requests.retire();
    connected?.streams.retire();
    const isTls = this.#url.protocol === "https:";
    const target = {
      host: bareHost(this.#url.hostname),
      port: Number(this.#url.port) || (isTls ? 443 : 80),
      ...(isTls ? { tls: this.#tlsOptions(credentials) } : {}),
    };
    const open = (max: number): ConnectionPool => new ConnectionPool({ target, max, clock: this.#options.clock });
    // A watch holds its connection for minutes: in one pool with the requests, enough watches would leave none for them.
    this.#connected = { requests: open(MAX_REQUEST_CONNECTIONS), streams: open(Infinity), credentials };
    return this.#connected;
  }

  #tlsOptions(credentials: Credentials): TlsOptions {
    const { access } = this.#options;
    return {
      ...(credentials.ca === undefined ? {} : { ca: credentials.ca }),
      ...(credentials.certificate === undefined ? {} : { cert: credentials.certificate }),
      ...(credentials.key === undefined ? {} : { key: credentials.key }),
      ...(access.tlsServerName === undefined ? {} : { servername: access.tlsServerName }),
      ...(access.insecureSkipTlsVerify ? { rejectUnauthorized: false } : {}),
    };
  }
}

interface Connected {
  readonly requests: ConnectionPool;
  readonly streams: ConnectionPool;
  readonly credentials: Credentials;
}

function isRetriedFailure(error: unknown, request: TransportRequest): boolean {
  return request.isIdempotent && isK3slbError(error) &&
    (error.code === "kube-unreachable" || error.code === "kube-answer-cut");
}

function retryAfterMs(headers: HttpHead["headers"]): number | undefined {
  const seconds = Number(headers["retry-after"]);
  return Number.isFinite(seconds) && seconds >= 0 && headers["retry-after"] !== undefined
    ? Math.min(seconds * 1000, MAX_RETRY_AFTER_MS)
    : undefined;
}

function isSameIdentity(a: Credentials, b: Credentials): boolean {
  return a.ca === b.ca && a.certificate === b.certificate && a.key === b.key;
}

/** `URL` keeps the brackets of an IPv6 host; sockets want it bare. */
function bareHost(hostname: string): string {
  return hostname.startsWith("[") ? hostname.slice(1, -1) : hostname;
}

/** More than hang at a time in the queues of Services and charts together: what renews the Lease must not wait for them. */
const MAX_REQUEST_CONNECTIONS = 128;
const CONNECT_TIMEOUT_MS = 10_000;
/** Some times the largest object that the API server takes (3 MiB as JSON), and small beside the programs' memory. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;
const TOGETHER_MS = 1000;
const MAX_TRIES = 4;
const FIRST_BACKOFF_MS = 200;
const MAX_RETRY_AFTER_MS = 10_000;
