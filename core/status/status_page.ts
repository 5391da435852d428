// Serves the page to look at: `/` as HTML, `/events` as server-sent events (HTML standard, 9.2) while somebody looks. What it shows is worked
// out at most once in two seconds, for all who look together. Adapter.
import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Clock } from "../runtime/clock.ts";
import type { PageHandler } from "../runtime/health.ts";
import { ipFamilyOf, isLoopback, parseIpRange } from "../shared/ip_ranges.ts";
import { PAGE_SCRIPT, renderFrame } from "./page_frame.ts";
import { type PageFacts, type PageTable, pageTables, renderTables } from "./render_page.ts";

/** What {@linkcode createStatusPage} takes. */
export interface StatusPageOptions {
  /** What is known now. */
  readonly read: () => Promise<PageFacts>;
  readonly clock: Clock;
  /** Told why the page could not be brought up to date. */
  readonly onFailure: (error: unknown) => void;
}

/** Answers `/` and `/events`. */
export function createStatusPage(options: StatusPageOptions): PageHandler {
  const page = new StatusPage(options);
  return (path, request, response) => page.answer(path, request, response);
}

class StatusPage {
  readonly #options: StatusPageOptions;
  readonly #viewers = new Set<ServerResponse>();
  #tables: readonly PageTable[] = [];
  /** The page as it was sent last. */
  #frame: { readonly of: readonly PageTable[]; readonly text: string } | undefined;
  #readMs = -Infinity;
  #reading: Promise<readonly PageTable[]> | undefined;
  #cancelTimer: (() => void) | undefined;

  constructor(options: StatusPageOptions) {
    this.#options = options;
  }

  answer(path: string, request: IncomingMessage, response: ServerResponse): boolean {
    if (path !== "/" && (path !== "/events" || request.method !== "GET")) return false;
    if (!isFromHere(request)) {
      refuse(
        response,
        403,
        "the page is for this host alone: ssh -L 10260:127.0.0.1:10260 HOST, or kubectl port-forward",
      );
    } else if (path === "/") void this.#sendPage(request, response);
    else void this.#addViewer(response);
    return true;
  }

  async #sendPage(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const tables = await this.#read();
    response.writeHead(200, {
      ...HEADERS,
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": POLICY,
      "referrer-policy": "no-referrer",
    });
    if (this.#frame?.of !== tables) this.#frame = { of: tables, text: renderFrame(renderTables(tables)) };
    response.end(request.method === "HEAD" ? undefined : this.#frame.text);
  }

  async #addViewer(response: ServerResponse): Promise<void> {
    if (this.#viewers.size >= MAX_VIEWERS) return refuse(response, 503, "too many look already");
    this.#viewers.add(response);
    response.on("close", () => {
      this.#viewers.delete(response);
      if (this.#viewers.size === 0) this.#stop();
    });
    response.writeHead(200, { ...HEADERS, "content-type": "text/event-stream; charset=utf-8" });
    // Whatever happened between the loading of the page and now.
    const tables = await this.#read();
    response.write(eventText("page", renderTables(tables)));
    this.#cancelTimer ??= this.#options.clock.setTimer(() => void this.#tick(), PERIOD_MS);
  }

  async #tick(): Promise<void> {
    const before = this.#tables;
    const news = newsBetween(before, await this.#read());
    for (const viewer of this.#viewers) {
      // For a viewer that does not read, all of it would have to be kept.
      if (viewer.writableLength > 0) viewer.destroy();
      // A comment now and then shows that the connection stands.
      else viewer.write(news ?? ": nothing new\n\n");
    }
    this.#cancelTimer = this.#viewers.size === 0
      ? undefined
      : this.#options.clock.setTimer(() => void this.#tick(), PERIOD_MS);
  }

  #stop(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  /** The tables of this moment, or of one not long ago. Never rejects: what was known last stays. */
  #read(): Promise<readonly PageTable[]> {
    const { clock, read, onFailure } = this.#options;
    if (this.#reading !== undefined && clock.monotonicMs() - this.#readMs < MIN_AGE_MS) return this.#reading;
    this.#readMs = clock.monotonicMs();
    this.#reading = read().then((facts) => this.#tables = pageTables(facts)).catch((error) => {
      onFailure(error);
      return this.#tables;
    });
    return this.#reading;
  }
}

/** The event that brings a viewer from one state to the next; `undefined` if nothing is new. */
export function newsBetween(before: readonly PageTable[], after: readonly PageTable[]): string | undefined {
  const shape = (tables: readonly PageTable[]): string =>
    JSON.stringify(tables.map(({ id, head, rows }) => [id, head, rows.map((row) => row.id)]));
  if (shape(before) !== shape(after)) return eventText("page", renderTables(after));
  const known = new Map(before.flatMap(({ rows }) => rows).map(({ id, html }) => [id, html]));
  const changed = after.flatMap(({ rows }) => rows).filter(({ id, html }) => known.get(id) !== html);
  return changed.length === 0 ? undefined : eventText("rows", changed.map(({ id, html }) => [id, html]));
}

/**
 * Whether somebody on this host asks: it shows Services of all, and the address may be open to every pod. And not a website that gives its own
 * name this address, so that the visitor's browser takes the page for its own.
 */
function isFromHere({ socket, headers }: IncomingMessage): boolean {
  const peer = parseIpRange((socket.remoteAddress ?? "").replace(/^::ffff:/, ""));
  if (peer === undefined || !isLoopback(peer)) return false;
  const name = (headers.host ?? "").replace(/:\d*$/, "").replace(/^\[(.*)\]$/, "$1");
  return ipFamilyOf(name) !== undefined || !name.includes(".");
}

function refuse(response: ServerResponse, status: number, why: string): void {
  response.writeHead(status, { ...HEADERS, "content-type": "text/plain; charset=utf-8" });
  response.end(`${why}\n`);
}

function eventText(name: string, value: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(value)}\n\n`;
}

const PERIOD_MS = 2_000;
const MIN_AGE_MS = 1_000;
const MAX_VIEWERS = 16;
const HEADERS = { "x-content-type-options": "nosniff", "cache-control": "no-store" };
const SCRIPT_HASH = createHash("sha256").update(PAGE_SCRIPT).digest("base64");
const POLICY =
  `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${SCRIPT_HASH}'; connect-src 'self'; ` +
  "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
