// A copy of the cluster's objects of one kind, kept up to date by list and watch.
// Facts: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes (bookmarks, 410 Gone,
// streaming lists, KEP-3157) and KEP-5504 (resource versions of one kind can be compared as numbers).
import { pause } from "../runtime/clock.ts";
import { abortError, errorMessage, isAbort, isK3slbError } from "../shared/errors.ts";
import type { ResourceType, Selection, Surroundings, WatchEvent } from "./contract.ts";
import { isBadRequest, isConnectionFailure, isGone, isInvalid, isKindMissing } from "./errors.ts";
import { ObjectStore, type StoreChange } from "./object_store.ts";
import type { KubeObject } from "./types.ts";

/** What {@linkcode startReflector} takes. */
export interface ReflectorOptions<T extends KubeObject> extends Surroundings {
  readonly type: ResourceType<T>;
  readonly selection?: Selection;
  /** Trims an object before it is stored, or drops it with `undefined`. Keep `metadata.name`, `namespace` and `resourceVersion`. */
  readonly keep?: (object: T) => T | undefined;
  /** Told about each change of the stored objects, after it. Must not throw; what it throws is logged. */
  readonly onChange?: (change: StoreChange<T>) => void;
  /**
   * Ask for streaming lists; where the server has none, plain lists are used.
   * @default {true}
   */
  readonly streamingList?: boolean;
}

/** The stored objects and how fresh they are. */
export interface Reflector<T extends KubeObject> {
  /** By `namespace/name`, or `name` for cluster-scoped objects. The objects must not be changed. */
  readonly objects: ReadonlyMap<string, T>;
  /** Resolves when the first complete list is stored; rejects with an `AbortError` if the signal is aborted before. */
  readonly synced: Promise<void>;
  readonly isSynced: boolean;
  /** Whether a watch is open; `false` while it is being made again after a failure. */
  readonly isConnected: boolean;
  /** Why it is not connected; `undefined` while it is. */
  readonly lastError: Error | undefined;
  /** Resolves when the signal has been aborted and all is closed. Never rejects. */
  readonly done: Promise<void>;
  /**
   * Stores objects that were listed elsewhere, unless the stored ones are newer. For objects that `keep` dropped when they came
   * and now wants. They must come from a list that was started after `keep` changed its mind.
   */
  merge(objects: Iterable<T>): void;
}

/** Starts to list and watch; goes on, whatever happens, until `options.signal` is aborted. */
export function startReflector<T extends KubeObject>(options: ReflectorOptions<T>): Reflector<T> {
  return new ListWatchReflector(options);
}

