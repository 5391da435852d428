// Bodies of requests: JSON, or protobuf that is read as such; and what a client wants to hear of fields that nobody has.
import { Buffer } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { asObject, type Json } from "./json.ts";
import { unknownFields } from "./openapi.ts";
import { decodeProtobuf, PROTOBUF } from "./protobuf.ts";
import type { ResourceRequest } from "./request.ts";
import { badRequest } from "./status_error.ts";

/** The body as JSON text. */
export async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk as Uint8Array);
  const bytes = Buffer.concat(chunks);
  const isProtobuf = bytes.length > 0 && mediaType(request) === PROTOBUF;
  return isProtobuf ? JSON.stringify(decodeProtobuf(bytes)) : bytes.toString("utf8");
}

/** The body's type without its parameters. */
export function mediaType(request: IncomingMessage): string {
  return (request.headers["content-type"] ?? "").split(";")[0]?.trim() ?? "";
}

/** @throws {StatusError} 400 with the server's words. */
export function parseJson(text: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw badRequest(`error decoding JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * Looks for fields that the kind does not have, if the client asks for that.
 *
 * @throws {StatusError} 400 that names them
 */
export function checkFields(
  object: Json,
  asked: Pick<ResourceRequest, "resource" | "subresource">,
  query: URLSearchParams,
): void {
  if (query.get("fieldValidation") !== "Strict" || asked.subresource !== "") return;
  const { kind, version } = asked.resource;
  const unknown = unknownFields(asObject(object), asked.resource).map((path) => `unknown field "${path}"`);
  if (unknown.length === 0) return;
  throw badRequest(
    `${kind} in version "${version}" cannot be handled as a ${kind}: strict decoding error: ${unknown.join(", ")}`,
  );
}
