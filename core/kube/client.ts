// The Kubernetes API over a transport: paths, verbs, bodies and what answers mean.
// Facts: https://kubernetes.io/docs/reference/using-api/api-concepts/.
import type { Clock } from "../runtime/clock.ts";
import { isAbort, isK3slbError } from "../shared/errors.ts";
import { BookmarkPace } from "./bookmark_pace.ts";
import type { ClusterAccess } from "./access/cluster_access.ts";
import { answerError } from "./transport/connection_errors.ts";
import {
  type ApplyOptions,
  type CallOptions,
  type DeleteOptions,
  FIELD_MANAGER,
  type KubeClient,
  type KubeList,
  type ListOptions,
  type ObjectKey,
  type Patch,
  type RawOptions,
  type ResourceType,
  type WatchEvent,
  type WatchOptions,
  type WriteOptions,
} from "./contract.ts";
import { discoverResources, discoverVersions } from "./discovery.ts";
import { type KubeStatus, parseStatus, type RequestAction, statusError } from "./errors.ts";
import { parseJson } from "./json.ts";
import { type ListPage, listPages } from "./list_pages.ts";
import { objectPath, type PathQuery, requestAction } from "./request_path.ts";
import { apiVersionOf } from "./resources.ts";
import { createTransport, type RequestObservation, type Transport } from "./transport/transport.ts";
import type { KubeObject } from "./types.ts";

/** What {@linkcode createKubeClient} takes. */
export interface KubeClientOptions {
  /** Where the API server is, and who asks. */
  readonly access: ClusterAccess;
  /** Time, timers and randomness. */
  readonly clock: Clock;
  /** Sent as `User-Agent`, such as `k3slb/1.2.3 server`. */
  readonly userAgent?: string;
  /** Told about each request, for metrics. */
  readonly onRequest?: (observation: RequestObservation) => void;
  /** Told of each open watch that ends: `ended` in order, or the error's code. */
  readonly onWatchEnd?: (resource: string, reason: string) => void;
  /**
   * Time in milliseconds until a connection must stand.
   * @default {10000}
   */
  readonly connectTimeoutMs?: number;
  /**
   * Largest answer and largest line of a watch, in bytes.
   * @default {33554432}
   */
  readonly maxAnswerBytes?: number;
  /**
   * How much longer than its own end, in milliseconds, a watch may be silent before it counts as dead.
   * @default {30000}
   */
  readonly watchMarginMs?: number;
}

/** A client of the server of `options.access`; connects with the first request. */
export function createKubeClient(options: KubeClientOptions): KubeClient {
  const { userAgent = "k3slb", ...rest } = options;
  return new TransportKubeClient(createTransport({ ...rest, userAgent }), options);
}

class TransportKubeClient implements KubeClient {
  readonly #transport: Transport;
  readonly #options: Pick<KubeClientOptions, "clock" | "watchMarginMs" | "onWatchEnd">;

  constructor(transport: Transport, options: Pick<KubeClientOptions, "clock" | "watchMarginMs" | "onWatchEnd">) {
    this.#transport = transport;
    this.#options = options;
  }

  get outages(): number {
    return this.#transport.outages;
  }

