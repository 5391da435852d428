// The rules of one write that need nothing but the objects at hand: what arrives, what a patch makes of it, what the caller
// may not change, who owns a new object's fields.
import type { User } from "./authentication.ts";
import { asText, at, clone, ensureObject, equal, isObject, type Json, withoutNulls } from "./json.ts";
import { trackUpdate, type Writer } from "./managed_fields.ts";
import { jsonPatch } from "./patch_json.ts";
import { mergePatch } from "./patch_merge.ts";
import { strategicPatch } from "./patch_strategic.ts";
import { apiVersion, type Resource } from "./resources.ts";
import { badRequest, StatusError } from "./status_error.ts";
import { type ApiObject, metaText } from "./store.ts";

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

const TEMPLATE_GENERATION = "deprecated.daemonset.template.generation";
const DELETION_FIELDS = ["deletionTimestamp", "deletionGracePeriodSeconds"] as const;

/** The body of a write, checked against the URL. A private copy. */
export function received(target: Target, body: Json): ApiObject {
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

/** The live object with a patch laid over it, not yet checked. */
export function patched(live: ApiObject, body: Json, options: { kind: PatchKind; resource: Resource }): Json {
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

/** The applied object without the part that this endpoint does not write. */
export function onlyPart(applied: ApiObject, live: ApiObject, target: Target): ApiObject {
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

/** The edited object with everything as it was that the caller may not change. */
export function restored(live: ApiObject, next: ApiObject, target: Target): ApiObject {
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

/** 422 for an object without a name. */
export function badRequestInvalidName(resource: Resource): StatusError {
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

/** Notes the owners of a new object; the status is nobody's even where it may be given. */
export function trackCreate(next: ApiObject, context: { resource: Resource; writer: Writer }): ApiObject {
  const { status, ...rest } = next;
  const owned = trackUpdate(undefined, rest as ApiObject, context);
  if (status !== undefined && context.resource.subresources.includes("status")) owned["status"] = status;
  return status === undefined || owned["status"] !== undefined ? owned : trackUpdate(undefined, next, context);
}

/** Counts the versions of a DaemonSet's template in the annotation that remembers them. */
export function countTemplates(next: ApiObject, live: ApiObject): void {
  const annotations = ensureObject(next.metadata, "annotations");
  const count = Number(at(live, "metadata", "annotations", TEMPLATE_GENERATION) ?? 1);
  const isSame = equal(at(next, "spec", "template"), at(live, "spec", "template"));
  annotations[TEMPLATE_GENERATION] = String(isSame ? count : count + 1);
}

/** Whether anything but metadata and status differs. */
export function specChanged(live: ApiObject, next: ApiObject): boolean {
  const fields = new Set([...Object.keys(live), ...Object.keys(next)]);
  for (const field of ["metadata", "status", "apiVersion", "kind"]) fields.delete(field);
  return [...fields].some((field) => !equal(live[field], next[field]));
}

function checkedObject(value: Json): ApiObject {
  if (!isObject(value)) throw badRequest("the object provided is unrecognized (must be of type Object)");
  const metadata = isObject(value["metadata"]) ? value["metadata"] : {};
  return { ...value, metadata } as ApiObject;
}

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

/** Seconds that an object is given to end. */
export function graceSecondsOf(live: ApiObject, wanted: number | undefined): number {
  if (live.kind !== "Pod") return 0;
  const phase = at(live, "status", "phase");
  if (asText(at(live, "spec", "nodeName")) === "" || phase === "Succeeded" || phase === "Failed") return 0;
  return wanted ?? Number(at(live, "spec", "terminationGracePeriodSeconds") ?? 30);
}

/** The object with the marks of deletion. */
export function markedForDeletion(
  live: ApiObject,
  options: { graceSeconds: number; resource: Resource; now: Date },
): ApiObject {
  const { graceSeconds, resource, now } = options;
  const metadata = { ...live.metadata };
  const isFirst = metadata["deletionTimestamp"] === undefined;
  metadata["deletionTimestamp"] ??= timestamp(new Date(now.getTime() + graceSeconds * 1000));
  metadata["deletionGracePeriodSeconds"] = graceSeconds;
  if (isFirst && resource.generation) metadata["generation"] = Number(metadata["generation"] ?? 0) + 1;
  return { ...live, metadata };
}
