// Lists: selectors, pages and the version that they show.
import { inVersion } from "./api.ts";
import type { JsonObject } from "./json.ts";
import { apiVersion, type Resource, storeKey } from "./resources.ts";
import type { Matcher } from "./selectors.ts";
import { badRequest, expired, StatusError } from "./status_error.ts";
import { objectKey, type Store } from "./store.ts";

/** What a list asks for. */
export interface ListRequest {
  readonly resource: Resource;
  /** Empty for all namespaces. */
  readonly namespace: string;
  readonly matches: Matcher;
  readonly limit: number;
  readonly continueToken: string;
  readonly resourceVersion: string;
}

interface Token {
  readonly revision: number;
  readonly after: string;
}

function parseToken(text: string): Token {
  try {
    const parsed: unknown = JSON.parse(atob(text));
    if (typeof parsed === "object" && parsed !== null && "revision" in parsed && "after" in parsed) {
      return { revision: Number(parsed.revision), after: String(parsed.after) };
    }
  } catch (error) {
    throw badRequest(
      `invalid continue token: continue key is not valid: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  throw badRequest("invalid continue token: continue key is not valid: no version inside");
}

/**
 * One page of a list.
 *
 * Pages after the first show the present, not the first page's moment; the version stays the first page's.
 *
 * @throws {StatusError} 410 if the continue token is older than history, 504 if the version lies in the future.
 */
export function listPage(store: Store, request: ListRequest): JsonObject {
  const { resource, namespace, matches } = request;
  const token = request.continueToken === "" ? undefined : parseToken(request.continueToken);
  if (token !== undefined && token.revision < store.compactedRevision) {
    throw expired(
      "The provided continue parameter is too old to display a consistent list result. You can start a new list without " +
        "the continue parameter, or use the continue token in this response to retrieve the remainder of the results.",
    );
  }
  if (Number(request.resourceVersion) > store.revision) {
    throw new StatusError(504, "Timeout", {
      message: `Too large resource version: ${request.resourceVersion}, current: ${store.revision}`,
      details: {
        causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
        retryAfterSeconds: 1,
      },
    });
  }
  const selected = store.list(storeKey(resource)).filter((object) =>
    (namespace === "" || object.metadata["namespace"] === namespace) && matches(object) &&
    (token === undefined || objectKey(object) > token.after)
  );
  const page = request.limit > 0 ? selected.slice(0, request.limit) : selected;
  const revision = token?.revision ?? store.revision;
  const metadata: JsonObject = { resourceVersion: String(revision) };
  const last = page.at(-1);
  if (page.length < selected.length && last !== undefined) {
    metadata["continue"] = btoa(JSON.stringify({ revision, after: objectKey(last) }));
    metadata["remainingItemCount"] = selected.length - page.length;
  }
  if (resource.custom) metadata["continue"] ??= "";
  return {
    kind: `${resource.kind}List`,
    apiVersion: apiVersion(resource),
    metadata,
    items: page.map((object) => {
      const shown = inVersion(object, resource);
      if (resource.custom) return shown;
      // Items of built-in lists carry no type, those of custom lists do.
      const { apiVersion: _version, kind: _kind, ...rest } = shown;
      return rest;
    }),
  };
}
