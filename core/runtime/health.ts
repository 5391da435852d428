// Health and metrics over HTTP, on loopback: /livez (and /healthz), /readyz, /metrics.
// Paths and texts are as Kubernetes' own components have them, so that probes and people know them.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { errorMessage, K3slbError } from "../shared/errors.ts";
import { visibleLine } from "../shared/visible_text.ts";
import { METRICS_CONTENT_TYPE } from "./metrics.ts";

/** One thing that can be well or not. */
export interface HealthCheck {
  /** In lower case with dashes, such as `watch-services`. */
  readonly name: string;
  /** `live`: a restart would help; it counts for readiness too. `ready`: only readiness. */
  readonly kind: "live" | "ready";
  /** What is wrong, in one line; `undefined` if nothing is. */
  readonly problem: () => string | undefined;
}

/** Answers a path that is none of health and metrics; `false` if it has nothing there. */
export type PageHandler = (path: string, request: IncomingMessage, response: ServerResponse) => boolean;

/** What a program says of itself. */
export interface HealthEndpoint {
  /** What can be well or not. */
  readonly checks: readonly HealthCheck[];
  /** Text of `/metrics`. */
  readonly renderMetrics: () => string | Promise<string>;
  /** Answers other paths. */
  readonly page?: PageHandler;
}

/** Lets others ask a program how it is. `done` resolves when nobody can ask any more. */
export type ServeHealth = (endpoint: HealthEndpoint) => Promise<{ readonly done: Promise<void> }>;

/** What {@linkcode startHealthServer} takes. */
export interface HealthServerOptions extends HealthEndpoint {
  /** Address and port, such as `127.0.0.1:10260` or `[::1]:10260`; port 0 takes a free one. */
  readonly address: string;
  /** The server is closed when it is aborted. */
  readonly signal: AbortSignal;
}

/** A listening server. */
export interface HealthServer {
  /** The port that is listened on. */
  readonly port: number;
  /** Resolves when the server is closed. */
  readonly done: Promise<void>;
}

/**
 * Listens on `options.address`.
 *
 * @throws {K3slbError} code `metrics-address-invalid` or `metrics-address-unusable`
 */
export async function startHealthServer(options: HealthServerOptions): Promise<HealthServer> {
  const { host, port } = parseAddress(options.address);
  const server = createServer((request, response) => answer(request, response, options));
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, { host, port, address: options.address });
  const done = new Promise<void>((resolve) => server.once("close", () => resolve()));
  const close = (): void => {
    server.close();
    server.closeAllConnections();
  };
  if (options.signal.aborted) close();
  else options.signal.addEventListener("abort", close, { once: true });
  const bound = server.address();
  return { port: bound !== null && typeof bound === "object" ? bound.port : port, done };
}

/**
 * Listens as a program that is alive and not ready; what is returned takes over with what the program says of itself. A probe then
 * doesn't end a program that still waits for others. That the address can't be used is thrown to whoever takes over.
 */
export async function startHealthEarly(
  options: Pick<HealthServerOptions, "address" | "signal" | "renderMetrics">,
): Promise<ServeHealth> {
  const waiting: HealthCheck = { name: "start", kind: "ready", problem: () => "the start is not done yet" };
  let endpoint: HealthEndpoint = { checks: [waiting], renderMetrics: options.renderMetrics };
  const server = startHealthServer({
    address: options.address,
    signal: options.signal,
    get checks() {
      return endpoint.checks;
    },
    renderMetrics: () => endpoint.renderMetrics(),
    page: (path, request, response) => endpoint.page?.(path, request, response) ?? false,
  });
  // Who takes over gets `server` itself, and with it the reason.
  await server.catch(() => {});
  return (own) => {
    endpoint = own;
    return server;
  };
}

function listen(
  server: Server,
  place: { readonly host: string; readonly port: number; readonly address: string },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) =>
      reject(
        new K3slbError(`Cannot listen on "${place.address}": ${errorMessage(error)}`, {
          code: "metrics-address-unusable",
          hint: "Choose another address with --metrics-address, or end the other process",
          retriable: true,
          cause: error,
        }),
      ));
    server.listen(place.port, place.host, () => resolve());
  });
}

function parseAddress(address: string): { readonly host: string; readonly port: number } {
  const match = ADDRESS_REGEXP.exec(address);
  const port = Number(match?.groups?.["port"]);
  if (match === null || port > 65535) {
    throw new K3slbError(`Address "${address}" is not a host and a port`, {
      code: "metrics-address-invalid",
      hint: "Write it as 127.0.0.1:10260 or [::1]:10260",
    });
  }
  return { host: match.groups?.["ipv6"] ?? match.groups?.["host"] ?? "", port };
}

function answer(request: IncomingMessage, response: ServerResponse, options: HealthServerOptions): void {
  const send = (status: number, body: string, type = "text/plain; charset=utf-8"): void => {
    response.writeHead(status, { "content-type": type, "x-content-type-options": "nosniff" });
    response.end(request.method === "HEAD" ? undefined : body);
  };
  if (request.method !== "GET" && request.method !== "HEAD") return send(405, "only GET is answered\n");
  // Not a URL: what clients send as one may be none, such as `//`, and nobody would catch that here.
  const [path = "", query = ""] = (request.url ?? "").split("?", 2);
  const isVerbose = new URLSearchParams(query).has("verbose");
  switch (path) {
    case "/healthz":
    case "/livez":
      return sendChecks(options.checks.filter((check) => check.kind === "live"), { send, isVerbose });
    case "/readyz":
      return sendChecks(options.checks, { send, isVerbose });
    case "/metrics":
      return void sendMetrics(options, send);
    default:
      if (options.page?.(path, request, response)) return;
      return send(404, "there are /livez, /readyz and /metrics\n");
  }
}

async function sendMetrics(
  { renderMetrics }: HealthEndpoint,
  send: (status: number, body: string, type?: string) => void,
): Promise<void> {
  try {
    send(200, await renderMetrics(), METRICS_CONTENT_TYPE);
  } catch (error) {
    send(500, `${visibleLine(errorMessage(error))}\n`);
  }
}

function sendChecks(
  checks: readonly HealthCheck[],
  options: { readonly send: (status: number, body: string) => void; readonly isVerbose: boolean },
): void {
  const results = checks.map((check) => ({ name: check.name, problem: problemOf(check) }));
  const isWell = results.every(({ problem }) => problem === undefined);
  if (isWell && !options.isVerbose) return options.send(200, "ok");
  const lines = results.map(({ name, problem }) =>
    problem === undefined ? `[+]${name} ok` : `[-]${name} failed: ${visibleLine(problem)}`
  );
  options.send(isWell ? 200 : 503, `${lines.join("\n")}\ncheck ${isWell ? "passed" : "failed"}\n`);
}

function problemOf(check: HealthCheck): string | undefined {
  try {
    return check.problem();
  } catch (error) {
    return errorMessage(error);
  }
}

/** Any user of the host may connect: without a limit the connections would cost the program its memory. */
const MAX_CONNECTIONS = 1024;
const ADDRESS_REGEXP = /^(?:\[(?<ipv6>[0-9a-fA-F:.]+)\]|(?<host>[^:[\]]*)):(?<port>\d{1,5})$/;
