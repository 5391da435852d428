// Counting API requests by user from the audit log of kube-apiserver (level Metadata). A watch counts once, when it starts.
import { closeSync, fstatSync, openSync, readSync } from "node:fs";

/** One request as the API server saw it. */
export interface ApiRequest {
  readonly user: string;
  readonly userAgent: string;
  readonly verb: string;
  /** Empty for the core group, and for what is no resource. */
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  readonly uri: string;
  /** HTTP status. */
  readonly code: number;
}

/** Verbs that change something. */
export const WRITE_VERBS: readonly string[] = ["create", "update", "patch", "delete", "deletecollection"];

/** The audit policy: every request once, watches when they start. */
export const AUDIT_POLICY = JSON.stringify({
  apiVersion: "audit.k8s.io/v1",
  kind: "Policy",
  omitStages: ["RequestReceived"],
  rules: [{ level: "Metadata" }],
});

/** Requests that were logged to `file` from byte `offset` on, and where the log ends now. */
export function readAuditLog(
  file: string,
  offset: number,
): { readonly requests: readonly ApiRequest[]; readonly end: number } {
  const text = readFrom(file, offset);
  const complete = text.slice(0, text.lastIndexOf("\n") + 1);
  const requests: ApiRequest[] = [];
  for (const line of complete.split("\n")) {
    if (line === "") continue;
    const request = parseAuditLine(line);
    if (request !== undefined) requests.push(request);
  }
  return { requests, end: offset + new TextEncoder().encode(complete).length };
}

/** Requests per value of `key`, most first. */
export function countRequests(
  requests: readonly ApiRequest[],
  key: (request: ApiRequest) => string,
): readonly (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const request of requests) counts.set(key(request), (counts.get(key(request)) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

interface AuditEvent {
  readonly stage: string;
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string };
  readonly userAgent?: string;
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource?: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code?: number };
}

function parseAuditLine(line: string): ApiRequest | undefined {
  const event = JSON.parse(line) as AuditEvent;
  const countedStage = event.verb === "watch" ? "ResponseStarted" : "ResponseComplete";
  if (event.stage !== countedStage) return undefined;
  return {
    user: event.user.username,
    userAgent: event.userAgent ?? "",
    verb: event.verb,
    group: event.objectRef?.apiGroup ?? "",
    resource: event.objectRef?.resource ?? "",
    subresource: event.objectRef?.subresource ?? "",
    namespace: event.objectRef?.namespace ?? "",
    name: event.objectRef?.name ?? "",
    uri: event.requestURI,
    code: event.responseStatus?.code ?? 0,
  };
}

function readFrom(file: string, offset: number): string {
  const fd = openSync(file, "r");
  try {
    const size = Math.max(fstatSync(fd).size - offset, 0);
    const bytes = new Uint8Array(size);
    const read = size === 0 ? 0 : readSync(fd, bytes, 0, size, offset);
    return new TextDecoder().decode(bytes.subarray(0, read));
  } finally {
    closeSync(fd);
  }
}
