// What the rest of the program needs of a Kubernetes API server: one small interface, implemented once over HTTPS.
// Semantics are those of the API itself (https://kubernetes.io/docs/reference/using-api/api-concepts/). Pure.
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../shared/log.ts";
import type { KubeObject, UnknownObject } from "./types.ts";

/** The name under which this program owns fields in server-side apply and in updates. */
export const FIELD_MANAGER = "k3slb";

/**
 * One kind of object as the API addresses it.
 *
 * @typeParam T The object's type on the wire; it exists for the compiler only.
 */
export interface ResourceType<T extends KubeObject = UnknownObject> {
  /** API group, empty for the core group. */
  readonly group: string;
  /** API version inside the group. */
  readonly version: string;
  /** Kind in objects. */
  readonly kind: string;
  /** Plural name in the URL, such as `endpointslices`. */
  readonly plural: string;
  /** Whether its objects are in namespaces. */
  readonly namespaced: boolean;
  /** Verbs the server says it has; absent for types that are known beforehand. */
  readonly verbs?: readonly string[];
  /** Its objects hold values of the user's own: integers that a number can't hold keep their digits. */
  readonly keepsIntegers?: true;
  /** Never set; ties the type to its objects. */
  readonly _object?: T;
}

/** Where one object is. Cluster-scoped objects have no namespace. */
export interface ObjectKey {
  /** Absent for cluster-scoped objects. */
  readonly namespace?: string;
  /** Name of the object. */
  readonly name: string;
}

/** What every call takes. */
export interface CallOptions {
  /** Ends the request. */
  readonly signal?: AbortSignal;
  /**
   * Time in milliseconds until an answer must be complete.
   * @default {30000}
   */
  readonly timeoutMs?: number;
}

/** What a list can be narrowed by. */
export interface Selection {
  /** Only this namespace; all namespaces if absent. */
  readonly namespace?: string;
  /** As kubectl's `-l` takes it. */
  readonly labelSelector?: string;
  /** As kubectl's `--field-selector` takes it. */
  readonly fieldSelector?: string;
}

/** What a list takes. */
export interface ListOptions extends CallOptions, Selection {
  /**
   * Objects per page; the pages are put together. Pages that are too large to be read are asked for in smaller parts.
   * @default {500}
   */
  readonly pageSize?: number;
  /** `"0"` allows an answer from the server's cache, which may come as one page. */
  readonly resourceVersion?: string;
  /** Items with nothing but their metadata, where their contents are large. */
  readonly isMetadataOnly?: boolean;
  /** Given each item as it comes, in place of `items`, so that no more than a page is held. */
  readonly each?: (item: KubeObject) => void;
}

/** What a watch takes. */
export interface WatchOptions extends Selection {
  /** Ends the request. */
  readonly signal?: AbortSignal;
  /** Where to start; with `sendInitialEvents` empty. */
  readonly resourceVersion?: string;
  /** Ask for the present objects as `ADDED` events first, ended by a bookmark (streaming list, Kubernetes 1.34 and later by default). */
  readonly sendInitialEvents?: boolean;
  /** Seconds after which the server ends the watch. */
  readonly timeoutSeconds?: number;
  /** Called once, when the server has accepted the watch. */
  readonly onOpen?: () => void;
}

/** A list and the point in time that it shows. */
export interface KubeList<T> {
  /** The objects. */
  readonly items: readonly T[];
  /** The state that the list shows. */
  readonly resourceVersion: string;
}

/** One line of a watch. An `ERROR` line is thrown instead, as a {@linkcode K3slbError}. */
export interface WatchEvent<T> {
  /** What happened. */
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  /** The object as it is, or was last. */
  readonly object: T;
}

/** What a write takes. */
export interface WriteOptions extends CallOptions {
  /** Write only this part, such as `status`. */
  readonly subresource?: string;
  /** Ask the server what it would do, and do nothing. */
  readonly dryRun?: boolean;
  /**
   * Who owns the written fields.
   * @default {"k3slb"}
   */
  readonly fieldManager?: string;
  /** How the server treats unknown and duplicate fields. */
  readonly fieldValidation?: "Strict" | "Warn" | "Ignore";
}

