// Deletes entries of connection tracking with the `conntrack` tool, some time after the change and never in its way: with 50,000 entries one
// filtered deletion takes about 200 ms. What must go is said by conntrack_plan.ts.
import { errorMessage, isAbort, isK3slbError } from "../core/shared/errors.ts";
import type { Logger } from "../core/shared/log.ts";
import type { Clock } from "../core/runtime/clock.ts";
import type { FlowFilter } from "./conntrack_plan.ts";
import type { Exec } from "./exec.ts";

/** What {@linkcode ConntrackCleaner} needs. */
export interface ConntrackCleanerOptions {
  readonly exec: Exec;
  readonly log: Logger;
  readonly clock: Clock;
  /** Ends waiting and running deletions. */
  readonly signal?: AbortSignal;
}

/** Time in milliseconds for which deletions are collected before they run. */
const DEBOUNCE_MS = 20;

/** Most deletions that wait at once; more are dropped with a warning, since each costs a walk over all entries. */
const MAX_WAITING = 512;

const TIMEOUT_MS = 20_000;

/** A queue of deletions that runs by itself. */
export class ConntrackCleaner {
  readonly #options: ConntrackCleanerOptions;
  readonly #waiting = new Map<string, FlowFilter>();
  #running: Promise<void> | undefined;
  #missing = false;

  constructor(options: ConntrackCleanerOptions) {
    this.#options = options;
  }

  /** Why stale flows are not deleted, or `undefined` if they are. */
  get warning(): string | undefined {
    return this.#missing ? MISSING_WARNING : undefined;
  }

  /** Has the entries deleted soon. Returns at once; never throws. */
  schedule(filters: readonly FlowFilter[]): void {
    if (this.#missing || this.#options.signal?.aborted) return;
    for (const filter of filters) {
      const key = argumentsOf(filter).join(" ");
      if (this.#waiting.has(key)) continue;
      if (this.#waiting.size >= MAX_WAITING) {
        this.#options.log.warn("Too many stale flows at once: some are left to time out", { limit: MAX_WAITING });
        break;
      }
      this.#waiting.set(key, filter);
    }
    if (this.#waiting.size > 0) this.#running ??= this.#run();
  }

  /** Resolves when nothing waits any more. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      await this.#options.clock.sleep(DEBOUNCE_MS, this.#options.signal);
      while (this.#waiting.size > 0 && !this.#missing) {
        const [next] = this.#waiting;
        if (!next) break;
        this.#waiting.delete(next[0]);
        await this.#delete(next[1]);
      }
    } catch (error) {
      if (!isAbort(error)) this.#options.log.warn("Cannot delete stale flows", { error: errorMessage(error) });
    } finally {
      this.#waiting.clear();
      this.#running = undefined;
    }
  }

  /** Exit code 1 means that nothing matched. */
  async #delete(filter: FlowFilter): Promise<void> {
    const { exec, log, signal } = this.#options;
    try {
      const result = await exec.run("conntrack", argumentsOf(filter), {
        timeoutMs: TIMEOUT_MS,
        ...(signal ? { signal } : {}),
      });
      if (result.code > 1) {
        log.warn("Cannot delete stale flows", { port: filter.port, error: result.stderr.trim().slice(0, 300) });
      }
    } catch (error) {
      if (!isK3slbError(error, "command-missing")) throw error;
      this.#missing = true;
      log.warn(MISSING_WARNING);
    }
  }
}

const MISSING_WARNING =
  'The "conntrack" tool is missing: UDP clients that keep sending stay with endpoints that are gone. Install the package "conntrack"';

function argumentsOf(filter: FlowFilter): readonly string[] {
  return [
    "-D",
    "-f",
    filter.family === "IPv4" ? "ipv4" : "ipv6",
    "-p",
    filter.protocol,
    ...(filter.protocol === "tcp" ? ["--state", "SYN_SENT"] : []),
    "--orig-port-dst",
    String(filter.port),
    "--reply-src",
    filter.replySource,
  ];
}
