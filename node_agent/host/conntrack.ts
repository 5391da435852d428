// Deletes entries of connection tracking with the `conntrack` tool, some time after the change and never in its way: with 50,000 entries one
// filtered deletion takes about 200 ms. What must go is said by conntrack_plan.ts.
import { errorMessage, isAbort, isK3slbError } from "../../core/shared/errors.ts";
import type { IpFamily } from "../../core/shared/ip.ts";
import type { Logger } from "../../core/shared/log.ts";
import type { Clock } from "../../core/runtime/clock.ts";
import { Turns } from "../../core/runtime/turns.ts";
import { type ConntrackCleanup, type FlowCheck, type FlowFilter, staleFlows } from "../rules/conntrack_plan.ts";
import type { Exec } from "./exec.ts";

/** What {@linkcode ConntrackCleaner} needs. */
export interface ConntrackCleanerOptions {
  readonly exec: Exec;
  readonly log: Logger;
  readonly clock: Clock;
  /** Ends waiting and running deletions. */
  readonly signal?: AbortSignal | undefined;
}

/** Time in milliseconds for which deletions are collected before they run. */
const DEBOUNCE_MS = 20;

/** Most deletions that wait at once; more are dropped with a warning, since each costs a walk over all entries. */
const MAX_WAITING = 512;
/** Most of one port: a Service whose thousands of endpoints come and go leaves room for the others, and ports take turns. */
const MAX_WAITING_OF_PORT = 64;

const TIMEOUT_MS = 20_000;

/** A queue of deletions that runs by itself. */
export class ConntrackCleaner {
  readonly #options: ConntrackCleanerOptions;
  readonly #waiting = new Map<string, FlowFilter>();
  /** The keys of these, by port. */
  readonly #turns = new Turns((key) => String(this.#waiting.get(key)?.port));
  #checks: FlowCheck[] = [];
  #running: Promise<void> | undefined;
  #missing = false;
  #deleted = 0;

  constructor(options: ConntrackCleanerOptions) {
    this.#options = options;
  }

  /** Why stale flows are not deleted, or `undefined` if they are. */
  get warning(): string | undefined {
    return this.#missing ? MISSING_WARNING : undefined;
  }

  /** Entries that were deleted. */
  get deleted(): number {
    return this.#deleted;
  }

  /** Has the stale entries found and deleted soon. Returns at once; never throws. */
  schedule({ filters, checks }: ConntrackCleanup): void {
    if (this.#missing || this.#options.signal?.aborted) return;
    const room = Math.max(0, MAX_WAITING - this.#checks.length);
    let isTooMany = checks.length > room;
    this.#checks.push(...checks.slice(0, room));
    for (const filter of filters) {
      const key = argumentsOf(filter).join(" ");
      if (this.#waiting.has(key)) continue;
      if (this.#waiting.size >= MAX_WAITING || this.#turns.waitingOf(String(filter.port)) >= MAX_WAITING_OF_PORT) {
        isTooMany = true;
        continue;
      }
      this.#waiting.set(key, filter);
      this.#turns.add(key);
    }
    if (isTooMany) this.#warnOfTooMany();
    if (this.#waiting.size + this.#checks.length > 0) this.#running ??= this.#run();
  }

  /** Resolves when nothing waits any more. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      await this.#options.clock.sleep(DEBOUNCE_MS, this.#options.signal);
      while (!this.#missing) {
        const key = this.#turns.take() ?? "";
        const next = this.#waiting.get(key);
        const check = next ? undefined : this.#checks.shift();
        if (next) {
          this.#waiting.delete(key);
          await this.#delete(next);
        } else if (check) this.schedule({ filters: await this.#listStale(check), checks: [] });
        else break;
      }
    } catch (error) {
      if (!isAbort(error)) this.#options.log.warn("Cannot delete stale flows", { error: errorMessage(error) });
    } finally {
      this.#waiting.clear();
      this.#turns.clear();
      this.#checks = [];
      this.#running = undefined;
    }
  }

  #warnOfTooMany(): void {
    this.#options.log.warn("Too many stale flows at once: some are left to time out", { limit: MAX_WAITING });
  }

  /** Exit code 1 means that nothing matched. */
  async #delete(filter: FlowFilter): Promise<void> {
    // One line each; their number stands on standard error only.
    this.#deleted += (await this.#conntrack(argumentsOf(filter), filter.port)).split("\n").filter(Boolean).length;
  }

  async #listStale(check: FlowCheck): Promise<readonly FlowFilter[]> {
    const args = ["-L", "-f", familyWord(check.family), "-p", "udp", "--orig-port-dst", String(check.port)];
    return staleFlows(check, await this.#conntrack(args, check.port));
  }

  async #conntrack(args: readonly string[], port: number): Promise<string> {
    const { exec, log, signal } = this.#options;
    try {
      const result = await exec.run("conntrack", args, { timeoutMs: TIMEOUT_MS, signal });
      if (result.code > 1) log.warn("Cannot delete stale flows", { port, error: result.stderr.trim().slice(0, 300) });
      return result.stdout;
    } catch (error) {
      if (!isK3slbError(error, "command-missing")) throw error;
      this.#missing = true;
      log.warn(MISSING_WARNING);
      return "";
    }
  }
}

const MISSING_WARNING =
  'The "conntrack" tool is missing: UDP clients that keep sending stay with endpoints that are gone. Install the package "conntrack"';

function argumentsOf(filter: FlowFilter): readonly string[] {
  return [
    "-D",
    "-f",
    familyWord(filter.family),
    "-p",
    filter.protocol,
    ...(filter.protocol === "tcp" ? ["--state", "SYN_SENT"] : []),
    "--orig-port-dst",
    String(filter.port),
    "--reply-src",
    filter.replySource,
    "--reply-port-src",
    String(filter.replyPort),
  ];
}

function familyWord(family: IpFamily): string {
  return family === "IPv4" ? "ipv4" : "ipv6";
}