/** What server-side apply takes. */
export interface ApplyOptions extends WriteOptions {
  /**
   * Take fields over from other managers.
   * @default {true}
   */
  readonly force?: boolean;
}

/** A change to an object, in one of the three forms that the API takes. */
export type Patch =
  | { readonly type: "merge"; readonly body: object }
  | { readonly type: "strategic"; readonly body: object }
  | { readonly type: "json"; readonly body: readonly object[] };

/** What deletion takes. */
export interface DeleteOptions extends CallOptions {
  /**
   * What happens to objects that the deleted one owns.
   * @default {"Background"}
   */
  readonly propagationPolicy?: "Background" | "Foreground" | "Orphan";
  /** Delete only the object with this uid. */
  readonly uid?: string | undefined;
  /** Delete only while the object is in this version. */
  readonly resourceVersion?: string;
  /** Seconds that a Pod gets to end; `0` removes it at once, as kubelet does when all has ended. The object's own if absent. */
  readonly gracePeriodSeconds?: number;
  /** Checks the request and writes nothing. */
  readonly dryRun?: boolean;
}

/** What a request in the API's own terms takes. */
export interface RawOptions extends CallOptions {
  /** Sent as JSON. */
  readonly body?: unknown;
  /**
   * `text` returns the answer as it is, such as a pod's log; `T` must then be `string`.
   * @default {"json"}
   */
  readonly answer?: "json" | "text";
}

/**
 * A Kubernetes API server.
 *
 * Every method throws a {@linkcode K3slbError} that says which object, what the server said and what to do; ask it with
 * the questions of `errors.ts` (`isNotFound`, `isConflict`). Objects passed in are never changed.
 */
export interface KubeClient {
  /**
   * How often the server could not be reached since this client was made. It may come back with an earlier state, as after a restore of
   * etcd: a point in time from before says nothing then, and a watch that goes on from it stays silent.
   * @default {0}
   */
  readonly outages?: number;
  /** One object. */
  get<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, options?: CallOptions): Promise<T>;
  /** All objects of a kind, or those selected. */
  list<T extends KubeObject>(type: ResourceType<T>, options?: ListOptions): Promise<KubeList<T>>;
  /** Ends without error when the server ends the watch; a half-open connection is noticed and thrown. */
  watch<T extends KubeObject>(type: ResourceType<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  /** Makes an object that must not be there. */
  create<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  /** Replaces the object; a `resourceVersion` inside makes it conditional. */
  update<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T>;
  /** Server-side apply; creates the object if it is missing. */
  apply<T extends KubeObject>(type: ResourceType<T>, object: T, options?: ApplyOptions): Promise<T>;
  /** Changes a part of an object. */
  patch<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patch: Patch, options?: WriteOptions): Promise<T>;
  /** An object that is already gone is a {@linkcode K3slbError} that `isNotFound` answers true to. */
  delete(type: ResourceType<KubeObject>, key: ObjectKey, options?: DeleteOptions): Promise<void>;
  /** Every resource of one group and version, such as `apps/v1`; empty if the server does not have it. Subresources are left out. */
  discover(apiVersion: string, options?: CallOptions): Promise<readonly ResourceType[]>;
  /** Every `group/version` that the server has, in its order of preference. */
  apiVersions(options?: CallOptions): Promise<readonly string[]>;
  /** One request in the API's own terms, for what has no method here, such as `/version`. */
  raw<T>(method: "GET" | "POST", path: string, options?: RawOptions): Promise<T>;
  /** Closes every connection. Safe to call twice. */
  close(): void;
}

/** What every part that works with the cluster for long is handed. */
export interface Surroundings {
  /** The cluster. */
  readonly client: KubeClient;
  /** Time, timers and randomness. */
  readonly clock: Clock;
  /** Takes what an operator may want to read. */
  readonly logger: Logger;
  /** Ends the part. */
  readonly signal: AbortSignal;
}