class ListWatchReflector<T extends KubeObject> implements Reflector<T> {
  readonly synced: Promise<void>;
  readonly done: Promise<void>;
  isSynced = false;
  isConnected = false;
  lastError: Error | undefined;
  readonly #options: ReflectorOptions<T>;
  readonly #store: ObjectStore<T>;
  readonly #setSynced: () => void;
  /** Whether the watch under way, or the last one, was accepted by the server. */
  #isOpen = false;
  /** The client's outages when the last watch was begun. */
  #outages = 0;
  #streams: boolean;
  /** Where the next watch starts; `undefined`: list first. */
  #resourceVersion: string | undefined;
  #failures = 0;
  /** The cause of the last failure that was reported; `undefined` once a watch is open again. */
  #lastReported: string | undefined;
  /** When a forgotten point in time last led to a new list at once. */
  #startedOverMs = -Infinity;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
    this.#streams = options.streamingList ?? true;
    this.#store = new ObjectStore<T>({
      keep: (object) => options.keep === undefined ? object : options.keep(object),
      onChange: (change) => options.onChange?.(change),
      onFault: (error) =>
        options.logger.error("Handling of a changed object failed", {
          kind: options.type.kind,
          error: errorMessage(error),
        }),
    });
    const synced = Promise.withResolvers<void>();
    this.synced = synced.promise;
    this.#setSynced = () => {
      this.isSynced = true;
      synced.resolve();
    };
    // Nobody has to wait for it.
    synced.promise.catch(() => {});
    this.done = this.#run().finally(() => synced.reject(abortError()));
  }

  get objects(): ReadonlyMap<string, T> {
    return this.#store.objects;
  }

  merge(objects: Iterable<T>): void {
    this.#store.merge(objects);
  }

  async #run(): Promise<void> {
    const { signal, clock } = this.#options;
    while (!signal.aborted) {
      try {
        await this.#listAndWatch();
      } catch (error) {
        if (signal.aborted) break;
        this.#noteFailure(error);
        if (!this.#startsOver(error)) await pause(clock, this.#backoffMs(), signal);
      }
    }
    this.isConnected = false;
  }

  /** A forgotten point in time is no trouble of a server, which answers again: list at once, but not without end. */
  #startsOver(error: unknown): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    if (!isGone(error) || nowMs - this.#startedOverMs < MIN_WATCH_MS) return false;
    this.#startedOverMs = nowMs;
    return true;
  }

  /** One watch from its start to its end, with a list before it if one is due. */
  async #listAndWatch(): Promise<void> {
    const { clock, client } = this.#options;
    const { outages = 0 } = client;
    // Another watch or request has seen the server away while this one waited for its next try.
    if (outages !== this.#outages) this.#resourceVersion = undefined;
    this.#outages = outages;
    if (this.#resourceVersion === undefined && !this.#streams) await this.#listPages();
    const startMs = clock.monotonicMs();
    this.#isOpen = false;
    let events: number;
    try {
      events = await this.#watch();
    } catch (error) {
      // A proxy that cuts each silent connection makes every watch fail, but none of them makes the next one's trouble worse.
      if (this.#isOpen && clock.monotonicMs() - startMs >= MIN_WATCH_MS) this.#failures = 0;
      throw error;
    }
    const livedMs = clock.monotonicMs() - startMs;
    // A server or proxy that ends each watch at once would otherwise be asked without pause.
    if (events === 0 && livedMs < MIN_WATCH_MS) {
      throw new Error("The server ended the watch at once and without a word");
    }
    this.#failures = 0;
  }

  async #listPages(): Promise<void> {
    const { client, type, selection, signal } = this.#options;
    this.#store.startList();
    const each = (object: KubeObject): void => this.#store.addListed(object as T);
    const list = await client.list(type, { ...selection, signal, each });
    for (const object of list.items) this.#store.addListed(object);
    this.#finishList(list.resourceVersion);
  }

  async #watch(): Promise<number> {
    const { client, type, selection, signal, clock } = this.#options;
    const timeoutSeconds = Math.round(MIN_WATCH_SECONDS * (1 + clock.random()));
    const isStreamingList = this.#resourceVersion === undefined;
    const attempt = new AbortController();
    const stop = (): void => attempt.abort(signal.reason);
    // A signal that is aborted already, as by someone who waited for the list only, calls no listener.
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    let cancelPatience: (() => void) | undefined;
    let isTooSlow = false;
    let events = 0;
    try {
      if (isStreamingList) {
        this.#store.startList();
        cancelPatience = clock.setTimer(() => {
          isTooSlow = true;
          attempt.abort();
        }, STREAMING_LIST_PATIENCE_MS);
      }
      const watch = client.watch(type, {
        ...selection,
        signal: attempt.signal,
        timeoutSeconds,
        ...(isStreamingList
          ? { sendInitialEvents: true, resourceVersion: "" }
          : { resourceVersion: this.#resourceVersion ?? "", onOpen: () => this.#noteOpen() }),
      });
      for await (const event of watch) {
        events++;
        if (this.#take(event)) cancelPatience?.();
      }
      if (this.#resourceVersion === undefined) throw new Error("The server ended the list before it was complete");
      return events;
    } catch (error) {
      if (isTooSlow && !signal.aborted) {
        this.#streams = false;
        throw new Error(`The streaming list was not complete within ${STREAMING_LIST_PATIENCE_MS / 1000} s`, {
          cause: error,
        });
      }
      // A server that was away may come back with an earlier state, where this point in time is none or another one.
      if (isGone(error) || (!this.#isOpen && isConnectionFailure(error))) this.#resourceVersion = undefined;
      if (isStreamingList && (isInvalid(error) || isBadRequest(error))) {
        this.#streams = false;
        return 1;
      }
      throw error;
    } finally {
      cancelPatience?.();
      signal.removeEventListener("abort", stop);
    }
  }

  /** Whether the event completed a streaming list. */
  #take(event: WatchEvent<T>): boolean {
    const { metadata } = event.object;
    const version = metadata?.resourceVersion;
    const isListing = this.#resourceVersion === undefined;
    if (event.type === "BOOKMARK") {
      if (version === undefined) return false;
      if (!isListing) {
        this.#resourceVersion = version;
        return false;
      }
      if (metadata?.annotations?.[INITIAL_EVENTS_END] !== "true") return false;
      this.#finishList(version);
      this.#noteOpen();
      return true;
    }
    if (isListing) {
      if (event.type === "DELETED") this.#store.removeListed(event.object);
      else this.#store.addListed(event.object);
      return false;
    }
    this.#noteOpen();
    if (event.type === "DELETED") this.#store.remove(event.object);
    else this.#store.set(event.object);
    if (version !== undefined) this.#resourceVersion = version;
    return false;
  }

  #finishList(resourceVersion: string): void {
    this.#store.finishList(resourceVersion);
    this.#resourceVersion = resourceVersion;
    this.#setSynced();
  }

  #noteOpen(): void {
    this.#isOpen = true;
    if (this.isConnected) return;
    this.isConnected = true;
    if (this.#lastReported !== undefined) {
      this.#options.logger.info("Watch is back", { kind: this.#options.type.kind });
    }
    this.lastError = undefined;
    this.#lastReported = undefined;
  }

  #noteFailure(error: unknown): void {
    this.#failures++;
    this.isConnected = false;
    this.lastError = error instanceof Error ? error : new Error(String(error));
    const { logger, type } = this.#options;
    if (isGone(error) || isAbort(error)) {
      logger.debug("Watch starts over with a list", { kind: type.kind, reason: errorMessage(error) });
      return;
    }
    // Servers that restart and proxies end watches so. Worth a line for an operator is only that the next one can't be opened.
    const isCut = isK3slbError(error, "kube-answer-cut") || isK3slbError(error, "kube-unreachable");
    if (isCut && this.#failures < FAILURES_BEFORE_WARNING) {
      logger.debug("Watch was cut off; it is opened again", { kind: type.kind, reason: errorMessage(error) });
      return;
    }
    const cause = isK3slbError(error) ? error.code : errorMessage(error);
    if (cause === this.#lastReported) return;
    this.#lastReported = cause;
    const fields = {
      kind: type.kind,
      error: errorMessage(error),
      ...(isK3slbError(error) ? { code: error.code, hint: error.hint } : {}),
    };
    // Kinds that a cluster may lack, such as CRDs that are installed later, are no reason to worry.
    if (isKindMissing(error)) logger.info("Watch waits for the kind to exist", fields);
    else logger.warn("Watch failed; it is tried again", fields);
  }

  #backoffMs(): number {
    const fullMs = Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** Math.min(this.#failures - 1, 20));
    return fullMs * (0.5 + this.#options.clock.random() / 2);
  }
}

const INITIAL_EVENTS_END = "k8s.io/initial-events-end";
const MIN_WATCH_SECONDS = 300;
const MIN_WATCH_MS = 5000;
const STREAMING_LIST_PATIENCE_MS = 30_000;
const FAILURES_BEFORE_WARNING = 4;
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;
