// Failures of the Kubernetes API as K3slbErrors, and the questions that callers ask of them.
// Facts: https://kubernetes.io/docs/reference/using-api/api-concepts/ and the Status type of apimachinery.
// Failures of the connection itself are in connection_errors.ts.
import { isK3slbError, K3slbError } from "../shared/errors.ts";

/** What a request wanted, for messages. */
export interface RequestAction {
  /** The verb as RBAC calls it, such as `list`. */
  readonly verb: string;
  /** Plural with subresource and group, such as `services/status` or `daemonsets.apps`; a path for requests without resource. */
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
}

/** The part of the API's `Status` that is read. */
export interface KubeStatus {
  readonly code?: number;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: {
    readonly name?: string;
    readonly kind?: string;
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly StatusCause[];
  };
}

/** One cause inside a `Status`. */
export interface StatusCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

/** Text such as `list services in namespace "default"`. */
export function describeAction(action: RequestAction): string {
  const name = action.name === undefined ? "" : ` "${action.name}"`;
  const place = action.namespace === undefined ? "" : ` in namespace "${action.namespace}"`;
  return `${action.verb} ${action.resource}${name}${place}`;
}

/**
 * The error for an answer of the server that is not a success.
 *
 * @param status The `Status` of the body; what is missing in it is taken from `options.httpStatus`.
 * @param options.body Text of an answer that is no `Status`.
 */
export function statusError(
  status: KubeStatus,
  options: { readonly action: RequestAction; readonly httpStatus: number; readonly body?: string },
): K3slbError {
  const httpStatus = status.code !== undefined && status.code > 0 ? status.code : options.httpStatus;
  const kind = kindOfFailure(httpStatus, status.reason ?? "");
  const causes = status.details?.causes ?? [];
  const reported = status.message ?? cut(options.body ?? "");
  const said = reported === "" ? `HTTP status ${httpStatus}` : reported;
  return new K3slbError(`Cannot ${describeAction(options.action)}: ${said}`, {
    code: kind.code,
    hint: typeof kind.hint === "string" ? kind.hint : kind.hint(options.action, causes),
    retriable: kind.retriable ?? false,
    details: {
      httpStatus,
      reason: status.reason ?? "",
      causes: causes.map((cause) => ({ ...cause })),
      verb: options.action.verb,
      resource: options.action.resource,
      ...(status.details?.retryAfterSeconds === undefined
        ? {}
        : { retryAfterSeconds: status.details.retryAfterSeconds }),
      ...(status.reason === undefined && httpStatus === 404 ? { unknownPath: true } : {}),
    },
  });
}

/** Whether the object, or its whole kind, does not exist. */
export function isNotFound(error: unknown): boolean {
  return isK3slbError(error, "kube-not-found");
}

/** Whether the server does not know the kind at all, as before its CRD is installed. */
export function isKindMissing(error: unknown): boolean {
  return isK3slbError(error, "kube-not-found") &&
    (error.details["unknownPath"] === true || /could not find the requested resource/.test(error.message));
}

/** Whether the object has changed since it was read, or another manager owns a field. */
export function isConflict(error: unknown): boolean {
  return isK3slbError(error, "kube-conflict");
}

/** Whether an object of that name exists already. */
export function isAlreadyExists(error: unknown): boolean {
  return isK3slbError(error, "kube-already-exists");
}

/** Whether the identity lacks the right. */
export function isForbidden(error: unknown): boolean {
  return isK3slbError(error, "kube-forbidden");
}

/** Whether the point in time asked for is no longer (or not yet) in the server's memory; the cure is a new list. */
export function isGone(error: unknown): boolean {
  return isK3slbError(error, "kube-gone");
}

/** Whether the server refuses the object's content. */
export function isInvalid(error: unknown): boolean {
  return isK3slbError(error, "kube-invalid");
}

/** Whether the server could not make sense of the request, as an older one of a newer parameter. */
export function isBadRequest(error: unknown): boolean {
  return isK3slbError(error, "kube-bad-request");
}

/** Whether the request itself is refused, by a rule, a right, a quota or a webhook: a later try fails too, until someone acts. */
export function isRefusal(error: unknown): boolean {
  if (!isK3slbError(error)) return false;
  return REFUSALS.has(error.code) ||
    (error.code === "kube-server-error" && /failed calling webhook/.test(error.message));
}

