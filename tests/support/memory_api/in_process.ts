// The in-memory API server as a client of the same process: all rules of reads, writes and watches, without sockets and
// users. Watches end only when their reader ends them, and nothing here waits for real time but the controllers, so that a
// test may move a clock of its own.
import type {
  ApplyOptions,
  CallOptions,
  DeleteOptions,
  KubeClient,
  KubeList,
  ListOptions,
  ObjectKey,
  Patch,
  ResourceType,
  Selection,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from "../../../core/kube/contract.ts";
import { FIELD_MANAGER } from "../../../core/kube/contract.ts";
import { discoverResources, discoverVersions } from "../../../core/kube/discovery.ts";
import { type KubeStatus, type RequestAction, statusError } from "../../../core/kube/errors.ts";
import { requestAction } from "../../../core/kube/request_path.ts";
import type { KubeObject } from "../../../core/kube/types.ts";
import { abortError } from "../../../core/shared/errors.ts";
import { Api } from "./api.ts";
import { type ControllerName, startControllers } from "./controllers/controllers.ts";
import { discover } from "./discovery.ts";
import type { Json } from "./json.ts";
import { listPage } from "./list.ts";
import { addFirstObjects, serveDefinitions } from "./memory_api.ts";
import { RequestCounts } from "./request_counts.ts";
import { type Resource, ResourceTable, storeKey } from "./resources.ts";
import { fieldMatcher, labelMatcher, type Matcher } from "./selectors.ts";
import { DEFAULT_SERVICE_RANGES } from "./service_allocation.ts";
import { StatusError, unknownPath } from "./status_error.ts";
import { type ApiObject, metaText, objectKey, Store } from "./store.ts";
import { Watch } from "./watch.ts";
import type { Target } from "./write_rules.ts";

/** One request, before it is done. */
export interface InProcessRequest {
  readonly verb: "get" | "list" | "watch" | "create" | "update" | "apply" | "patch" | "delete" | "raw";
  /** Plural with the subresource, such as `services/status`; the path for what is no resource. */
  readonly resource: string;
  /** Empty for what is no resource. */
  readonly kind: string;
  /** Empty for requests of many objects. */
  readonly name: string;
}

/** What {@linkcode createInProcess} takes. */
export interface InProcessOptions {
  /** Called before each request; may throw in its place, a {@linkcode StatusError} for what a server would say. */
  readonly onRequest?: (request: InProcessRequest) => void | Promise<void>;
  /**
   * Which controllers run beside it.
   * @default {[]}
   */
  readonly controllers?: readonly ControllerName[];
  /** @default {() => new Date()} */
  readonly now?: () => Date;
}

/** A cluster and its client. */
export interface InProcess {
  readonly client: KubeClient;
  /** Everything stored, for tests that look inside. */
  readonly store: Store;
  /** All objects of a kind, which may be written with no rules but those of storage. */
  objects<T extends KubeObject>(type: ResourceType<T>): Objects<T>;
  /** Ends the controllers. */
  stop(): void;
}

/** The stored objects of one kind. */
export class Objects<T extends KubeObject> {
  readonly #api: Api;
  readonly #resource: Resource;

  constructor(api: Api, resource: Resource) {
    this.#api = api;
    this.#resource = resource;
  }

  /** The objects in the order of their keys; changing them changes nothing. */
  values(): readonly T[] {
    return this.#api.store.list(storeKey(this.#resource)).map((object) => structuredClone(object) as unknown as T);
  }

  /** The object of this name or `namespace/name`; the first if there are many. */
  get(name: string): T | undefined {
    const stored = this.#find(name);
    return stored && structuredClone(stored) as unknown as T;
  }

  /** Stores `object` as somebody else's write would; one that was there keeps its uid. */
  put(object: T): void {
    const { group, version, kind } = this.#resource;
    const next = { ...structuredClone(object), apiVersion: group === "" ? version : `${group}/${version}`, kind };
    const live = this.#api.store.get(storeKey(this.#resource), objectKey(next as unknown as ApiObject));
    const metadata = live === undefined ? object.metadata : {
      uid: metaText(live, "uid"),
      creationTimestamp: metaText(live, "creationTimestamp"),
      ...structuredClone(object.metadata),
    };
    this.#api.putRaw(this.#resource, { ...next, metadata } as unknown as ApiObject);
  }

  /** Takes the object away at once, whoever holds it. */
  remove(name: string): void {
    const stored = this.#find(name);
    if (stored !== undefined) this.#api.store.remove(storeKey(this.#resource), objectKey(stored));
  }

  #find(name: string): ApiObject | undefined {
    const key = storeKey(this.#resource);
    return this.#api.store.get(key, name) ?? this.#api.store.list(key).find(({ metadata }) => metadata.name === name);
  }
}

/** An empty cluster. */
export function createInProcess(options: InProcessOptions = {}): InProcess {
  const { onRequest = () => {}, controllers = [], now = () => new Date() } = options;
  const resources = new ResourceTable();
  const api = new Api({ store: new Store(), resources, now, serviceRanges: DEFAULT_SERVICE_RANGES });
  serveDefinitions(api);
  addFirstObjects(api);
  return {
    client: new InProcessClient(api, onRequest),
    store: api.store,
    objects: (type) => new Objects(api, resourceOf(api, type)),
    stop: startControllers(api, { counts: new RequestCounts(), only: controllers }),
  };
}

/** One request on its way. */
interface Call {
  readonly request: InProcessRequest;
  readonly about: RequestAction;
  readonly signal: AbortSignal | undefined;
}

class InProcessClient implements KubeClient {
  readonly #api: Api;
  readonly #onRequest: (request: InProcessRequest) => void | Promise<void>;

  constructor(api: Api, onRequest: (request: InProcessRequest) => void | Promise<void>) {
    this.#api = api;
    this.#onRequest = onRequest;
  }

  get<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, options: CallOptions = {}): Promise<T> {
    return this.#answer(call("get", type, key, options), () => this.#api.get(this.#target(type, key)));
  }

  async list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}): Promise<KubeList<T>> {
    const page = await this.#answer<{ items: T[]; metadata: { resourceVersion: string } }>(
      call("list", type, { name: "" }, options),
      () =>
        listPage(this.#api.store, {
          ...this.#selection(type, options),
          limit: 0,
          continueToken: "",
          resourceVersion: "",
        }),
    );
    for (const item of page.items) options.each?.(item);
    return { items: options.each === undefined ? page.items : [], resourceVersion: page.metadata.resourceVersion };
  }

  async *watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncGenerator<WatchEvent<T>> {
    const { signal, resourceVersion = "", sendInitialEvents = false } = options;
    const { about } = call("watch", type, { name: "" }, options);
    const events: { readonly type: WatchEvent<T>["type"] | "ERROR"; readonly object: T }[] = [];
    let wake = (): void => {};
    let isOver = false;
    const selection = await this.#answer(call("watch", type, { name: "" }, options), () => null)
      .then(() => this.#selection(type, options));
    const watch = new Watch(
      this.#api.store,
      { ...selection, resourceVersion, sendInitialEvents, allowBookmarks: true },
      {
        write: (line) => {
          events.push(JSON.parse(line));
          wake();
        },
        end: () => {
          isOver = true;
          wake();
        },
      },
    );
    const end = (): void => watch.end();
    signal?.addEventListener("abort", end, { once: true });
    try {
      options.onOpen?.();
      watch.start();
      while (true) {
        if (signal?.aborted) throw abortError();
        const event = events.shift();
        if (event?.type === "ERROR") throw statusError(event.object as KubeStatus, { action: about, httpStatus: 500 });
        if (event !== undefined) yield { type: event.type, object: event.object };
        else if (isOver) return;
        else await new Promise<void>((resolve) => wake = resolve);
      }
    } finally {
      watch.end();
      signal?.removeEventListener("abort", end);
    }
  }

  create<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    return this.#write(
      { verb: "create", type, key: keyOf(object), options },
      (target) => this.#api.create(target, object as unknown as Json),
    );
  }

  update<T extends KubeObject>(type: ResourceType<T>, object: T, options: WriteOptions = {}): Promise<T> {
    return this.#write(
      { verb: "update", type, key: keyOf(object), options },
      (target) => this.#api.update(target, object as unknown as Json),
    );
  }

  apply<T extends KubeObject>(type: ResourceType<T>, object: T, options: ApplyOptions = {}): Promise<T> {
    return this.#write(
      { verb: "apply", type, key: keyOf(object), options },
      (target) => this.#api.patch(target, plain(object), { kind: "apply", force: options.force ?? true }).object,
    );
  }

  patch<T extends KubeObject>(
    type: ResourceType<T>,
    key: ObjectKey,
    change: Patch,
    options: WriteOptions = {},
  ): Promise<T> {
    return this.#write(
      { verb: "patch", type, key, options },
      (target) => this.#api.patch(target, plain(change.body), { kind: change.type }).object,
    );
  }

  async delete(type: ResourceType<KubeObject>, key: ObjectKey, options: DeleteOptions = {}): Promise<void> {
    const { signal: _, timeoutMs: __, dryRun: ___, ...request } = options;
    await this.#write({ verb: "delete", type, key, options }, (target) => this.#api.delete(target, request).object);
  }

  discover(apiVersion: string, options: CallOptions = {}): Promise<readonly ResourceType[]> {
    return discoverResources((path) => this.raw("GET", path, options), apiVersion);
  }

  apiVersions(options: CallOptions = {}): Promise<readonly string[]> {
    return discoverVersions((path) => this.raw("GET", path, options));
  }

  raw<T>(method: "GET" | "POST", path: string, options: CallOptions = {}): Promise<T> {
    const about = { verb: method === "GET" ? "get" : "create", resource: path };
    return this.#answer(
      { request: { verb: "raw", resource: path, kind: "", name: "" }, about, signal: options.signal },
      () => {
        const found = method === "GET" ? discover(path.split("/").slice(1), this.#api.resources) : undefined;
        if (found === undefined) throw unknownPath();
        return found;
      },
    );
  }

  close(): void {}

  #write<T>(
    write: {
      readonly verb: InProcessRequest["verb"];
      readonly type: ResourceType<KubeObject>;
      readonly key: ObjectKey;
      readonly options: WriteOptions;
    },
    run: (target: Target) => unknown,
  ): Promise<T> {
    const { verb, type, key, options } = write;
    return this.#answer(call(verb, type, key, options), () => run(this.#target(type, key, options)));
  }

  async #answer<T>({ request, about, signal }: Call, run: () => unknown): Promise<T> {
    if (signal?.aborted) throw abortError();
    try {
      await this.#onRequest(request);
      return structuredClone(run()) as T;
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      throw statusError(error.toStatus() as KubeStatus, { action: about, httpStatus: error.code });
    }
  }

  #target(type: ResourceType<KubeObject>, key: ObjectKey, options: WriteOptions = {}): Target {
    return {
      resource: resourceOf(this.#api, type),
      namespace: key.namespace ?? "",
      name: key.name,
      user: { name: "admin", groups: ["system:masters"] },
      manager: options.fieldManager ?? FIELD_MANAGER,
      dryRun: options.dryRun ?? false,
      ...(options.subresource === undefined ? {} : { subresource: options.subresource }),
    };
  }

  #selection(
    type: ResourceType<KubeObject>,
    { namespace = "", labelSelector = "", fieldSelector = "" }: Selection,
  ): { readonly resource: Resource; readonly namespace: string; readonly matches: Matcher } {
    const resource = resourceOf(this.#api, type);
    const [labels, fields] = [labelMatcher(labelSelector), fieldMatcher(fieldSelector, resource)];
    return { resource, namespace, matches: (object) => labels(object) && fields(object) };
  }
}

function call(
  verb: InProcessRequest["verb"],
  type: ResourceType<KubeObject>,
  key: ObjectKey,
  options: { readonly subresource?: string; readonly signal?: AbortSignal },
): Call {
  const { subresource, signal } = options;
  const resource = subresource === undefined ? type.plural : `${type.plural}/${subresource}`;
  const about = requestAction(verb === "apply" ? "patch" : verb, type, key.name === "" ? {} : key, subresource);
  return { request: { verb, resource, kind: type.kind, name: key.name }, about, signal };
}

function resourceOf(api: Api, type: ResourceType<KubeObject>): Resource {
  const found = api.resources.find(type.group, type.version, type.plural);
  if (found === undefined) throw unknownPath();
  return found;
}

function keyOf({ metadata }: KubeObject): ObjectKey {
  const { name = "", namespace } = metadata ?? {};
  return { name, ...(namespace === undefined ? {} : { namespace }) };
}

/** As it would come over the wire. */
function plain(body: unknown): Json {
  return JSON.parse(JSON.stringify(body)) as Json;
}
