// JSON patch (RFC 6902) over JSON pointers (RFC 6901).
import { asList, asObject, asText, clone, equal, isObject, type Json } from "./json.ts";
import { badRequest, StatusError } from "./status_error.ts";

/** `why` stays inside: the real server does not tell. */
function unprocessable(why: string): StatusError {
  const error = new StatusError(422, "Invalid", {
    message: "the server rejected our request due to an error in our request",
    details: {},
  });
  error.cause = why;
  return error;
}

function parsePointer(pointer: string): string[] {
  if (pointer === "") return [];
  return pointer.slice(1).split("/").map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function child(parent: Json | undefined, part: string): Json | undefined {
  if (Array.isArray(parent)) return /^\d+$/.test(part) ? parent[Number(part)] : undefined;
  return isObject(parent) && Object.hasOwn(parent, part) ? parent[part] : undefined;
}

function read(document: Json, pointer: string): Json | undefined {
  let here: Json | undefined = document;
  for (const part of parsePointer(pointer)) here = child(here, part);
  return here;
}

interface Place {
  readonly parent: Json;
  readonly last: string;
}

function place(document: Json, pointer: string, operation: string): Place {
  const parts = parsePointer(pointer);
  const last = parts.pop();
  let parent: Json | undefined = document;
  for (const part of parts) parent = child(parent, part);
  if (last === undefined || (!isObject(parent) && !Array.isArray(parent))) {
    throw unprocessable(`${operation} operation does not apply: doc is missing path: "${pointer}": missing value`);
  }
  return { parent, last };
}

function add(document: Json, pointer: string, value: Json): Json {
  if (pointer === "") return value;
  const { parent, last } = place(document, pointer, "add");
  if (Array.isArray(parent)) {
    const index = last === "-" ? parent.length : Number(last);
    if (!Number.isInteger(index) || index < 0 || index > parent.length) {
      throw unprocessable(`add operation does not apply: doc is missing path: "${pointer}": invalid index referenced`);
    }
    parent.splice(index, 0, value);
  } else asObject(parent)[last] = value;
  return document;
}

function remove(document: Json, pointer: string): Json {
  const { parent, last } = place(document, pointer, "remove");
  if (child(parent, last) === undefined) {
    throw unprocessable(`remove operation does not apply: doc is missing path: "${pointer}": missing value`);
  }
  if (Array.isArray(parent)) parent.splice(Number(last), 1);
  else delete asObject(parent)[last];
  return document;
}

/**
 * A copy of `target` after all operations.
 *
 * @throws {StatusError} 422 if an operation does not apply or a test fails.
 */
export function jsonPatch(target: Json, operations: Json): Json {
  if (!Array.isArray(operations)) {
    throw badRequest("json: cannot unmarshal object into Go value of type jsonpatch.Patch");
  }
  let document = clone(target);
  for (const entry of asList(operations)) {
    const operation = asObject(entry);
    const path = asText(operation["path"]);
    const value = clone(operation["value"] ?? null);
    switch (operation["op"]) {
      case "add":
        document = add(document, path, value);
        break;
      case "remove":
        document = remove(document, path);
        break;
      case "replace": {
        if (read(document, path) === undefined) {
          throw unprocessable(`replace operation does not apply: doc is missing key: ${path}: missing value`);
        }
        if (path === "") document = value;
        else {
          const { parent, last } = place(document, path, "replace");
          if (Array.isArray(parent)) parent[Number(last)] = value;
          else asObject(parent)[last] = value;
        }
        break;
      }
      case "test":
        if (!equal(read(document, path) ?? null, value)) {
          throw unprocessable(`testing value ${path} failed: test failed`);
        }
        break;
      case "move":
      case "copy": {
        const from = asText(operation["from"]);
        const moved = read(document, from);
        if (moved === undefined) {
          throw unprocessable(
            `${operation["op"]} operation does not apply: doc is missing from path: "${from}": missing value`,
          );
        }
        const copy = clone(moved);
        if (operation["op"] === "move") document = remove(document, from);
        document = add(document, path, copy);
        break;
      }
      default:
        throw badRequest(`Unexpected kind: ${asText(operation["op"])}`);
    }
  }
  return document;
}
