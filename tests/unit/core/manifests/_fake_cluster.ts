// A Kubernetes API with state, as far as the manifests deployer uses one: apply, get, list by label, delete, discovery.
// Every request can be looked at, failed or cut off by the test.
import type {
  ApplyOptions,
  CallOptions,
  KubeClient,
  ListOptions,
  ObjectKey,
  ResourceType,
} from "../../../../core/kube/contract.ts";
import { statusError } from "../../../../core/kube/errors.ts";
import type { EventContent, ObjectReference } from "../../../../core/kube/events.ts";
import type { KubeObject, UnknownObject } from "../../../../core/kube/types.ts";
import type { ManifestEvents } from "../../../../core/manifests/manifest_events.ts";

/** One request as the test sees it. */
export interface FakeRequest {
  readonly verb: "get" | "list" | "apply" | "delete" | "discover";
  readonly kind: string;
  readonly name: string;
}

function define(apiVersion: string, kind: string, namespaced: boolean): ResourceType {
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  return { group, version, kind, plural: `${kind.toLowerCase()}s`, namespaced };
}

const BUILT_IN: readonly ResourceType[] = [
  define("v1", "ConfigMap", true),
  define("v1", "Secret", true),
  define("v1", "Namespace", false),
  define("v1", "PersistentVolumeClaim", true),
  define("v1", "Service", true),
  define("apps/v1", "Deployment", true),
  define("apiextensions.k8s.io/v1", "CustomResourceDefinition", false),
  define("rbac.authorization.k8s.io/v1", "ClusterRole", false),
];

/** The state and the log of requests. */
export class FakeCluster {
  readonly objects = new Map<string, KubeObject>();
  readonly requests: FakeRequest[] = [];
  /** Names of objects that a finalizer holds: they take writes and are being deleted. */
  readonly leaving = new Set<string>();
  /** May throw, or abort a signal, before the request is done. */
  onRequest: (request: FakeRequest) => void | Promise<void> = () => {};
  readonly #types: ResourceType[] = [...BUILT_IN];
  #version = 0;

  get writes(): readonly FakeRequest[] {
    return this.requests.filter(({ verb }) => verb === "apply" || verb === "delete");
  }

  /** `Kind namespace/name` of all objects, sorted. */
  names(): readonly string[] {
    return [...this.objects.values()].map(({ kind, metadata }) =>
      `${kind} ${metadata?.namespace === undefined ? "" : `${metadata.namespace}/`}${metadata?.name}`
    ).sort();
  }

  get(kind: string, name: string): UnknownObject | undefined {
    return [...this.objects.values()].find((object) => object.kind === kind && object.metadata?.name === name) as
      | UnknownObject
      | undefined;
  }

  /** Everything that counts, without versions and uids: equal texts are equal end states. */
  snapshot(): string {
    const plain = [...this.objects.values()].map((object) => {
      const { uid: _, resourceVersion: __, ...metadata } = object.metadata ?? {};
      return JSON.stringify({ ...object, metadata });
    });
    return plain.sort().join("\n");
  }

