// Reads and writes of objects with all their rules, without HTTP: the request handler and the controllers both call this.
// One write = edit the live object, put back what the caller may not change, fill in, note owners, check, store.
import { randomUUID } from "node:crypto";
import type { User } from "./authentication.ts";
import { type Access, restrictNode } from "./authorization.ts";
import { admit, applyDefaults, initialStatus } from "./defaults.ts";
import { asList, asObject, asText, at, clone, ensureObject, equal, isObject, type Json, withoutNulls } from "./json.ts";
import { applyObject, trackUpdate, type Writer } from "./managed_fields.ts";
import { jsonPatch } from "./patch_json.ts";
import { mergePatch } from "./patch_merge.ts";
import { strategicPatch } from "./patch_strategic.ts";
import { apiVersion, type Resource, type ResourceTable, storeKey } from "./resources.ts";
import { allocateService, type ServiceRanges } from "./service_allocation.ts";
import { alreadyExists, badRequest, conflict, forbidden, notFound, StatusError } from "./status_error.ts";
import { type ApiObject, metaText, objectKey, type Store } from "./store.ts";
import { validate } from "./validation.ts";

/** Where a write goes and on whose behalf. */
export interface Target {
  readonly resource: Resource;
  /** Empty for cluster-scoped kinds. */
  readonly namespace: string;
  readonly name: string;
  /** @default {""} */
  readonly subresource?: string;
  readonly user: User;
  readonly manager: string;
  readonly dryRun?: boolean;
}

/** The forms of a patch. */
export type PatchKind = "merge" | "strategic" | "json" | "apply";

/** What a deletion asks for. */
export interface DeleteRequest {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
}

/** An object and whether the write made it. */
export interface Written {
  readonly object: ApiObject;
  readonly isNew: boolean;
}

const TEMPLATE_GENERATION = "deprecated.daemonset.template.generation";
/** Holds a definition until its objects are gone. */
export const DEFINITION_FINALIZER = "customresourcecleanup.apiextensions.k8s.io";
const PRECONDITIONS = [["uid", "UID", "deleted and then recreated"], [
  "resourceVersion",
  "ResourceVersion",
  "modified",
]] as const;
const DELETION_FIELDS = ["deletionTimestamp", "deletionGracePeriodSeconds"] as const;

/** RFC 3339 with whole seconds, as `metav1.Time` is written. */
export function timestamp(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

/** A name as `generateName` makes it. */
export function generatedName(base: string): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  const random = crypto.getRandomValues(new Uint8Array(5));
  return base.slice(0, 58) + [...random].map((byte) => letters[byte % letters.length] ?? "x").join("");
}

