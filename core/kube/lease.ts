// Leader election by a Lease, as client-go does it: a record that its holder renews, taken over when it was not renewed in time.
// Other machines' clocks are never compared with ours: what counts is when we saw the record change, by the monotonic clock.
import { type Clock, nextTurn, pause } from "../runtime/clock.ts";
import { abortError, errorMessage, isAbort, K3slbError } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import type { KubeClient } from "./contract.ts";
import { isAlreadyExists, isConflict } from "./errors.ts";
import { compareResourceVersions } from "./object_store.ts";
import { findObject } from "./one_object.ts";
import { LEASES } from "./resources.ts";
import type { Lease } from "./types.ts";

/** What {@linkcode runLeaderElection} takes. */
export interface LeaderElectionOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Name of the Lease. */
  readonly name: string;
  /** Unique for this process, such as the host's name and a random part. */
  readonly identity: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** The leader's work. Its signal is aborted when leadership ends; it must then end soon, as another leader may start. */
  readonly lead: (signal: AbortSignal) => Promise<void>;
  /** Told about each new holder, this process included. */
  readonly onLeader?: (holder: string) => void;
}

/**
 * Waits to become the leader, leads, and starts over when leadership is lost, until `options.signal` is aborted; then releases
 * the Lease, so that another one leads at once. Resolves after `lead` has ended.
 *
 * @throws what `lead` throws while it leads; the Lease is released before. Failures of the server are never thrown.
 */
export async function runLeaderElection(options: LeaderElectionOptions): Promise<void> {
  const candidate = new Candidate(options);
  while (!options.signal.aborted) {
    if (!await candidate.campaign()) return;
    if (await candidate.lead() === "finished") return;
  }
}

class Candidate {
  readonly #options: LeaderElectionOptions;
  /** The Lease as last seen. */
  #observed: Lease | undefined;
  #observedAtMs = 0;
  #renewedAtMs = 0;
  #reportedHolder: string | undefined;
  #lastProblem: string | undefined;
  #highestVersion: string | undefined;
  /** Whether a version lower than one before was seen in this term: what the term did may be undone. */
  #isTurnedBack = false;
  #mustRead = true;
  /** Whether a write may have arrived although its answer did not. */
  #isUnsure = false;

  constructor(options: LeaderElectionOptions) {
    this.#options = options;
  }

