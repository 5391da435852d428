// Kubernetes Events: what happened to an object, for `kubectl describe`. Repeated ones are counted, floods are dropped.
// Facts: client-go's record package (aggregation window of 10 minutes, burst of 25 per object) and core/v1 Event.
import { apiTime, type Clock } from "../runtime/clock.ts";
import { errorMessage } from "../shared/errors.ts";
import type { Logger } from "../shared/log.ts";
import { present } from "../shared/values.ts";
import { visibleLine } from "../shared/visible_text.ts";
import type { KubeClient } from "./contract.ts";
import { EventWrites } from "./event_writes.ts";
import { isForbidden, isNamespaceTerminating, isNotFound } from "./errors.ts";
import { EVENTS } from "./resources.ts";
import type { KubeEvent, KubeObject } from "./types.ts";

/** The object that an Event is about. */
export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  /** Absent for cluster-scoped objects, whose Events go to `default`. */
  readonly namespace?: string;
  readonly name: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** What happened. */
export interface EventContent {
  readonly type: "Normal" | "Warning";
  /** Stable name in CamelCase. */
  readonly reason: string;
  /** Written as one line, control characters shown, cut at 1024 bytes. */
  readonly message: string;
  /**
   * One Event for this reason, whose message is the last one, in place of one Event a message: for errors that say something else each time.
   * @default {false}
   */
  readonly isUpdated?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** What {@linkcode createEventRecorder} takes. */
export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** Who reports, such as `k3slb-agent`. */
  readonly component: string;
  /** Name of the node. */
  readonly host: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Writes Events; those of one namespace in the order of the calls. */
export interface EventRecorder {
  /** Never throws and never waits. */
  record(reference: ObjectReference, content: EventContent): void;
  /** Writes what is still to be written. Resolves, and never rejects, when it is done or `signal` is aborted. */
  flush(signal?: AbortSignal): Promise<void>;
}

/** A recorder that writes through `options.client`. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  return new QueuedEventRecorder(options);
}

/** The reference to `object`, which must have its `apiVersion` and `kind`. */
export function referenceTo(object: KubeObject): ObjectReference {
  const { apiVersion = "", kind = "", metadata } = object;
  const { namespace, name = "", uid, resourceVersion } = metadata ?? {};
  return present({ apiVersion, kind, name, namespace, uid, resourceVersion });
}

/** `text` cut to `maxBytes` of UTF-8 without splitting a character; a cut text ends in `...`. */
export function cutToBytes(text: string, maxBytes: number): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= maxBytes) return text;
  let end = maxBytes - ELLIPSIS.length;
  while (end > 0 && ((bytes[end] ?? 0) & UTF8_CONTINUATION_MASK) === UTF8_CONTINUATION) end--;
  return new TextDecoder().decode(bytes.subarray(0, end)) + ELLIPSIS;
}

/** One Event that repeats. */
interface Series {
  readonly reference: ObjectReference;
  content: EventContent;
  /** Name of the Event on the server. */
  readonly name: string;
  readonly firstMs: number;
  count: number;
  lastMs: number;
  writtenMs: number;
  /** Whether `count` is ahead of what is written. */
  isDirty: boolean;
  cancelTimer: (() => void) | undefined;
}

interface Bucket {
  tokens: number;
  filledMs: number;
}

