// Watches: what one sees of the store's changes through its selectors, from which version, ended how
// (https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes).
import type { Json, JsonObject } from "./json.ts";
import { inVersion } from "./api.ts";
import { apiVersion, type Resource, storeKey } from "./resources.ts";
import type { Matcher } from "./selectors.ts";
import { expired } from "./status_error.ts";
import type { ApiObject, Store, StoreEvent } from "./store.ts";

/** What a watch asks for. */
export interface WatchRequest {
  readonly resource: Resource;
  /** Empty for all namespaces. */
  readonly namespace: string;
  readonly matches: Matcher;
  /** Absent or `"0"`: the present objects first. */
  readonly resourceVersion: string;
  readonly sendInitialEvents: boolean;
  readonly allowBookmarks: boolean;
  /** The form in which an object is written. */
  readonly show?: (object: ApiObject) => JsonObject;
}

/** Where a watch writes its lines. */
export interface WatchSink {
  write(line: string): void;
  end(): void;
}

function line(type: string, object: Json): string {
  return `${JSON.stringify({ type, object })}\n`;
}

/** One running watch. */
export class Watch {
  readonly #store: Store;
  readonly #request: WatchRequest;
  readonly #sink: WatchSink;
  #stopListening: () => void = () => {};
  #isOver = false;

  constructor(store: Store, request: WatchRequest, sink: WatchSink) {
    this.#store = store;
    this.#request = request;
    this.#sink = sink;
  }

  /** Writes the first events and follows the store from there. */
  start(): void {
    const { resourceVersion, sendInitialEvents } = this.#request;
    const isFromNow = sendInitialEvents || resourceVersion === "" || resourceVersion === "0";
    if (isFromNow) {
      for (const object of this.#store.list(storeKey(this.#request.resource))) {
        if (this.#sees(object)) this.#write("ADDED", object);
      }
      if (sendInitialEvents && this.#request.allowBookmarks) this.bookmark({ "k8s.io/initial-events-end": "true" });
    } else {
      const missed = this.#store.since(Number(resourceVersion));
      if (missed === undefined) {
        this.fail(resourceVersion);
        return;
      }
      for (const event of missed) this.#follow(event);
    }
    this.#stopListening = this.#store.subscribe((event) => this.#follow(event));
  }

  /** Tells the client how far it has seen, if it asked for that. */
  bookmark(annotations?: JsonObject): void {
    if (!this.#request.allowBookmarks || this.#isOver) return;
    const metadata: JsonObject = { resourceVersion: String(this.#store.revision), creationTimestamp: null };
    if (annotations !== undefined) metadata["annotations"] = annotations;
    const { resource } = this.#request;
    this.#sink.write(line("BOOKMARK", { kind: resource.kind, apiVersion: apiVersion(resource), metadata }));
  }

  /** Ends the watch with the event for a version that is too old. */
  fail(resourceVersion: string = this.#request.resourceVersion): void {
    if (this.#isOver) return;
    const error = expired(`too old resource version: ${resourceVersion || "0"} (${this.#store.compactedRevision})`);
    this.#sink.write(line("ERROR", error.toStatus()));
    this.end();
  }

  /** Ends the watch. Safe to call twice. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopListening();
    this.#sink.end();
  }

  #sees(object: ApiObject): boolean {
    const { namespace, matches } = this.#request;
    return (namespace === "" || object.metadata["namespace"] === namespace) && matches(object);
  }

  #follow(event: StoreEvent): void {
    if (this.#isOver || event.resource !== storeKey(this.#request.resource)) return;
    const saw = event.previous !== undefined && this.#sees(event.previous);
    const sees = event.type !== "DELETED" && this.#sees(event.object);
    if (sees) this.#write(saw ? "MODIFIED" : "ADDED", event.object);
    else if (saw && event.type === "DELETED") this.#write("DELETED", event.object);
    else if (saw && event.previous !== undefined) {
      // The object left the selection: its last selected form, at the version of the change.
      const { previous } = event;
      this.#write("DELETED", {
        ...previous,
        metadata: { ...previous.metadata, resourceVersion: String(event.revision) },
      });
    }
  }

  #write(type: string, object: ApiObject): void {
    const { resource, show = (it: ApiObject): JsonObject => it } = this.#request;
    this.#sink.write(line(type, show(inVersion(object, resource))));
  }
}