  get<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, options: CallOptions = {}): Promise<T> {
    const about = { action: requestAction("get", type, key), type, path: objectPath(type, key) };
    return this.#call<T>({ method: "GET", ...about, options });
  }

  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<KubeList<T>> {
    const { namespace, each } = options;
    const items: T[] = [];
    const ask = (query: PathQuery): Promise<ListPage<T>> =>
      this.#call({
        method: "GET",
        action: requestAction("list", type, { namespace }),
        type,
        path: objectPath(type, { namespace }, { query }),
        ...(options.isMetadataOnly === true ? { headers: { accept: METADATA_LIST } } : {}),
        options,
      });
    const take = (item: T): void => {
      if (each === undefined) items.push(withType(item, type));
      else each(withType(item, type));
    };
    return { resourceVersion: await listPages(ask, options, take), items };
  }

  async *watch<T extends KubeObject>(
    type: ResourceType<T>,
    options: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const { namespace, sendInitialEvents = false, timeoutSeconds = DEFAULT_WATCH_SECONDS } = options;
    const about = requestAction("watch", type, { namespace });
    const { clock, watchMarginMs = WATCH_MARGIN_MS, onWatchEnd } = this.#options;
    const pace = new BookmarkPace(timeoutSeconds * 1000 + watchMarginMs);
    const stream = await this.#transport.stream({
      method: "GET",
      action: about,
      path: objectPath(type, { namespace }, {
        query: {
          watch: "true",
          allowWatchBookmarks: "true",
          timeoutSeconds: String(timeoutSeconds),
          labelSelector: options.labelSelector,
          fieldSelector: options.fieldSelector,
          resourceVersion: options.resourceVersion,
          ...(sendInitialEvents ? { sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" } : {}),
        },
      }),
      isIdempotent: true,
      timeoutMs: DEFAULT_TIMEOUT_MS,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    }, () => pace.silenceMs);
    if (stream.status !== 200) throw await this.#streamFailure(stream, about);
    options.onOpen?.();
    try {
      for await (const line of stream.lines) {
        if (line.trim() === "") continue;
        const event = this.#parse<WatchLine<T>>(line, { action: about, type });
        if (event.type === "ERROR") {
          throw statusError(event.object as KubeStatus, { action: about, httpStatus: 500 });
        }
        if (event.type === "BOOKMARK") pace.note(clock.monotonicMs());
        yield { type: event.type, object: event.object as T };
      }
      onWatchEnd?.(type.plural, "ended");
    } catch (error) {
      if (!isAbort(error)) onWatchEnd?.(type.plural, isK3slbError(error) ? error.code : "error");
      throw error;
    }
  }

  create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const { namespace, name } = keyOf(object);
    return this.#call<T>({
      method: "POST",
      action: requestAction("create", type, { namespace, name }),
      type,
      path: objectPath(type, { namespace }, { query: writeQuery(options) }),
      body: withType(object, type),
      options,
    });
  }

  update<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    const key = keyOf(object);
    return this.#call<T>({
      method: "PUT",
      action: requestAction("update", type, key, options.subresource),
      type,
      path: objectPath(type, key, { subresource: options.subresource, query: writeQuery(options) }),
      body: withType(object, type),
      options,
    });
  }

  apply<T extends KubeObject>(type: ResourceType<T>, object: T, options: ApplyOptions = {}): Promise<T> {
    const key = keyOf(object);
    return this.#call<T>({
      method: "PATCH",
      action: requestAction("patch", type, key, options.subresource),
      type,
      path: objectPath(type, key, {
        subresource: options.subresource,
        query: { ...writeQuery(options), force: String(options.force ?? true) },
      }),
      // JSON is YAML; the plain name is what servers of every supported version take.
      contentType: "application/apply-patch+yaml",
      body: withType(object, type),
      isIdempotent: true,
      options,
    });
  }

  patch<T extends KubeObject>(
    type: ResourceType<T>,
    key: ObjectKey,
    patch: Patch,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#call<T>({
      method: "PATCH",
      action: requestAction("patch", type, key, options.subresource),
      type,
      path: objectPath(type, key, { subresource: options.subresource, query: writeQuery(options) }),
      contentType: PATCH_CONTENT_TYPES[patch.type],
      body: patch.body,
      isIdempotent: patch.type !== "json",
      options,
    });
  }

  async delete(type: ResourceType<KubeObject>, key: ObjectKey, options: DeleteOptions = {}): Promise<void> {
    await this.#call<unknown>({
      method: "DELETE",
      action: requestAction("delete", type, key),
      path: objectPath(type, key, { query: options.dryRun === true ? { dryRun: "All" } : {} }),
      body: {
        apiVersion: "v1",
        kind: "DeleteOptions",
        propagationPolicy: options.propagationPolicy ?? "Background",
        preconditions: { uid: options.uid, resourceVersion: options.resourceVersion },
        ...(options.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
      },
      options,
    });
  }

  discover(apiVersion: string, options: CallOptions = {}): Promise<readonly ResourceType[]> {
    return discoverResources((path) => this.raw("GET", path, options), apiVersion);
  }

  apiVersions(options: CallOptions = {}): Promise<readonly string[]> {
    return discoverVersions((path) => this.raw("GET", path, options));
  }

  raw<T>(method: "GET" | "POST", path: string, options: RawOptions = {}): Promise<T> {
    const { body, answer = "json", ...rest } = options;
    return this.#call<T>({
      method,
      action: { verb: method === "GET" ? "get" : "create", resource: path.split("?", 1)[0] ?? path },
      path,
      isText: answer === "text",
      ...(body === undefined ? {} : { body: body as object }),
      options: rest,
    });
  }

  close(): void {
    this.#transport.close();
  }

  async #call<A>(call: Call): Promise<A> {
    const { method, action, path, body, options } = call;
    const answer = await this.#transport.request({
      method,
      path,
      action,
      isIdempotent: call.isIdempotent ?? method === "GET",
      timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      headers: {
        ...call.headers,
        ...(body === undefined ? {} : { "content-type": call.contentType ?? "application/json" }),
      },
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    if (answer.status >= 200 && answer.status < 300) {
      return call.isText ? answer.body as A : this.#parse<A>(answer.body, call);
    }
    throw statusError(parseStatus(answer.body), { action, httpStatus: answer.status, body: answer.body });
  }

  async #streamFailure(
    stream: { readonly status: number; readonly lines: AsyncIterable<string> },
    about: RequestAction,
  ): Promise<unknown> {
    const lines: string[] = [];
    for await (const line of stream.lines) {
      if (lines.push(line) >= MAX_FAILURE_LINES) break;
    }
    const body = lines.join("\n");
    return statusError(parseStatus(body), { action: about, httpStatus: stream.status, body });
  }

  #parse<A>(text: string, { action, type }: Pick<Call, "action" | "type">): A {
    try {
      return (type?.keepsIntegers ? parseJson(text) : JSON.parse(text)) as A;
    } catch {
      throw answerError("garbage", `the answer is not JSON; it starts with ${JSON.stringify(text.slice(0, 60))}`, {
        action,
        server: this.#transport.server,
      });
    }
  }
}