class QueuedEventRecorder implements EventRecorder {
  readonly #options: EventRecorderOptions;
  /** Least recently used first. */
  readonly #series = new Map<string, Series>();
  readonly #buckets = new Map<string, Bucket>();
  readonly #writes: EventWrites;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#writes = new EventWrites(options.clock);
  }

  record(reference: ObjectReference, given: EventContent): void {
    // Bounded before it is kept: foreign words may be as large as the object that they come from.
    const message = cutToBytes(visibleLine(given.message.slice(0, 2 * MAX_MESSAGE_BYTES)), MAX_MESSAGE_BYTES);
    const content = { ...given, message };
    const nowMs = this.#options.clock.now();
    const object = `${reference.kind}/${reference.namespace ?? ""}/${reference.name}/${reference.uid ?? ""}`;
    const key = `${object}/${content.type}/${content.reason}/${content.isUpdated ? "" : content.message}`;
    const series = this.#series.get(key);
    if (series !== undefined && nowMs - series.lastMs < SERIES_WINDOW_MS) {
      series.content = content;
      return this.#repeat(key, series, nowMs);
    }
    if (!this.#takeToken(object, nowMs) || !this.#writes.hasRoom(namespaceOf(reference))) {
      this.#options.logger.debug("Event is dropped, there are too many", { object, reason: content.reason });
      return;
    }
    this.#start(key, { reference, content }, nowMs);
  }

  async flush(signal?: AbortSignal): Promise<void> {
    for (const series of this.#series.values()) {
      series.cancelTimer?.();
      series.cancelTimer = undefined;
      if (series.isDirty) this.#enqueue(series, () => this.#writeCount(series));
    }
    const aborted = Promise.withResolvers<void>();
    if (signal?.aborted) return;
    signal?.addEventListener("abort", () => aborted.resolve(), { once: true });
    await Promise.race([this.#writes.idle(), aborted.promise]);
  }

  #start(key: string, event: { reference: ObjectReference; content: EventContent }, nowMs: number): void {
    this.#series.get(key)?.cancelTimer?.();
    this.#series.delete(key);
    const suffix = Math.floor(nowMs * 4096 + this.#options.clock.random() * 4096).toString(16);
    const series: Series = {
      ...event,
      name: `${event.reference.name.slice(0, MAX_NAME_LENGTH - suffix.length - 1)}.${suffix}`,
      firstMs: nowMs,
      count: 1,
      lastMs: nowMs,
      writtenMs: nowMs,
      isDirty: false,
      cancelTimer: undefined,
    };
    this.#series.set(key, series);
    this.#forgetOldest();
    this.#enqueue(series, () => this.#create(series));
  }

  #repeat(key: string, series: Series, nowMs: number): void {
    this.#series.delete(key);
    this.#series.set(key, series);
    series.count++;
    series.lastMs = nowMs;
    series.isDirty = true;
    if (series.cancelTimer !== undefined) return;
    const delayMs = Math.max(0, series.writtenMs + WRITE_INTERVAL_MS - nowMs);
    series.writtenMs = nowMs + delayMs;
    if (delayMs === 0) return this.#enqueue(series, () => this.#writeCount(series));
    series.cancelTimer = this.#options.clock.setTimer(() => {
      series.cancelTimer = undefined;
      this.#enqueue(series, () => this.#writeCount(series));
    }, delayMs);
  }

  #enqueue(series: Series, write: () => Promise<void>): void {
    this.#writes.add(
      namespaceOf(series.reference),
      () => write().catch((error: unknown) => this.#report(series, error)),
    );
  }

  async #create(series: Series): Promise<void> {
    const { reference, content } = series;
    const { component, host } = this.#options;
    const namespace = namespaceOf(reference);
    series.isDirty = false;
    const event: KubeEvent = {
      apiVersion: "v1",
      kind: "Event",
      metadata: {
        ...present({ annotations: content.annotations && { ...content.annotations } }),
        namespace,
        name: series.name,
      },
      involvedObject: { ...reference },
      type: content.type,
      reason: content.reason,
      message: content.message,
      count: series.count,
      firstTimestamp: apiTime(series.firstMs),
      lastTimestamp: apiTime(series.lastMs),
      source: { component, host },
      reportingComponent: component,
      reportingInstance: host,
    };
    await this.#options.client.create(EVENTS, event, { timeoutMs: TIMEOUT_MS });
  }

  async #writeCount(series: Series): Promise<void> {
    if (!series.isDirty) return;
    series.isDirty = false;
    const { message, isUpdated = false } = series.content;
    const body = {
      count: series.count,
      lastTimestamp: apiTime(series.lastMs),
      ...(isUpdated ? { message } : {}),
    };
    const key = { namespace: namespaceOf(series.reference), name: series.name };
    try {
      await this.#options.client.patch(EVENTS, key, { type: "merge", body }, { timeoutMs: TIMEOUT_MS });
    } catch (error) {
      // The server forgets Events after an hour, or it never had this one.
      if (!isNotFound(error)) throw error;
      await this.#create(series);
    }
  }

  #report(series: Series, error: unknown): void {
    const { reference, content } = series;
    const fields = {
      object: `${reference.kind} ${namespaceOf(reference)}/${reference.name}`,
      reason: content.reason,
      error: errorMessage(error),
    };
    // Nothing that an operator should act on: a missing right is said by the call that matters, a dying namespace takes no Events.
    if (isForbidden(error) || isNamespaceTerminating(error) || isNotFound(error)) {
      this.#options.logger.debug("Event was not accepted", fields);
    } else {
      this.#options.logger.warn("Event was not written", fields);
    }
  }

  #takeToken(object: string, nowMs: number): boolean {
    const bucket = this.#buckets.get(object) ?? { tokens: BUCKET_SIZE, filledMs: nowMs };
    this.#buckets.delete(object);
    this.#buckets.set(object, bucket);
    if (this.#buckets.size > MAX_TRACKED) this.#buckets.delete([...this.#buckets.keys()][0] ?? "");
    bucket.tokens = Math.min(BUCKET_SIZE, bucket.tokens + (nowMs - bucket.filledMs) / BUCKET_REFILL_MS);
    bucket.filledMs = nowMs;
    if (bucket.tokens < 1) return false;
    bucket.tokens--;
    return true;
  }

  #forgetOldest(): void {
    if (this.#series.size <= MAX_TRACKED) return;
    const [oldest] = this.#series;
    if (oldest === undefined) return;
    const [key, series] = oldest;
    series.cancelTimer?.();
    if (series.isDirty) this.#enqueue(series, () => this.#writeCount(series));
    this.#series.delete(key);
  }
}

function namespaceOf(reference: ObjectReference): string {
  return reference.namespace ?? "default";
}

const ELLIPSIS = "...";
const UTF8_CONTINUATION_MASK = 0xc0;
const UTF8_CONTINUATION = 0x80;
const MAX_MESSAGE_BYTES = 1024;
const MAX_NAME_LENGTH = 253;
const SERIES_WINDOW_MS = 10 * 60_000;
const WRITE_INTERVAL_MS = 60_000;
const BUCKET_SIZE = 25;
const BUCKET_REFILL_MS = 5 * 60_000;
const MAX_TRACKED = 1000;
/** Nobody decides anything by an Event: one that a webhook holds up is given up. */
const TIMEOUT_MS = 10_000;
