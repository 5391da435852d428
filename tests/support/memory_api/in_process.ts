// The in-memory API server as a client of the same process: all rules of reads and writes, without sockets, users and watches.
import type { KubeClient, ObjectKey, Patch, ResourceType, WriteOptions } from "../../../core/kube/contract.ts";
import { FIELD_MANAGER } from "../../../core/kube/contract.ts";
import { type KubeStatus, statusError } from "../../../core/kube/errors.ts";
import { action } from "../../../core/kube/request_path.ts";
import type { KubeObject } from "../../../core/kube/types.ts";
import { Api } from "./api.ts";
import type { Json } from "./json.ts";
import { listPage } from "./list.ts";
import { addFirstObjects } from "./memory_api.ts";
import { type Resource, ResourceTable, storeKey } from "./resources.ts";
import { fieldMatcher, labelMatcher } from "./selectors.ts";
import { DEFAULT_SERVICE_RANGES } from "./service_allocation.ts";
import { StatusError } from "./status_error.ts";
import { type ApiObject, Store } from "./store.ts";
import type { PatchKind, Target } from "./write_rules.ts";

/** One write, before it is done. */
export interface InProcessWrite {
  readonly verb: "create" | "update" | "apply" | "patch" | "delete";
  /** Plural with the subresource, such as `services/status`. */
  readonly resource: string;
  readonly name: string;
}

/** What {@linkcode createInProcess} takes. */
export interface InProcessOptions {
  /** Called before each write; may throw in its place. */
  readonly onWrite?: (write: InProcessWrite) => void;
}

/** A cluster and its client. */
export interface InProcess {
  readonly client: KubeClient;
  /** All objects of a kind, by name, which may be written with no rules but those of storage. */
  objects<T extends KubeObject>(type: ResourceType<T>): Objects<T>;
}

/** The stored objects of one kind; names are unique in the tests that use this. */
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

  get(name: string): T | undefined {
    return this.values().find(({ metadata }) => metadata?.name === name);
  }

  /** Stores `object` as somebody else's write would. */
  put(object: T): void {
    const { kind } = this.#resource;
    const version = this.#resource.group === "" ? "v1" : `${this.#resource.group}/${this.#resource.version}`;
    this.#api.putRaw(this.#resource, { ...structuredClone(object), apiVersion: version, kind } as unknown as ApiObject);
  }
}

/** An empty cluster. */
export function createInProcess({ onWrite = () => {} }: InProcessOptions = {}): InProcess {
  const resources = new ResourceTable();
  const api = new Api({ store: new Store(), resources, now: () => new Date(), serviceRanges: DEFAULT_SERVICE_RANGES });
  addFirstObjects(api);
  const target = (type: ResourceType<KubeObject>, key: ObjectKey, options: WriteOptions = {}): Target => ({
    resource: resourceOf(resources, type),
    namespace: key.namespace ?? "",
    name: key.name,
    user: { name: "admin", groups: ["system:masters"] },
    manager: options.fieldManager ?? FIELD_MANAGER,
    dryRun: options.dryRun ?? false,
    ...(options.subresource === undefined ? {} : { subresource: options.subresource }),
  });
  const answer = async <T>(
    verb: string,
    about: { type: ResourceType<KubeObject>; key: ObjectKey },
    run: () => unknown,
  ) => {
    await Promise.resolve();
    try {
      return structuredClone(run()) as T;
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      const { type, key } = about;
      throw statusError(error.toStatus() as KubeStatus, { action: action(verb, type, key), httpStatus: error.code });
    }
  };
  const write = <T>(
    verb: InProcessWrite["verb"],
    about: { type: ResourceType<KubeObject>; key: ObjectKey; options: WriteOptions | undefined },
    run: (target: Target) => unknown,
  ): Promise<T> =>
    answer(verb, about, () => {
      const { type, key, options } = about;
      const part = options?.subresource === undefined ? "" : `/${options.subresource}`;
      onWrite({ verb, resource: `${type.plural}${part}`, name: key.name });
      return run(target(type, key, options));
    });
  const patch = (kind: PatchKind, body: unknown, force = true) => (at: Target): unknown =>
    api.patch(at, structuredClone(body) as Json, { kind, force }).object;
  const client: KubeClient = {
    get: (type, key) => answer("get", { type, key }, () => api.get(target(type, key))),
    list: async (type, options = {}) => {
      const resource = resourceOf(resources, type);
      const { namespace = "", labelSelector = "", fieldSelector = "" } = options;
      const [labels, fields] = [labelMatcher(labelSelector), fieldMatcher(fieldSelector, resource)];
      const page = await answer<{ items: never[]; metadata: { resourceVersion: string } }>(
        "list",
        { type, key: { name: "" } },
        () =>
          listPage(api.store, {
            resource,
            namespace,
            matches: (object) => labels(object) && fields(object),
            limit: 0,
            continueToken: "",
            resourceVersion: "",
          }),
      );
      return { items: page.items, resourceVersion: page.metadata.resourceVersion };
    },
    create: (type, object, options) =>
      write("create", { type, key: keyOf(object), options }, (at) => api.create(at, object as unknown as Json)),
    update: (type, object, options) =>
      write("update", { type, key: keyOf(object), options }, (at) => api.update(at, object as unknown as Json)),
    apply: (type, object, options) =>
      write("apply", { type, key: keyOf(object), options }, patch("apply", object, options?.force)),
    patch: <T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, change: Patch, options?: WriteOptions) =>
      write<T>("patch", { type, key, options }, patch(change.type, change.body)),
    delete: async (type, key, options = {}) => {
      const { signal: _, timeoutMs: __, dryRun: ___, ...request } = options;
      await write("delete", { type, key, options: undefined }, (at) => api.delete(at, request).object);
    },
    watch: notThere,
    discover: notThere,
    apiVersions: notThere,
    raw: notThere,
    close: () => {},
  };
  return { client, objects: (type) => new Objects(api, resourceOf(resources, type)) };
}

function notThere(): never {
  throw new TypeError("The client of the same process does not have this call");
}

function resourceOf(resources: ResourceTable, type: ResourceType<KubeObject>): Resource {
  const found = resources.find(type.group, type.version, type.plural);
  if (found === undefined) throw new TypeError(`No such kind: ${type.kind}`);
  return found;
}

function keyOf({ metadata }: KubeObject): ObjectKey {
  const { name = "", namespace } = metadata ?? {};
  return { name, ...(namespace === undefined ? {} : { namespace }) };
}