function checkedObject(value: Json): ApiObject {
  if (!isObject(value)) throw badRequest("the object provided is unrecognized (must be of type Object)");
  const metadata = isObject(value["metadata"]) ? value["metadata"] : {};
  return { ...value, metadata } as ApiObject;
}

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
    const object = this.#received(target, body);
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
    const object = this.#received(target, body);
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
    const patched = this.#patched(live, body, { kind: options.kind, resource: target.resource });
    const object = this.#received(target, patched);
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
    const graceSeconds = this.#graceOf(live, request);
    const isHeld = finalizers.size > 0 || live.kind === "Namespace";
    if (graceSeconds === 0 && !isHeld) {
      const last = live.kind === "Pod" ? this.#marked(live, { graceSeconds, resource }) : live;
      if (target.dryRun !== true) this.store.remove(key, objectKey(live), last);
      return { object: last, isGone: true };
    }
    if (
      live.metadata["deletionTimestamp"] !== undefined &&
      (graceSeconds > 0 || live.metadata["deletionGracePeriodSeconds"] === 0)
    ) {
      return { object: live, isGone: false };
    }
    const marked = this.#marked(live, { graceSeconds, resource });
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

  /** The body of a write, checked against the URL. A private copy. */
  #received(target: Target, body: Json): ApiObject {
    const { resource } = target;
    const object = checkedObject(withoutNulls(body));
    const version = apiVersion(resource);
    object.apiVersion ??= version;
    object.kind ??= resource.kind;
    if (object.kind !== resource.kind || object.apiVersion !== version) {
      throw badRequest(
        `${object.kind} in version "${
          object.apiVersion.split("/").at(-1) ?? ""
        }" cannot be handled as a ${resource.kind}: ` +
          `converting (${object.apiVersion.split("/").at(-1) ?? ""}.${object.kind}) to ` +
          `(${resource.group.split(".")[0] || "core"}.${resource.kind}): unknown conversion`,
      );
    }
    object.metadata = { ...object.metadata };
    if (resource.namespaced) {
      const given = metaText(object, "namespace");
      if (given !== "" && given !== target.namespace) {
        throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
      }
      object.metadata["namespace"] = target.namespace;
    } else delete object.metadata["namespace"];
    return object;
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

  #patched(live: ApiObject, body: Json, options: { kind: PatchKind; resource: Resource }): Json {
    if (options.kind === "json") return jsonPatch(live, body);
    if (!isObject(body)) throw badRequest("the patch is not an object");
    if (options.kind === "merge") return mergePatch(live, body);
    if (options.resource.custom) {
      throw new StatusError(415, "UnsupportedMediaType", {
        message: "the body of the request was in an unknown format - accepted media types include: " +
          "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
      });
    }
    return strategicPatch(live, body, options.resource.kind);
  }

  #apply(target: Target, body: Json, force: boolean): Written {
    const { resource } = target;
    const applied = this.#received(target, body);
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
    const next = applyObject(current, this.#onlyPart(applied, current, target), { resource, writer, force });
    const version = applied.metadata["resourceVersion"];
    if (version !== undefined) next.metadata["resourceVersion"] = version;
    return { object: this.#write(current, next, { ...target, applied: true }), isNew: false };
  }

  /** The applied object without the part that this endpoint does not write. */
  #onlyPart(applied: ApiObject, live: ApiObject, target: Target): ApiObject {
    const { resource } = target;
    if (!resource.subresources.includes("status")) return applied;
    const part: ApiObject = { ...applied };
    if ((target.subresource ?? "") === "") {
      delete part["status"];
      return part;
    }
    const kept: ApiObject = {
      apiVersion: part.apiVersion,
      kind: part.kind,
      metadata: resource.custom ? { name: live.metadata.name } : part.metadata,
    };
    if (part["status"] !== undefined) kept["status"] = part["status"];
    return kept;
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
    let next = this.#restored(live, clone(edited), target);
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

  /** What the caller may not change is as it was. */
  #restored(live: ApiObject, next: ApiObject, target: Target): ApiObject {
    const { resource } = target;
    const metadata = next.metadata;
    for (
      const field of ["uid", "creationTimestamp", "generation", "resourceVersion", "generateName", ...DELETION_FIELDS]
    ) {
      const value = live.metadata[field];
      if (value === undefined) delete metadata[field];
      else metadata[field] = value;
    }
    if (!resource.subresources.includes("status")) return next;
    if (target.subresource === "status") {
      const status = next["status"];
      const kept: ApiObject = { ...live, metadata };
      if (resource.custom) {
        kept.metadata = { ...live.metadata };
        if (metadata["managedFields"] !== undefined) kept.metadata["managedFields"] = metadata["managedFields"];
        else delete kept.metadata["managedFields"];
      }
      if (status === undefined) delete kept["status"];
      else kept["status"] = status;
      if (resource.kind === "Pod" && live.metadata["ownerReferences"] !== undefined) {
        kept.metadata["ownerReferences"] = live.metadata["ownerReferences"];
      }
      return clone(kept);
    }
    const status = live["status"];
    if (status === undefined) delete next["status"];
    else next["status"] = status;
    return next;
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

  /** The object with the marks of deletion. */
  #marked(live: ApiObject, options: { graceSeconds: number; resource: Resource }): ApiObject {
    const { graceSeconds, resource } = options;
    const metadata = { ...live.metadata };
    const isFirst = metadata["deletionTimestamp"] === undefined;
    metadata["deletionTimestamp"] ??= timestamp(new Date(this.#now().getTime() + graceSeconds * 1000));
    metadata["deletionGracePeriodSeconds"] = graceSeconds;
    if (isFirst && resource.generation) metadata["generation"] = Number(metadata["generation"] ?? 0) + 1;
    return { ...live, metadata };
  }

  #graceOf(live: ApiObject, request: DeleteRequest): number {
    if (live.kind !== "Pod") return 0;
    const phase = at(live, "status", "phase");
    if (asText(at(live, "spec", "nodeName")) === "" || phase === "Succeeded" || phase === "Failed") return 0;
    return request.gracePeriodSeconds ?? Number(at(live, "spec", "terminationGracePeriodSeconds") ?? 30);
  }
}

function badRequestInvalidName(resource: Resource): StatusError {
  const kind = resource.group === "" ? resource.kind : `${resource.kind}.${resource.group}`;
  return new StatusError(422, "Invalid", {
    message: `${kind} "" is invalid: metadata.name: Required value: name or generateName is required`,
    details: {
      ...(resource.group === "" ? {} : { group: resource.group }),
      kind: resource.kind,
      causes: [{
        reason: "FieldValueRequired",
        message: "Required value: name or generateName is required",
        field: "metadata.name",
      }],
    },
  });
}

function accessOf(target: Target, verb: string): Access {
  return { ...target, subresource: target.subresource ?? "", verb, fieldSelector: "" };
}

/** Notes the owners of a new object; the status is nobody's even where it may be given. */
function trackCreate(next: ApiObject, context: { resource: Resource; writer: Writer }): ApiObject {
  const { status, ...rest } = next;
  const owned = trackUpdate(undefined, rest as ApiObject, context);
  if (status !== undefined && context.resource.subresources.includes("status")) owned["status"] = status;
  return status === undefined || owned["status"] !== undefined ? owned : trackUpdate(undefined, next, context);
}

/** Counts the versions of a DaemonSet's template in the annotation that remembers them. */
function countTemplates(next: ApiObject, live: ApiObject): void {
  const annotations = ensureObject(next.metadata, "annotations");
  const count = Number(at(live, "metadata", "annotations", TEMPLATE_GENERATION) ?? 1);
  const isSame = equal(at(next, "spec", "template"), at(live, "spec", "template"));
  annotations[TEMPLATE_GENERATION] = String(isSame ? count : count + 1);
}

function specChanged(live: ApiObject, next: ApiObject): boolean {
  const fields = new Set([...Object.keys(live), ...Object.keys(next)]);
  for (const field of ["metadata", "status", "apiVersion", "kind"]) fields.delete(field);
  return [...fields].some((field) => !equal(live[field], next[field]));
}

/** The object as the given version of its kind shows it. */
export function inVersion(object: ApiObject, resource: Resource): ApiObject {
  const version = apiVersion(resource);
  return object.apiVersion === version ? object : { ...object, apiVersion: version };
}