  /** Resolves with true as soon as this process holds the Lease, with false when the signal is aborted. */
  async campaign(): Promise<boolean> {
    const { signal, clock } = this.#options;
    while (!signal.aborted) {
      if (await this.#tryToHold(RENEW_DEADLINE_MS) && !signal.aborted) return true;
      await pause(clock, this.#delayMs(), signal);
    }
    // Aborted in the middle of taking it: nobody will lead, so nobody must hold.
    await this.#release();
    return false;
  }

  async lead(): Promise<"finished" | "lost"> {
    const { signal, logger, name, identity } = this.#options;
    const term = new AbortController();
    this.#isTurnedBack = false;
    const end = (): void => term.abort(abortError());
    signal.addEventListener("abort", end, { once: true });
    if (signal.aborted) end();
    logger.info("This process leads", { lease: name, identity });
    const renewing = this.#renew(term);
    try {
      await this.#options.lead(term.signal);
    } catch (error) {
      if (!(isAbort(error) && term.signal.aborted)) throw error;
    } finally {
      const isLost = term.signal.aborted && !signal.aborted;
      end();
      signal.removeEventListener("abort", end);
      await renewing;
      if (!isLost) await this.#release();
      else logger.warn("Leadership is lost", { lease: name, holder: this.#holder() });
    }
    return term.signal.reason instanceof K3slbError ? "lost" : "finished";
  }

  /** Renews until the term ends; ends it if no renewal succeeds until the deadline. */
  async #renew(term: AbortController): Promise<void> {
    const { clock, name } = this.#options;
    let wasHeld = true;
    while (!term.signal.aborted) {
      await pause(clock, this.#untilRenewalMs(wasHeld), term.signal);
      if (term.signal.aborted) return;
      const leftMs = this.#renewedAtMs + RENEW_DEADLINE_MS - clock.monotonicMs();
      const isHeld = leftMs > 0 && await this.#tryToHold(leftMs);
      wasHeld = isHeld;
      if (isHeld && !this.#isTurnedBack) continue;
      const isOverdue = clock.monotonicMs() >= this.#renewedAtMs + RENEW_DEADLINE_MS;
      const isTaken = this.#holder() !== this.#options.identity;
      if (isOverdue || isTaken || this.#isTurnedBack) {
        const why = this.#isTurnedBack
          ? "the API server has an earlier state than before, as after a restore"
          : this.#lastProblem ?? "another process holds it";
        term.abort(
          new K3slbError(`Leadership of lease "${name}" is lost: ${why}`, {
            code: "leadership-lost",
            hint: "The process waits to lead again; look at the API server if this repeats",
            retriable: true,
          }),
        );
      }
    }
  }

  /** Counted from the start of the last renewal, as others may count it, and not from its answer, which may have taken long. */
  #untilRenewalMs(wasHeld: boolean): number {
    const nowMs = this.#options.clock.monotonicMs();
    const dueMs = wasHeld ? nextTurn(nowMs, RENEW_PERIOD_MS) : nowMs + RETRY_PERIOD_MS;
    const latestMs = this.#renewedAtMs + (wasHeld ? RENEW_PERIOD_MS : RENEW_DEADLINE_MS);
    return Math.max(0, Math.min(dueMs, latestMs) - nowMs);
  }

  /** One try to take or renew the Lease, within `limitMs`. */
  async #tryToHold(limitMs: number): Promise<boolean> {
    const { clock, signal, name, logger } = this.#options;
    const startMs = clock.monotonicMs();
    const limit = new AbortController();
    const stop = (): void => limit.abort(abortError());
    const cancelLimit = clock.setTimer(stop, limitMs);
    signal.addEventListener("abort", stop, { once: true });
    try {
      const isHeld = await this.#takeOrRenew(limit.signal);
      if (isHeld) this.#renewedAtMs = startMs;
      this.#lastProblem = undefined;
      return isHeld;
    } catch (error) {
      if (signal.aborted) return false;
      const problem = isAbort(error) ? `no answer within ${Math.round(limitMs) / 1000} s` : errorMessage(error);
      // A conflict is the race itself, not trouble.
      if (!isConflict(error) && !isAlreadyExists(error) && problem !== this.#lastProblem) {
        logger.warn("Lease cannot be taken or renewed; it is tried again", { lease: name, error: problem });
      }
      this.#lastProblem = problem;
      if (isConflict(error)) this.#mustRead = true;
      return false;
    } finally {
      cancelLimit();
      signal.removeEventListener("abort", stop);
    }
  }

  async #takeOrRenew(signal: AbortSignal): Promise<boolean> {
    const { client, namespace, name, identity, clock } = this.#options;
    // The holder knows the present version from its last write; only others need to look.
    const isRenewal = !this.#mustRead && this.#holder() === identity;
    if (!isRenewal) {
      const seen = await findObject(client, LEASES, { key: { namespace, name }, signal });
      this.#isUnsure = false;
      if (seen === undefined) {
        this.#isUnsure = true;
        this.#observe(await client.create(LEASES, this.#record(undefined), { signal }));
        this.#mustRead = false;
        this.#isUnsure = false;
        return true;
      }
      this.#observe(seen);
      this.#mustRead = false;
      if (this.#holder() !== "" && this.#holder() !== identity && this.#leftMs() > 0) {
        this.#mustRead = true;
        return false;
      }
    }
    // Until the answer is here it is unknown which version the server has.
    this.#mustRead = true;
    this.#isUnsure = true;
    const written = await client.update(LEASES, this.#record(this.#observed), { signal });
    this.#observedAtMs = clock.monotonicMs();
    this.#observe(written);
    this.#mustRead = false;
    this.#isUnsure = false;
    return true;
  }

  /** Safe to call if the Lease is not ours: the version makes the write conditional. */
  async #release(): Promise<void> {
    const { identity, logger, name, clock } = this.#options;
    const isOurs = this.#holder() === identity;
    if (!isOurs && !this.#isUnsure) return;
    // The end of the program does not wait for a server, or for an exec plugin, that hangs.
    const limit = new AbortController();
    const cancelLimit = clock.setTimer(() => limit.abort(), RELEASE_TIMEOUT_MS);
    try {
      await this.#giveUp(isOurs ? this.#observed : undefined, limit.signal);
    } catch (error) {
      logger.debug("Lease was not released; it expires by itself", { lease: name, error: errorMessage(error) });
    } finally {
      cancelLimit();
    }
    this.#observed = undefined;
    this.#mustRead = true;
  }

  async #giveUp(held: Lease | undefined, signal: AbortSignal): Promise<void> {
    const { client, namespace, name, identity } = this.#options;
    const released = (lease: Lease): Lease => {
      const record = this.#record(lease);
      return { ...record, spec: { ...record.spec, holderIdentity: "", leaseDurationSeconds: 1 } };
    };
    try {
      if (held !== undefined) return void await client.update(LEASES, released(held), { signal });
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
    // A write that the end cut off may have arrived all the same.
    const present = await client.get(LEASES, { namespace, name }, { signal });
    if (present.spec?.holderIdentity === identity) await client.update(LEASES, released(present), { signal });
  }

  #record(present: Lease | undefined): Lease {
    const { namespace, name, identity, clock } = this.#options;
    const now = microTime(clock.now());
    const isOurs = present?.spec?.holderIdentity === identity;
    const transitions = present?.spec?.leaseTransitions ?? 0;
    return {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: present?.metadata ?? { namespace, name },
      spec: {
        ...present?.spec,
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(LEASE_DURATION_MS / 1000),
        acquireTime: isOurs ? present?.spec?.acquireTime ?? now : now,
        renewTime: now,
        leaseTransitions: present === undefined || isOurs ? transitions : transitions + 1,
      },
    };
  }

  #observe(lease: Lease): void {
    const { resourceVersion } = lease.metadata ?? {};
    if (compareResourceVersions(resourceVersion, this.#highestVersion) < 0) this.#isTurnedBack = true;
    this.#highestVersion = resourceVersion;
    const isSame = this.#observed?.metadata?.resourceVersion === resourceVersion &&
      this.#observed?.metadata?.uid === lease.metadata?.uid;
    if (!isSame) {
      this.#observed = lease;
      this.#observedAtMs = this.#options.clock.monotonicMs();
    }
    const holder = this.#holder();
    if (holder === "" || holder === this.#reportedHolder) return;
    this.#reportedHolder = holder;
    this.#options.onLeader?.(holder);
  }

  #holder(): string {
    return this.#observed?.spec?.holderIdentity ?? "";
  }

  /** How long the record is valid yet, by its own duration and our clock. */
  #leftMs(): number {
    const durationMs = (this.#observed?.spec?.leaseDurationSeconds ?? 0) * 1000;
    return this.#observedAtMs + durationMs - this.#options.clock.monotonicMs();
  }

  /** A candidate looks again after the retry period, and right after the present record runs out. */
  #delayMs(): number {
    const jitter = 1 + this.#options.clock.random() * RETRY_JITTER;
    const leftMs = this.#leftMs();
    const retryMs = RETRY_PERIOD_MS * jitter;
    return leftMs > 0 && leftMs < retryMs ? leftMs + this.#options.clock.random() * EXPIRY_JITTER_MS : retryMs;
  }
}

/** RFC 3339 with microseconds, as Leases have it. */
function microTime(timeMs: number): string {
  return new Date(timeMs).toISOString().replace("Z", "000Z");
}

/** Without renewal for so long, others take over. */
const LEASE_DURATION_MS = 15_000;
/** After the last renewal the leader gives up, in time before that. */
const RENEW_DEADLINE_MS = 12_500;
/** A renewal that works needs no haste: one that fails is tried again until the deadline. */
const RENEW_PERIOD_MS = 7_500;
const RETRY_PERIOD_MS = 2_000;
const RETRY_JITTER = 0.2;
const EXPIRY_JITTER_MS = 500;
const RELEASE_TIMEOUT_MS = 5000;
