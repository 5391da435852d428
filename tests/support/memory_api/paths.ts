// Paths beside those of resources: health, version, discovery, OpenAPI.
import type { User } from "./authentication.ts";
import { discover } from "./discovery.ts";
import type { Json } from "./json.ts";
import { openApi } from "./openapi.ts";
import type { ResourceTable } from "./resources.ts";
import { StatusError, unknownPath } from "./status_error.ts";

/** An answer; a text is sent as such. */
export interface Answer {
  readonly code: number;
  readonly body: Json | string;
}

const HEALTH_PATHS: ReadonlySet<string> = new Set(["healthz", "readyz", "livez"]);

/** The answer to a path that names no resource. @throws {StatusError} 403, 404 or 406. */
export function answerPath(segments: readonly string[], user: User, table: ResourceTable): Answer {
  const [first = ""] = segments;
  if (HEALTH_PATHS.has(first)) return { code: 200, body: "ok" };
  if (first !== "version" && user.name === "system:anonymous") {
    throw new StatusError(403, "Forbidden", {
      message: `forbidden: User "system:anonymous" cannot get path "/${segments.join("/")}"`,
      details: {},
    });
  }
  if (first === "openapi" && segments[1] === "v2") {
    throw new StatusError(406, "NotAcceptable", { message: "OpenAPI is served as v3 in JSON: /openapi/v3" });
  }
  const isOpenApi = first === "openapi" && segments[1] === "v3";
  const found = isOpenApi ? openApi(segments.slice(2), table) : discover(segments, table);
  if (found !== undefined) return { code: 200, body: found };
  // Below a version that is served the answer is a Status; elsewhere nobody listens.
  const served = segments[0] === "api" ? segments.slice(1, 2) : segments.slice(1, 3);
  const isServed = (segments[0] === "api" || segments[0] === "apis") &&
    table.hasVersion(served.join("/"));
  if (isServed) throw unknownPath();
  return { code: 404, body: "404 page not found\n" };
}