interface Call {
  readonly method: string;
  readonly action: RequestAction;
  /** Of the answer, where that is known. */
  readonly type?: ResourceType<KubeObject>;
  readonly path: string;
  readonly body?: object;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: whether the method is GET. */
  readonly isIdempotent?: boolean;
  /** The answer is not JSON. */
  readonly isText?: boolean;
  readonly options: CallOptions;
}

type WatchLine<T> =
  | { readonly type: "ERROR"; readonly object: KubeStatus }
  | { readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; readonly object: T };

function keyOf(object: KubeObject): { readonly name: string; readonly namespace?: string } {
  const { name, namespace, generateName } = object.metadata ?? {};
  return { name: name ?? generateName ?? "", ...(namespace === undefined ? {} : { namespace }) };
}

/** Items of lists come without their type; bodies of writes need one. */
function withType<T extends KubeObject>(object: T, type: ResourceType<T>): T {
  if (object.apiVersion !== undefined && object.kind !== undefined) return object;
  return { ...object, apiVersion: apiVersionOf(type), kind: type.kind };
}

function writeQuery(options: WriteOptions): PathQuery {
  return {
    fieldManager: options.fieldManager ?? FIELD_MANAGER,
    fieldValidation: options.fieldValidation,
    dryRun: options.dryRun === true ? "All" : undefined,
  };
}

const PATCH_CONTENT_TYPES = {
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  json: "application/json-patch+json",
} as const;

const METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_WATCH_SECONDS = 300;
const WATCH_MARGIN_MS = 30_000;
const MAX_FAILURE_LINES = 100;
