// One loop per controller: a set of keys, one reconcile per key, each over the present state. One that meets a conflict
// is made again.
import type { Api } from "../api.ts";
import type { PatchKind, Target } from "../write_rules.ts";
import type { User } from "../authentication.ts";
import type { Json } from "../json.ts";
import type { RequestCounts } from "../request_counts.ts";
import { StatusError } from "../status_error.ts";
import type { ApiObject, StoreEvent } from "../store.ts";

/** What a controller does. */
export interface LoopParts {
  /** Keys that a change concerns. */
  readonly keysOf: (event: StoreEvent) => Iterable<string>;
  /** Brings what one key names to where it belongs. */
  readonly reconcile: (key: string) => void;
}

/** Runs a controller until the returned function is called. Starts with the given keys. */
export function startLoop(api: Api, first: Iterable<string>, parts: LoopParts): () => void {
  const keys = new Set<string>(first);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isStopped = false;
  const run = (): void => {
    timer = undefined;
    for (const key of [...keys]) {
      keys.delete(key);
      if (isStopped) return;
      try {
        parts.reconcile(key);
      } catch (error) {
        if (!(error instanceof StatusError)) throw error;
        if (error.code === 409 && error.reason === "Conflict") keys.add(key);
      }
    }
    if (keys.size > 0) wake();
  };
  const wake = (): void => {
    if (!isStopped) timer ??= setTimeout(run, 0);
  };
  const stopListening = api.store.subscribe((event) => {
    for (const key of parts.keysOf(event)) keys.add(key);
    if (keys.size > 0) wake();
  });
  if (keys.size > 0) wake();
  return () => {
    isStopped = true;
    stopListening();
    clearTimeout(timer);
  };
}

/** Where a controller's write goes. */
export interface Place {
  /** Store key of the resource, such as `daemonsets.apps`. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
  readonly subresource?: string;
}

/** Writes in a controller's name, counted like requests. Objects that are gone are not an error to deletions. */
export class ControllerClient {
  readonly #api: Api;
  readonly #counts: RequestCounts;
  readonly #user: User;
  readonly #manager: string;

  constructor(api: Api, counts: RequestCounts, name: { readonly user: string; readonly manager: string }) {
    this.#api = api;
    this.#counts = counts;
    this.#user = { name: name.user, groups: ["system:masters"] };
    this.#manager = name.manager;
  }

  create(place: Place, object: Json): ApiObject {
    return this.#api.create(this.#target(place, "create"), object);
  }

  update(place: Place, object: Json): ApiObject {
    return this.#api.update(this.#target(place, "update"), object);
  }

  patch(place: Place, body: Json, kind: PatchKind = "strategic"): ApiObject {
    return this.#api.patch(this.#target(place, "patch"), body, { kind, force: true }).object;
  }

  bind(place: Place, node: string): void {
    this.#api.bind(this.#target({ ...place, subresource: "binding" }, "create"), {
      target: { kind: "Node", name: node },
    });
  }

  delete(place: Place, options: { readonly gracePeriodSeconds?: number } = {}): void {
    try {
      this.#api.delete(this.#target(place, "delete"), options);
    } catch (error) {
      if (!(error instanceof StatusError) || error.code !== 404) throw error;
    }
  }

  #target(place: Place, verb: string): Target {
    const resource = this.#api.resources.byStoreKey(place.resource);
    if (resource === undefined) throw new StatusError(404, "NotFound", { message: `no resource "${place.resource}"` });
    const name = place.subresource === undefined ? resource.plural : `${resource.plural}/${place.subresource}`;
    this.#counts.add({ user: this.#user.name, verb, resource: name });
    return { ...place, resource, user: this.#user, manager: this.#manager };
  }
}
