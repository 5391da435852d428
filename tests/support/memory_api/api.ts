// Reads and writes of objects with all their rules, without HTTP: the request handler and the controllers both call this.
// One write = edit the live object, put back what the caller may not change, fill in, note owners, check, store.
import { randomUUID } from "node:crypto";
import { type Access, restrictNode } from "./authorization.ts";
import { admit, applyDefaults, initialStatus } from "./defaults.ts";
import { asList, asObject, asText, at, clone, ensureObject, equal, type Json } from "./json.ts";
import { applyObject, trackUpdate, type Writer } from "./managed_fields.ts";
import { apiVersion, type Resource, type ResourceTable, storeKey } from "./resources.ts";
import { allocateService, type ServiceRanges } from "./service_allocation.ts";
import { alreadyExists, badRequest, conflict, forbidden, notFound } from "./status_error.ts";
import { type ApiObject, metaText, objectKey, type Store } from "./store.ts";
import {
  badRequestInvalidName,
  countTemplates,
  generatedName,
  graceSecondsOf,
  markedForDeletion,
  onlyPart,
  patched,
  type PatchKind,
  received,
  restored,
  specChanged,
  type Target,
  timestamp,
  trackCreate,
} from "./write_rules.ts";
import { validate } from "./validation.ts";

/** What a deletion asks for. */
export interface DeleteRequest {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: string;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string;
}

/** An object and whether the write made it. */
export interface Written {
  readonly object: ApiObject;
  readonly isNew: boolean;
}

/** Holds a definition until its objects are gone. */
export const DEFINITION_FINALIZER = "customresourcecleanup.apiextensions.k8s.io";
const PRECONDITIONS = [["uid", "UID", "deleted and then recreated"], [
  "resourceVersion",
  "ResourceVersion",
  "modified",
]] as const;

/** Everything that reads and writes objects. */
export class Api {
  readonly store: Store;
  readonly resources: ResourceTable;
  readonly #now: () => Date;
  readonly #ranges: ServiceRanges;

  constructor(parts: { store: Store; resources: ResourceTable; now: () => Date; serviceRanges: ServiceRanges }) {
    this.store = parts.store;
    this.resources = parts.resources;
    this.#now = parts.now;
    this.#ranges = parts.serviceRanges;
  }