const REFUSALS: ReadonlySet<string> = new Set([
  ...["kube-bad-request", "kube-forbidden", "kube-invalid", "kube-rejected", "kube-too-large"],
]);

/** Whether the request failed because its namespace is being deleted. */
export function isNamespaceTerminating(error: unknown): boolean {
  if (!isK3slbError(error, "kube-forbidden") && !isK3slbError(error, "kube-conflict")) return false;
  const causes = error.details["causes"];
  return (Array.isArray(causes) && causes.some((cause) => cause.reason === "NamespaceTerminating")) ||
    /because it is being terminated/.test(error.message);
}

/** Whether no usable answer came at all: refused, cut off, too slow, TLS. Nothing is known about the object then. */
export function isConnectionFailure(error: unknown): boolean {
  return isK3slbError(error) && error.details["connection"] === true;
}

interface FailureKind {
  readonly code: string;
  /** Default: no. */
  readonly retriable?: boolean;
  readonly hint: string | ((action: RequestAction, causes: readonly StatusCause[]) => string);
}

function kindOfFailure(httpStatus: number, reason: string): FailureKind {
  if (reason === "AlreadyExists") return ALREADY_EXISTS;
  if (reason === "Expired" || reason === "Gone") return GONE;
  return KINDS_BY_STATUS[httpStatus] ?? (httpStatus >= 500 ? SERVER_ERROR : REJECTED);
}

const ALREADY_EXISTS: FailureKind = {
  code: "kube-already-exists",
  hint: "Use the existing object or delete it first",
};
const GONE: FailureKind = {
  code: "kube-gone",
  retriable: true,
  hint: "The server has forgotten that point in time; list again",
};
const SERVER_ERROR: FailureKind = {
  code: "kube-server-error",
  retriable: true,
  hint: "Look into the API server's log; the request is tried again",
};
const REJECTED: FailureKind = {
  code: "kube-rejected",
  hint: "Check that the server is a Kubernetes API server of a supported version",
};

const KINDS_BY_STATUS: Readonly<Record<number, FailureKind>> = {
  400: {
    code: "kube-bad-request",
    hint: "The server does not understand the request; check the object and the server's version",
  },
  401: {
    code: "kube-unauthorized",
    retriable: true,
    hint: "Check that the credentials of the kubeconfig are valid for this cluster and not expired",
  },
  403: {
    code: "kube-forbidden",
    retriable: true,
    hint: ({ verb, resource }) =>
      `Give this identity the verb "${verb}" on "${resource}" by an RBAC role, or use another kubeconfig`,
  },
  404: {
    code: "kube-not-found",
    hint: "Check the name and the namespace, and that the cluster has this kind of object",
  },
  409: { code: "kube-conflict", retriable: true, hint: "Someone else changed the object; read it again and retry" },
  410: GONE,
  413: { code: "kube-too-large", hint: "Make the object smaller; the server takes about 1.5 MiB" },
  422: {
    code: "kube-invalid",
    hint: (_action, causes) => {
      // "[]" stands for the object as a whole.
      const fields = causes.flatMap(({ field = "" }) => field === "" || field === "[]" ? [] : [`"${field}"`]);
      return `Correct ${fields.length === 0 ? "the object" : fields.join(", ")}`;
    },
  },
  429: {
    code: "kube-too-many-requests",
    retriable: true,
    hint: "The server is busy; the request is tried again later",
  },
  503: {
    code: "kube-unavailable",
    retriable: true,
    hint: "The API server is starting, stopping or overloaded; the request is tried again",
  },
  504: {
    code: "kube-server-timeout",
    retriable: true,
    hint: "The server could not finish in time; look at the load of etcd and of admission webhooks",
  },
};

function cut(text: string): string {
  const line = text.trim().replaceAll(/\s+/g, " ");
  return line.length > MAX_BODY_IN_MESSAGE ? `${line.slice(0, MAX_BODY_IN_MESSAGE)}...` : line;
}

const MAX_BODY_IN_MESSAGE = 200;

/** The `Status` in an answer; empty if the answer is something else. */
export function parseStatus(body: string): KubeStatus {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null && "kind" in value && value.kind === "Status"
      ? value as KubeStatus
      : {};
  } catch {
    // Proxies and the server's own 404 answer in plain text; the caller shows that text.
    return {};
  }
}
