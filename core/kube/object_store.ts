// Objects by key with their versions, and what a complete list changes in them. No I/O.
import { objectKey } from "./request_path.ts";
import type { KubeObject } from "./types.ts";

/** One change of an object: `before` absent = added, `after` absent = removed. */
export interface ObjectChange<T> {
  readonly before: T | undefined;
  readonly after: T | undefined;
}

/** One change of a stored object. */
export interface StoreChange<T> extends ObjectChange<T> {
  /** `namespace/name`, or `name` for cluster-scoped objects. */
  readonly key: string;
}

/** What an {@linkcode ObjectStore} takes. */
export interface ObjectStoreOptions<T> {
  readonly keep: (object: T) => T | undefined;
  readonly onChange: (change: StoreChange<T>) => void;
  /** Told what `keep` or `onChange` threw. */
  readonly onFault: (error: unknown) => void;
}

/** Less than, equal to or greater than 0, as `a` is older than, the same as or newer than `b`; 1 if they cannot be compared. */
export function compareResourceVersions(a: string | undefined, b: string | undefined): number {
  if (a === b) return 0;
  if (a === undefined || b === undefined || !DECIMAL_REGEXP.test(a) || !DECIMAL_REGEXP.test(b)) return 1;
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : 1;
}

/** The stored objects of one kind. */
export class ObjectStore<T extends KubeObject> {
  readonly #options: ObjectStoreOptions<T>;
  readonly #objects = new Map<string, T>();
  /** Objects of the list under way. */
  #listed: Map<string, T> | undefined;
  /** Versions of what was merged during the list under way, which an older part of the list must not undo. */
  readonly #merged = new Map<string, string>();
  /** Versions of the last deletions, so that a list that is older than a deletion does not bring the object back. */
  readonly #deletions = new Map<string, string>();

  constructor(options: ObjectStoreOptions<T>) {
    this.#options = options;
  }

  get objects(): ReadonlyMap<string, T> {
    return this.#objects;
  }

  /** Stores an added or modified object. */
  set(object: T): void {
    const key = objectKey(object);
    const before = this.#objects.get(key);
    if (before !== undefined && compareResourceVersions(versionOf(object), versionOf(before)) <= 0) return;
    this.#deletions.delete(key);
    this.#replace(key, before, this.#kept(object));
  }

  /** Removes a deleted object; `object` carries the version of the deletion. */
  remove(object: T): void {
    const key = objectKey(object);
    const before = this.#objects.get(key);
    if (before !== undefined && compareResourceVersions(versionOf(object), versionOf(before)) < 0) return;
    this.#noteDeletion(key, versionOf(object));
    this.#replace(key, before, undefined);
  }

  /** Stores objects of a list made elsewhere, where they are newer than what is known. */
  merge(objects: Iterable<T>): void {
    for (const object of objects) {
      const key = objectKey(object);
      const version = versionOf(object);
      const deletion = this.#deletions.get(key);
      if (deletion !== undefined && compareResourceVersions(version, deletion) <= 0) continue;
      const listed = this.#listed?.get(key);
      if (
        this.#listed !== undefined && (listed === undefined || compareResourceVersions(version, versionOf(listed)) > 0)
      ) {
        const kept = this.#kept(object);
        if (kept === undefined) this.#listed.delete(key);
        else this.#listed.set(key, kept);
        if (version !== undefined) this.#merged.set(key, version);
      }
      this.set(object);
    }
  }

  /** A complete list begins; the stored objects stay as they are until it ends. */
  startList(): void {
    this.#listed = new Map();
    this.#merged.clear();
  }

  addListed(object: T): void {
    const key = objectKey(object);
    const merged = this.#merged.get(key);
    if (merged !== undefined && compareResourceVersions(versionOf(object), merged) <= 0) return;
    const kept = this.#kept(object);
    if (kept === undefined) this.#listed?.delete(key);
    else this.#listed?.set(key, kept);
  }

  removeListed(object: T): void {
    this.#listed?.delete(objectKey(object));
  }

  /**
   * The list is complete and taken whole: the server is asked for its newest state, so what differs is out of date here, also where
   * the versions here are higher, as after a restore of etcd. What was merged meanwhile counts as listed.
   */
  finishList(listVersion: string): void {
    const listed = this.#listed ?? new Map<string, T>();
    this.#listed = undefined;
    this.#merged.clear();
    for (const [key, version] of [...this.#deletions]) {
      if (compareResourceVersions(version, listVersion) > 0) this.#deletions.delete(key);
    }
    for (const [key, before] of [...this.#objects]) if (!listed.has(key)) this.#replace(key, before, undefined);
    for (const [key, after] of listed) {
      const before = this.#objects.get(key);
      if (before === undefined || versionOf(before) !== versionOf(after)) this.#replace(key, before, after);
    }
  }

  #kept(object: T): T | undefined {
    try {
      return this.#options.keep(object);
    } catch (error) {
      this.#options.onFault(error);
      return undefined;
    }
  }

  #replace(key: string, before: T | undefined, after: T | undefined): void {
    if (before === undefined && after === undefined) return;
    if (after === undefined) this.#objects.delete(key);
    else this.#objects.set(key, after);
    try {
      this.#options.onChange({ key, before, after });
    } catch (error) {
      this.#options.onFault(error);
    }
  }

  #noteDeletion(key: string, version: string | undefined): void {
    if (version === undefined) return;
    this.#deletions.delete(key);
    this.#deletions.set(key, version);
    if (this.#deletions.size <= MAX_DELETIONS) return;
    const [oldest] = this.#deletions.keys();
    if (oldest !== undefined) this.#deletions.delete(oldest);
  }
}

function versionOf(object: KubeObject): string | undefined {
  return object.metadata?.resourceVersion;
}

const DECIMAL_REGEXP = /^[1-9][0-9]*$/;
const MAX_DELETIONS = 1000;
