// A small API server in memory: objects with versions, list and watch with the selectors that the agent uses, condition
// patches, and failures on demand. It has state: what it says follows from what was written.
import type {
  KubeClient,
  KubeList,
  ListOptions,
  ObjectKey,
  Patch,
  ResourceType,
  WatchEvent,
  WatchOptions,
  WriteOptions,
} from "../../../core/kube/contract.ts";
import { statusError } from "../../../core/kube/errors.ts";
import { objectKey } from "../../../core/kube/object_store.ts";
import type { Condition, KubeObject } from "../../../core/kube/types.ts";

interface StoredEvent {
  readonly plural: string;
  readonly version: number;
  readonly event: WatchEvent<KubeObject>;
}

interface WithStatus extends KubeObject {
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: { readonly conditions?: readonly Condition[] };
}

/** The cluster and its client. */
export class FakeCluster {
  readonly patches: { readonly plural: string; readonly name: string; readonly patch: Patch }[] = [];
  /** Requests (`VERB plural`) that fail, and how often still; `Infinity` for always. */
  readonly failures = new Map<string, { left: number; readonly httpStatus: number }>();
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #events: StoredEvent[] = [];
  readonly #wake = new Set<() => void>();
  #version = 1;

  /** Creates or replaces an object. */
  put(plural: string, object: KubeObject): void {
    const kind = this.#kind(plural);
    const key = objectKey(object);
    const type = kind.has(key) ? "MODIFIED" : "ADDED";
    const metadata = { ...object.metadata, resourceVersion: String(++this.#version) };
    const stored = { ...object, metadata };
    kind.set(key, stored);
    this.#emit(plural, { type, object: stored });
  }

  remove(plural: string, key: string): void {
    const object = this.#kind(plural).get(key);
    if (!object) return;
    this.#kind(plural).delete(key);
    const metadata = { ...object.metadata, resourceVersion: String(++this.#version) };
    this.#emit(plural, { type: "DELETED", object: { ...object, metadata } });
  }

  get<T extends KubeObject>(plural: string, key: string): T | undefined {
    return this.#kind(plural).get(key) as T | undefined;
  }

  condition(plural: string, key: string, type: string): Condition | undefined {
    return this.get<WithStatus>(plural, key)?.status?.conditions?.find((one) => one.type === type);
  }

  client(): KubeClient {
    const missing = (): never => {
      throw new TypeError("The fake cluster doesn't have this call");
    };
    return {
      get: missing,
      create: missing,
      update: missing,
      apply: missing,
      delete: missing,
      discover: missing,
      apiVersions: missing,
      raw: missing,
      close: () => {},
      list: <T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}) =>
        Promise.resolve().then(() => this.#list(type, options)),
      watch: <T extends KubeObject>(type: ResourceType<T>, options: WatchOptions) => this.#watch(type, options),
      patch: <T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patch: Patch, options?: WriteOptions) =>
        Promise.resolve().then(() => this.#patch(type, key, { patch, options })),
    };
  }

  #list<T extends KubeObject>(type: ResourceType<T>, options: ListOptions): KubeList<T> {
    this.#fail("list", type.plural);
    const items = [...this.#kind(type.plural).values()].filter((object) => selects(object, options)) as T[];
    return { items, resourceVersion: String(this.#version) };
  }

  async *#watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>> {
    this.#fail("watch", type.plural);
    options.onOpen?.();
    let seen = Number(options.resourceVersion === "" ? this.#version : options.resourceVersion);
    if (options.sendInitialEvents) {
      seen = this.#version;
      for (const object of this.#list(type, options).items) yield { type: "ADDED", object };
      const annotations = { "k8s.io/initial-events-end": "true" };
      const bookmark: KubeObject = { metadata: { resourceVersion: String(seen), annotations } };
      yield { type: "BOOKMARK", object: bookmark as T };
    }
    while (!options.signal?.aborted) {
      const next = this.#events.filter((one) => one.version > seen);
      for (const { plural, version, event } of next) {
        seen = version;
        if (plural === type.plural && selects(event.object, options)) yield event as WatchEvent<T>;
      }
      if (next.length === 0) await this.#nextEvent(options.signal);
    }
  }

  async #nextEvent(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake.add(resolve);
    signal?.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    this.#wake.delete(resolve);
  }

  #patch<T extends KubeObject>(
    type: ResourceType<T>,
    key: ObjectKey,
    { patch, options }: { readonly patch: Patch; readonly options: WriteOptions | undefined },
  ): T {
    this.#fail("patch", type.plural);
    const before = this.get<WithStatus>(type.plural, objectKey({ metadata: key }));
    const action = { verb: "patch", resource: type.plural, name: key.name };
    if (!before) throw statusError({ reason: "NotFound" }, { action, httpStatus: 404 });
    if (patch.type !== "strategic" || options?.subresource !== "status") throw new TypeError("Only status patches");
    const body = patch.body as WithStatus;
    if (body.metadata?.uid !== undefined && body.metadata.uid !== before.metadata?.uid) {
      throw statusError({ reason: "Conflict" }, { action, httpStatus: 409 });
    }
    this.patches.push({ plural: type.plural, name: key.name, patch });
    const conditions = new Map((before.status?.conditions ?? []).map((one) => [one.type, one]));
    for (const one of body.status?.conditions ?? []) {
      if ("$patch" in one) conditions.delete(one.type);
      else conditions.set(one.type, { ...conditions.get(one.type), ...one });
    }
    this.put(
      type.plural,
      { ...before, status: { ...before.status, conditions: [...conditions.values()] } } as KubeObject,
    );
    return this.get<T>(type.plural, objectKey(before)) as T;
  }

  #kind(plural: string): Map<string, KubeObject> {
    const kind = this.#objects.get(plural) ?? new Map<string, KubeObject>();
    this.#objects.set(plural, kind);
    return kind;
  }

  #emit(plural: string, event: WatchEvent<KubeObject>): void {
    this.#events.push({ plural, version: this.#version, event });
    for (const wake of this.#wake) wake();
  }

  #fail(verb: string, plural: string): void {
    const failure = this.failures.get(`${verb} ${plural}`);
    if (!failure || failure.left <= 0) return;
    failure.left--;
    throw statusError({}, { action: { verb, resource: plural }, httpStatus: failure.httpStatus });
  }
}

function selects(object: KubeObject, options: ListOptions): boolean {
  const { metadata, spec } = object as WithStatus;
  if (options.namespace !== undefined && metadata?.namespace !== options.namespace) return false;
  const fields: Record<string, unknown> = {
    "metadata.name": metadata?.name,
    "spec.nodeName": spec?.["nodeName"],
    "spec.type": spec?.["type"],
  };
  return matches(options.fieldSelector, fields) && matches(options.labelSelector, metadata?.labels ?? {});
}

/** `key=value` and `key`, separated by commas, or one `key in (a,b)`. */
function matches(selector: string | undefined, values: Readonly<Record<string, unknown>>): boolean {
  const [, member = "", list = ""] = /^(\S+) in \((.*)\)$/.exec(selector ?? "") ?? [];
  if (member !== "") return list.split(",").includes(String(values[member]));
  return (selector ?? "").split(",").filter((term) => term !== "").every((term) => {
    const [key = "", value] = term.split("=");
    return value === undefined ? key in values : values[key] === value;
  });
}