  client(): KubeClient {
    const enter = async (request: FakeRequest, signal?: AbortSignal): Promise<void> => {
      signal?.throwIfAborted();
      this.requests.push(request);
      await this.onRequest(request);
      await Promise.resolve();
    };
    const notUsed = (): never => {
      throw new TypeError("The deployer should not use this");
    };
    return {
      get: async <T extends KubeObject>(
        type: ResourceType<T>,
        key: ObjectKey,
        options: CallOptions = {},
      ): Promise<T> => {
        await enter({ verb: "get", kind: type.kind, name: key.name }, options.signal);
        const found = this.objects.get(keyOf(type, key));
        if (found === undefined) throw notFound(type, key.name);
        return structuredClone(found) as T;
      },
      list: async <T extends KubeObject>(type: ResourceType<T>, options: ListOptions = {}) => {
        await enter({ verb: "list", kind: type.kind, name: "" }, options.signal);
        const [label = "", value = ""] = (options.labelSelector ?? "").split("=");
        const items = [...this.objects.entries()]
          .filter(([key, { metadata }]) =>
            key.startsWith(`${type.group}/${type.kind}/`) && (label === "" || metadata?.labels?.[label] === value)
          )
          .map(([, object]) => structuredClone(object) as T);
        return { items, resourceVersion: String(this.#version) };
      },
      apply: async <T extends KubeObject>(type: ResourceType<T>, object: T, options: ApplyOptions = {}): Promise<T> => {
        const name = object.metadata?.name ?? "";
        await enter({ verb: "apply", kind: type.kind, name }, options.signal);
        const key = keyOf(type, { name, ...namespaceOf(object) });
        const before = this.objects.get(key);
        const version = String(++this.#version);
        const stored = {
          ...(JSON.parse(JSON.stringify(object)) as T),
          metadata: {
            ...object.metadata,
            uid: before?.metadata?.uid ?? `uid-${version}`,
            resourceVersion: version,
            ...(this.leaving.has(name) ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}),
          },
          ...(type.kind === "CustomResourceDefinition" ? this.#establish(object) : {}),
        };
        if (options.dryRun !== true) this.objects.set(key, stored);
        return structuredClone(stored);
      },
      delete: async (type, key, options = {}) => {
        await enter({ verb: "delete", kind: type.kind, name: key.name }, options.signal);
        const metadata = this.objects.get(keyOf(type, key))?.metadata;
        if (metadata === undefined) throw notFound(type, key.name);
        const { uid = metadata.uid, resourceVersion = metadata.resourceVersion } = options;
        if (uid !== metadata.uid || resourceVersion !== metadata.resourceVersion) throw conflict(type, key.name);
        this.objects.delete(keyOf(type, key));
      },
      discover: async (apiVersion, options = {}) => {
        await enter({ verb: "discover", kind: apiVersion, name: "" }, options.signal);
        return this.#types.filter(({ group, version }) =>
          `${group === "" ? "" : `${group}/`}${version}` === apiVersion
        );
      },
      watch: notUsed,
      create: notUsed,
      update: notUsed,
      patch: notUsed,
      apiVersions: notUsed,
      raw: notUsed,
      close: () => {},
    };
  }

  #establish(crd: KubeObject & { readonly spec?: unknown }): object {
    const { group, scope, names, versions } = crd.spec as {
      group: string;
      scope: string;
      names: { kind: string };
      versions: { name: string }[];
    };
    for (const { name } of versions) {
      this.#types.push(define(`${group}/${name}`, names.kind, scope === "Namespaced"));
    }
    return { status: { conditions: [{ type: "Established", status: "True" }] } };
  }
}

/** Events in memory. */
export class FakeEvents implements ManifestEvents {
  readonly list: {
    readonly subject: string;
    readonly type: string;
    readonly reason: string;
    readonly message: string;
  }[] = [];

  get reasons(): readonly string[] {
    return this.list.map(({ reason }) => reason);
  }

  record(subject: ObjectReference, event: EventContent): void {
    this.list.push({ subject: `${subject.kind} ${subject.namespace}/${subject.name}`, ...event });
  }
}

function keyOf(type: ResourceType<KubeObject>, key: ObjectKey): string {
  return `${type.group}/${type.kind}/${key.namespace ?? ""}/${key.name}`;
}

function namespaceOf(object: KubeObject): { readonly namespace?: string } {
  const namespace = object.metadata?.namespace;
  return namespace === undefined ? {} : { namespace };
}

function notFound(type: ResourceType<KubeObject>, name: string): Error {
  return statusError({ reason: "NotFound", message: `${type.plural} "${name}" not found` }, {
    action: { verb: "get", resource: type.plural, name },
    httpStatus: 404,
  });
}

function conflict(type: ResourceType<KubeObject>, name: string): Error {
  return statusError({ reason: "Conflict", message: "the object has been modified" }, {
    action: { verb: "delete", resource: type.plural, name },
    httpStatus: 409,
  });
}
