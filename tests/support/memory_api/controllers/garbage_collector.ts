// Objects whose owners are gone, objects held by `foregroundDeletion` or `orphan`, pods on nodes that are gone, and
// namespaces on their way out (k8s.io/kubernetes `pkg/controller/garbagecollector`, `namespace`, `podgc`).
import type { Api } from "../api.ts";
import { asList, asObject, asText, at, type JsonObject } from "../json.ts";
import type { RequestCounts } from "../request_counts.ts";
import { type ApiObject, metaText, objectKey, type StoreEvent } from "../store.ts";
import { ControllerClient, type Place, startLoop } from "./loop.ts";

const EVERYTHING = "";

class GarbageCollector {
  readonly #api: Api;
  readonly #client: ControllerClient;

  constructor(api: Api, counts: RequestCounts) {
    this.#api = api;
    this.#client = new ControllerClient(api, counts, {
      user: "system:serviceaccount:kube-system:generic-garbage-collector",
      manager: "kube-controller-manager",
    });
  }

  keysOf(event: StoreEvent): string[] {
    const isLeaving = event.object.metadata["deletionTimestamp"] !== undefined || event.type === "DELETED";
    const hasNewOwner = event.type === "ADDED" && asList(event.object.metadata["ownerReferences"]).length > 0;
    return isLeaving || hasNewOwner ? [EVERYTHING] : [];
  }

  reconcile(): void {
    const uids = new Set<string>();
    for (const resource of this.#api.store.resources()) {
      for (const object of this.#api.store.values(resource)) uids.add(metaText(object, "uid"));
    }
    for (const resource of this.#api.store.resources()) {
      for (const object of [...this.#api.store.values(resource)]) this.#collect(resource, object, uids);
    }
    for (const namespace of [...this.#api.store.values("namespaces")]) {
      if (namespace.metadata["deletionTimestamp"] !== undefined) this.#empty(namespace);
    }
  }

  #place(resource: string, object: ApiObject): Place {
    return { resource, namespace: metaText(object, "namespace"), name: object.metadata.name };
  }

  #collect(resource: string, object: ApiObject, uids: ReadonlySet<string>): void {
    const owners = asList(object.metadata["ownerReferences"]).map((it) => asObject(it));
    const isOrphan = owners.length > 0 && owners.every((owner) => !uids.has(asText(owner["uid"])));
    const node = asText(at(object, "spec", "nodeName"));
    const isLost = resource === "pods" && node !== "" && this.#api.store.get("nodes", node) === undefined;
    if (isLost) this.#client.delete(this.#place(resource, object), { gracePeriodSeconds: 0 });
    else if (isOrphan && object.metadata["deletionTimestamp"] === undefined) {
      this.#client.delete(this.#place(resource, object));
    }
    if (object.metadata["deletionTimestamp"] === undefined) return;
    const finalizers = asList(object.metadata["finalizers"]);
    if (finalizers.includes("foregroundDeletion")) {
      const dependents = this.#dependents(object);
      for (const [place, it] of dependents) {
        if (it.metadata["deletionTimestamp"] === undefined) this.#client.delete(place);
      }
      if (dependents.length === 0) this.#dropFinalizer(resource, object, "foregroundDeletion");
    } else if (finalizers.includes("orphan")) {
      for (const [place, it] of this.#dependents(object)) {
        const kept = asList(it.metadata["ownerReferences"]).filter((owner) =>
          asObject(owner)["uid"] !== object.metadata["uid"]
        );
        this.#client.patch(place, { metadata: { ownerReferences: kept } }, "merge");
      }
      this.#dropFinalizer(resource, object, "orphan");
    }
  }

  #dependents(owner: ApiObject): [Place, ApiObject][] {
    const uid = owner.metadata["uid"] ?? "";
    const found: [Place, ApiObject][] = [];
    for (const resource of this.#api.store.resources()) {
      for (const object of this.#api.store.values(resource)) {
        const owners: JsonObject[] = asList(object.metadata["ownerReferences"]).map((it) => asObject(it));
        if (owners.some((it) => it["uid"] === uid)) found.push([this.#place(resource, object), object]);
      }
    }
    return found;
  }

  #dropFinalizer(resource: string, object: ApiObject, finalizer: string): void {
    const finalizers = asList(object.metadata["finalizers"]).filter((it) => it !== finalizer);
    this.#client.patch(this.#place(resource, object), { metadata: { finalizers } }, "merge");
  }

  #empty(namespace: ApiObject): void {
    let isEmpty = true;
    for (const resource of this.#api.store.resources()) {
      for (const object of [...this.#api.store.values(resource)]) {
        if (object.metadata["namespace"] !== namespace.metadata.name) continue;
        if (object.metadata["deletionTimestamp"] === undefined) this.#client.delete(this.#place(resource, object));
        if (this.#api.store.get(resource, objectKey(object)) !== undefined) isEmpty = false;
      }
    }
    if (isEmpty && asList(namespace.metadata["finalizers"]).length === 0) {
      this.#api.store.remove("namespaces", namespace.metadata.name);
    }
  }
}

/** Starts the controller; the returned function stops it. */
export function startGarbageCollector(api: Api, counts: RequestCounts): () => void {
  const collector = new GarbageCollector(api, counts);
  return startLoop(api, [EVERYTHING], {
    keysOf: (event) => collector.keysOf(event),
    reconcile: () => collector.reconcile(),
  });
}
