// Objects, their versions and the bounded history that watches start from. Knows nothing of kinds.
// One counter gives all versions, as etcd's revision does.
import type { Json, JsonObject } from "./json.ts";

/** The part of `metadata` that the server itself reads. */
export interface Metadata extends JsonObject {
  name: string;
}

/** One stored object. */
export interface ApiObject extends JsonObject {
  apiVersion: string;
  kind: string;
  metadata: Metadata;
}

/** One change, as watches see it. */
export interface StoreEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly resource: string;
  readonly revision: number;
  readonly object: ApiObject;
  /** The object before; absent for `ADDED`. */
  readonly previous?: ApiObject;
}

/** How many changes are kept for watches that start in the past. */
export const DEFAULT_HISTORY_LENGTH = 20_000;

/** `namespace/name`, or `name`. */
export function objectKey(object: Pick<ApiObject, "metadata">): string {
  const namespace = object.metadata["namespace"];
  return typeof namespace === "string" && namespace !== ""
    ? `${namespace}/${object.metadata.name}`
    : object.metadata.name;
}

/** A text field of `metadata`. */
export function metaText(object: ApiObject, field: string): string {
  const value: Json | undefined = object.metadata[field];
  return typeof value === "string" ? value : "";
}

/** All objects of one server. */
export class Store {
  #revision = 1;
  #objects = new Map<string, Map<string, ApiObject>>();
  #history: StoreEvent[] = [];
  #compacted = 0;
  #listeners = new Set<(event: StoreEvent) => void>();
  readonly #historyLength: number;

  constructor(historyLength: number = DEFAULT_HISTORY_LENGTH) {
    this.#historyLength = historyLength;
  }

  /** Version of the latest change. */
  get revision(): number {
    return this.#revision;
  }

  /** Watches can start after this version, not before. */
  get compactedRevision(): number {
    return this.#compacted;
  }

  /** The object, which must not be changed. */
  get(resource: string, key: string): ApiObject | undefined {
    return this.#objects.get(resource)?.get(key);
  }

  /** All objects of a resource, in the order of their keys. They must not be changed. */
  list(resource: string): ApiObject[] {
    const objects = this.#objects.get(resource);
    if (objects === undefined) return [];
    return [...objects.entries()].sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0).map(([, object]) => object);
  }

  /** All objects of a resource in no order. They must not be changed. */
  values(resource: string): Iterable<ApiObject> {
    return this.#objects.get(resource)?.values() ?? [];
  }

  /** Every resource that has objects. */
  resources(): string[] {
    return [...this.#objects.keys()];
  }

  /** Writes an object and returns it with its new version. */
  put(resource: string, object: ApiObject): ApiObject {
    const revision = ++this.#revision;
    const stored: ApiObject = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
    let objects = this.#objects.get(resource);
    if (objects === undefined) this.#objects.set(resource, objects = new Map());
    const key = objectKey(stored);
    const previous = objects.get(key);
    objects.set(key, stored);
    this.#emit(
      previous === undefined
        ? { type: "ADDED", resource, revision, object: stored }
        : { type: "MODIFIED", resource, revision, object: stored, previous },
    );
    return stored;
  }

  /** Removes an object; its last form carries the version of the removal. */
  remove(resource: string, key: string, last?: ApiObject): ApiObject | undefined {
    const previous = this.#objects.get(resource)?.get(key);
    if (previous === undefined) return undefined;
    this.#objects.get(resource)?.delete(key);
    const revision = ++this.#revision;
    const base = last ?? previous;
    const object: ApiObject = { ...base, metadata: { ...base.metadata, resourceVersion: String(revision) } };
    this.#emit({ type: "DELETED", resource, revision, object, previous });
    return object;
  }

  /** Changes after `revision`, oldest first; nothing if history no longer reaches back so far. */
  since(revision: number): readonly StoreEvent[] | undefined {
    if (revision < this.#compacted) return undefined;
    let low = 0;
    let high = this.#history.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#history[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#history.slice(low);
  }

  /** Forgets history up to now, so that older watches get 410. */
  compact(): void {
    this.#history = [];
    this.#compacted = this.#revision;
  }

  /** Calls `listener` on every change until the returned function is called. */
  subscribe(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #emit(event: StoreEvent): void {
    this.#history.push(event);
    if (this.#history.length > this.#historyLength * 1.25) {
      const gone = this.#history.splice(0, this.#history.length - this.#historyLength);
      this.#compacted = gone.at(-1)?.revision ?? this.#compacted;
    }
    for (const listener of [...this.#listeners]) listener(event);
  }
}
