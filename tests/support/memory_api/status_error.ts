// Errors as the API server answers them: a Status object with reason, code and details
// (k8s.io/apimachinery `pkg/api/errors`).
import type { Json, JsonObject } from "./json.ts";

/** The kind that an error speaks of: plural name and group. */
export interface ErrorSubject {
  readonly group: string;
  readonly plural: string;
  readonly kind: string;
}

/** One thing that is wrong with an object. */
export interface Cause {
  readonly reason: string;
  readonly message: string;
  readonly field: string;
}

/** An answer that is a Status with `status: Failure`. */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly code: number;
  readonly reason: string;
  readonly details: JsonObject;
  readonly hasEmptyDetails: boolean;

  constructor(code: number, reason: string, options: { readonly message: string; readonly details?: JsonObject }) {
    super(options.message);
    this.code = code;
    this.reason = reason;
    this.details = options.details ?? {};
    this.hasEmptyDetails = options.details !== undefined;
  }

  /** The body of the answer. */
  toStatus(): JsonObject {
    const status: JsonObject = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure" };
    if (this.message !== "") status["message"] = this.message;
    if (this.reason !== "") status["reason"] = this.reason;
    if (Object.keys(this.details).length > 0 || this.hasEmptyDetails) status["details"] = this.details;
    status["code"] = this.code;
    return status;
  }
}

function qualified(subject: ErrorSubject): string {
  return subject.group === "" ? subject.plural : `${subject.plural}.${subject.group}`;
}

function detailsOf(subject: ErrorSubject, name: string): JsonObject {
  const details: JsonObject = {};
  if (name !== "") details["name"] = name;
  if (subject.group !== "") details["group"] = subject.group;
  details["kind"] = subject.plural;
  return details;
}

/** 404 for an object that is not there. */
export function notFound(subject: ErrorSubject, name: string): StatusError {
  return new StatusError(404, "NotFound", {
    message: `${qualified(subject)} "${name}" not found`,
    details: detailsOf(subject, name),
  });
}

/** 409 for a name that is taken. */
export function alreadyExists(subject: ErrorSubject, name: string): StatusError {
  return new StatusError(409, "AlreadyExists", {
    message: `${qualified(subject)} "${name}" already exists`,
    details: detailsOf(subject, name),
  });
}

/** 409 for a write that started from an older version. */
export function conflict(subject: ErrorSubject, name: string, why?: string): StatusError {
  const text = why ??
    "the object has been modified; please apply your changes to the latest version and try again";
  return new StatusError(409, "Conflict", {
    message: `Operation cannot be fulfilled on ${qualified(subject)} "${name}": ${text}`,
    details: detailsOf(subject, name),
  });
}

/** 403 with the words of the authorizer or an admission plugin. */
export function forbidden(subject: ErrorSubject, name: string, why: string): StatusError {
  return new StatusError(403, "Forbidden", {
    message: name === ""
      ? `${qualified(subject)} is forbidden: ${why}`
      : `${qualified(subject)} "${name}" is forbidden: ${why}`,
    details: detailsOf(subject, name),
  });
}

/** 422 for an object that breaks the rules of its kind. */
export function invalid(subject: ErrorSubject, name: string, causes: readonly Cause[]): StatusError {
  const texts = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const kind = subject.group === "" ? subject.kind : `${subject.kind}.${subject.group}`;
  const details: JsonObject = { ...(name === "" ? {} : { name }) };
  if (subject.group !== "") details["group"] = subject.group;
  details["kind"] = subject.kind;
  details["causes"] = causes.map((cause): Json => ({ ...cause }));
  return new StatusError(422, "Invalid", {
    message: `${kind} "${name}" is invalid: ${texts.length === 1 ? texts[0] ?? "" : `[${texts.join(", ")}]`}`,
    details,
  });
}

/** 400 for a request that makes no sense. */
export function badRequest(message: string): StatusError {
  return new StatusError(400, "BadRequest", { message });
}

/** 404 for a path that no resource has. */
export function unknownPath(): StatusError {
  return new StatusError(404, "NotFound", { message: "the server could not find the requested resource", details: {} });
}

/** 410 for a version or continue token that history no longer covers. */
export function expired(message: string): StatusError {
  return new StatusError(410, "Expired", { message });
}