  /** The present time as objects carry it. */
  now(): string {
    return timestamp(this.#now());
  }

  /** The object as this version of its kind shows it. @throws {StatusError} 404. */
  get(target: Pick<Target, "resource" | "namespace" | "name">): ApiObject {
    const { resource, namespace, name } = target;
    const found = this.store.get(storeKey(resource), namespace === "" ? name : `${namespace}/${name}`);
    if (found === undefined) throw notFound(resource, name);
    return inVersion(found, resource);
  }

  /** Creates an object. */
  create(target: Target, body: Json): ApiObject {
    const object = received(target, body);
    if (asText(object.metadata["resourceVersion"]) !== "") {
      throw badRequest("resourceVersion should not be set on objects to be created");
    }
    if ((object.metadata.name ?? "") === "") {
      const base = metaText(object, "generateName");
      if (base === "") {
        throw badRequestInvalidName(target.resource);
      }
      object.metadata.name = generatedName(base);
    }
    return this.#insert(this.#prepareCreate(object, target, "Update"), target);
  }

  /** Replaces an object or one of its subresources. */
  update(target: Target, body: Json): ApiObject {
    const object = received(target, body);
    if (object.metadata.name !== target.name) {
      throw badRequest(
        `the name of the object (${object.metadata.name ?? ""}) does not match the name on the URL (${target.name})`,
      );
    }
    const live = this.get(target);
    return this.#write(live, object, target);
  }

  /** Patches an object; server-side apply creates it if it is missing. */
  patch(target: Target, body: Json, options: { kind: PatchKind; force?: boolean }): Written {
    if (options.kind === "apply") return this.#apply(target, body, options.force ?? false);
    const live = this.get(target);
    const edited = patched(live, body, { kind: options.kind, resource: target.resource });
    const object = received(target, edited);
    return { object: this.#write(live, object, target), isNew: false };
  }

  /** Deletes an object, or marks it for deletion. Returns its last form and whether it is gone. */
  delete(target: Target, request: DeleteRequest = {}): { object: ApiObject; isGone: boolean } {
    const live = this.get(target);
    const { resource } = target;
    for (const [field, name, fate] of PRECONDITIONS) {
      const wanted = request[field];
      if (wanted === undefined || wanted === live.metadata[field]) continue;
      const why = `the ${name} in the precondition (${wanted}) does not match the ${name} in record ` +
        `(${metaText(live, field)}). The object might have been ${fate}`;
      throw conflict({ ...resource, plural: resource.kind }, target.name, why);
    }
    restrictNode(accessOf(target, "delete"), { live });
    const key = storeKey(resource);
    const finalizers = new Set(asList(live.metadata["finalizers"]).map((it) => asText(it)));
    if (request.propagationPolicy === "Foreground") finalizers.add("foregroundDeletion");
    if (request.propagationPolicy === "Orphan") finalizers.add("orphan");
    const isDefinition = live.kind === "CustomResourceDefinition";
    if (isDefinition && live.metadata["deletionTimestamp"] === undefined) finalizers.add(DEFINITION_FINALIZER);
    const graceSeconds = graceSecondsOf(live, request.gracePeriodSeconds);
    const isHeld = finalizers.size > 0 || live.kind === "Namespace";
    if (graceSeconds === 0 && !isHeld) {
      const last = live.kind === "Pod" ? markedForDeletion(live, { graceSeconds, resource, now: this.#now() }) : live;
      if (target.dryRun !== true) this.store.remove(key, objectKey(live), last);
      return { object: last, isGone: true };
    }
    if (
      live.metadata["deletionTimestamp"] !== undefined &&
      (graceSeconds > 0 || live.metadata["deletionGracePeriodSeconds"] === 0)
    ) {
      return { object: live, isGone: false };
    }
    const marked = markedForDeletion(live, { graceSeconds, resource, now: this.#now() });
    if (finalizers.size > 0) marked.metadata["finalizers"] = [...finalizers];
    if (live.kind === "Namespace") {
      marked["status"] = { ...asObject(live["status"]), phase: "Terminating" };
      delete marked.metadata["deletionGracePeriodSeconds"];
    }
    if (isDefinition) {
      delete marked.metadata["deletionGracePeriodSeconds"];
      marked.metadata["generation"] = live.metadata["generation"] ?? 1;
      const condition = {
        type: "Terminating",
        status: "True",
        reason: "InstanceDeletionPending",
        message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        lastTransitionTime: this.now(),
      };
      marked["status"] = {
        ...asObject(live["status"]),
        conditions: [...asList(at(live, "status", "conditions")), condition],
      };
    }
    if (target.dryRun === true) return { object: marked, isGone: false };
    return { object: inVersion(this.store.put(key, marked), resource), isGone: false };
  }

  /** Binds a pod to a node, as `pods/binding` does. */
  bind(target: Target, binding: Json): void {
    const live = this.get(target);
    const node = asText(at(binding, "target", "name"));
    if (at(live, "spec", "nodeName") !== undefined) {
      throw conflict(
        { ...target.resource, plural: "pods/binding" },
        target.name,
        `pod ${target.name} is already assigned to node "${asText(at(live, "spec", "nodeName"))}"`,
      );
    }
    const conditions = asList(at(live, "status", "conditions")).filter((it) => asObject(it)["type"] !== "PodScheduled");
    const scheduled = { type: "PodScheduled", status: "True", lastProbeTime: null, lastTransitionTime: this.now() };
    const next: ApiObject = {
      ...live,
      spec: { ...asObject(live["spec"]), nodeName: node },
      status: { ...asObject(live["status"]), conditions: [...conditions, scheduled] },
    };
    this.#commit(live, next, { ...target, subresource: "binding" });
  }

  /** Writes an object with no rules but those of storage: for the server's own starting objects. */
  putRaw(resource: Resource, object: ApiObject): ApiObject {
    const metadata = { uid: randomUUID(), creationTimestamp: this.now(), ...object.metadata };
    return this.store.put(storeKey(resource), { ...object, metadata });
  }

  #prepareCreate(object: ApiObject, target: Target, operation: "Update" | "Apply"): ApiObject {
    const { resource } = target;
    this.#checkNamespace(target);
    if (this.store.get(storeKey(resource), objectKey(object)) !== undefined) {
      throw alreadyExists(resource, object.metadata.name);
    }
    let next = clone(object);
    for (
      const field of ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"]
    ) {
      delete next.metadata[field];
    }
    next.metadata["uid"] = randomUUID();
    next.metadata["creationTimestamp"] = this.now();
    if (resource.generation) next.metadata["generation"] = 1;
    if (resource.subresources.includes("status") && resource.kind !== "Node") delete next["status"];
    applyDefaults(next);
    // Owners are noted before the server gives out addresses and the first status, which nobody owns.
    const writer = this.#writer(target);
    if (operation === "Update") next = trackCreate(next, { resource, writer });
    admit(next);
    this.#allocate(next, undefined);
    const status = initialStatus(next);
    if (status !== undefined) next["status"] = status;
    restrictNode({ ...accessOf(target, "create"), name: next.metadata.name }, { next });
    validate(next, undefined, resource);
    return next;
  }

  #allocate(next: ApiObject, live: ApiObject | undefined): void {
    if (next.kind !== "Service") return;
    allocateService(next, live, { store: this.store, ranges: this.#ranges });
    if (at(next, "spec", "type") !== "LoadBalancer") ensureObject(next, "status")["loadBalancer"] = {};
  }

  #checkNamespace(target: Target): void {
    const { resource, namespace } = target;
    if (!resource.namespaced) return;
    const found = this.store.get("namespaces", namespace);
    const subject = { group: "", plural: "namespaces", kind: "Namespace" };
    if (found === undefined) throw notFound(subject, namespace);
    if (found.metadata["deletionTimestamp"] !== undefined) {
      const error = forbidden(
        resource,
        target.name,
        `unable to create new content in namespace ${namespace} because it is being terminated`,
      );
      error.details["causes"] = [{
        reason: "NamespaceTerminating",
        message: `namespace ${namespace} is being terminated`,
        field: "metadata.namespace",
      }];
      throw error;
    }
  }

  #insert(object: ApiObject, target: Target): ApiObject {
    if (target.dryRun === true) return object;
    return inVersion(this.store.put(storeKey(target.resource), object), target.resource);
  }

  #apply(target: Target, body: Json, force: boolean): Written {
    const { resource } = target;
    const applied = received(target, body);
    if (asList(applied.metadata["managedFields"]).length > 0) throw badRequest("metadata.managedFields must be nil");
    applied.metadata.name ??= target.name;
    if (applied.metadata.name !== target.name) {
      throw badRequest(
        `the name of the object (${applied.metadata.name}) does not match the name on the URL (${target.name})`,
      );
    }
    const live = this.store.get(storeKey(resource), objectKey(applied));
    const writer = this.#writer(target);
    if (live === undefined) {
      if (writer.subresource !== "") throw notFound(resource, target.name);
      if (metaText(applied, "uid") !== "") {
        throw conflict(
          resource,
          target.name,
          `Precondition failed: UID in precondition: ${metaText(applied, "uid")}, UID in object meta: `,
        );
      }
      const owned = applyObject(undefined, clone(applied), { resource, writer, force });
      const next = this.#prepareCreate(owned, target, "Apply");
      return { object: this.#insert(next, target), isNew: true };
    }
    const current = inVersion(live, resource);
    const next = applyObject(current, onlyPart(applied, current, target), { resource, writer, force });
    const version = applied.metadata["resourceVersion"];
    if (version !== undefined) next.metadata["resourceVersion"] = version;
    return { object: this.#write(current, next, { ...target, applied: true }), isNew: false };
  }

  #write(live: ApiObject, edited: ApiObject, target: Target & { readonly applied?: boolean }): ApiObject {
    const { resource } = target;
    const version = asText(edited.metadata["resourceVersion"]);
    if (version !== "" && version !== live.metadata["resourceVersion"]) throw conflict(resource, target.name);
    const uid = asText(edited.metadata["uid"]);
    if (uid !== "" && uid !== live.metadata["uid"]) {
      throw conflict(
        resource,
        target.name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metaText(live, "uid")}`,
      );
    }
    let next = restored(live, clone(edited), target);
    applyDefaults(next);
    if (target.applied !== true) next = trackUpdate(live, next, { resource, writer: this.#writer(target) });
    this.#allocate(next, live);
    if (next.kind === "DaemonSet") countTemplates(next, live);
    if (resource.generation && target.subresource !== "status" && specChanged(live, next)) {
      next.metadata["generation"] = Number(live.metadata["generation"] ?? 0) + 1;
    }
    restrictNode(accessOf(target, "update"), { live, next });
    validate(next, live, resource);
    return this.#commit(live, next, target);
  }

  #writer(target: Target): Writer {
    return { manager: target.manager, subresource: target.subresource ?? "", now: this.now() };
  }

  #commit(live: ApiObject, owned: ApiObject, target: Target): ApiObject {
    const { resource } = target;
    const isDone = owned.metadata["deletionTimestamp"] !== undefined &&
      asList(owned.metadata["finalizers"]).length === 0 &&
      Number(owned.metadata["deletionGracePeriodSeconds"] ?? 0) === 0 && owned.kind !== "Namespace";
    if (target.dryRun === true) return owned;
    const key = storeKey(resource);
    if (isDone) {
      const last = this.store.remove(key, objectKey(owned), owned);
      return last ?? owned;
    }
    if (equal(live, owned)) return live;
    return inVersion(this.store.put(key, owned), resource);
  }
}

function accessOf(target: Target, verb: string): Access {
  return { ...target, subresource: target.subresource ?? "", verb, fieldSelector: "" };
}

/** The object as the given version of its kind shows it. */
export function inVersion(object: ApiObject, resource: Resource): ApiObject {
  const version = apiVersion(resource);
  return object.apiVersion === version ? object : { ...object, apiVersion: version };
}
