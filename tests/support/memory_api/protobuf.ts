// Bodies in protobuf, in which newer releases of kubectl send the objects that they make themselves. Answers are JSON, which they take too.
// Facts: the envelope of `application/vnd.kubernetes.protobuf` (k8s.io/apimachinery `runtime.Unknown`), the wire format of protocol buffers.
import { Buffer } from "node:buffer";
import type { Json, JsonObject } from "./json.ts";
import { type Field, fieldsOf } from "./protobuf_messages.ts";
import { badRequest, StatusError } from "./status_error.ts";

/** Media type of these bodies. */
export const PROTOBUF = "application/vnd.kubernetes.protobuf";

const MAGIC = "k8s\0";
const VARINT = 0;
const BYTES = 2;

/**
 * The object in a body.
 *
 * @throws {StatusError} 400 if the body is broken, 415 if it says something that is not read here
 */
export function decodeProtobuf(body: Uint8Array): JsonObject {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (bytes.toString("latin1", 0, MAGIC.length) !== MAGIC) throw badRequest("error decoding protobuf: no prefix");
  let kind = "";
  let apiVersion = "";
  let raw: Buffer = Buffer.alloc(0);
  for (const { number, value } of parts(bytes.subarray(MAGIC.length))) {
    if (number === 2 && typeof value !== "bigint") raw = value;
    if (number !== 1 || typeof value === "bigint") continue;
    for (const type of parts(value)) {
      if (type.number === 1) apiVersion = String(type.value);
      if (type.number === 2) kind = String(type.value);
    }
  }
  return { kind, apiVersion, ...decodeMessage(raw, kind) };
}

interface Part {
  readonly number: number;
  readonly value: bigint | Buffer;
}

function* parts(bytes: Buffer): Generator<Part> {
  let at = 0;
  const varint = (): bigint => {
    let result = 0n;
    for (let shift = 0n;; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 63n) throw badRequest("error decoding protobuf: cut short");
      result |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return result;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const number = tag >> 3;
    if ((tag & 7) === VARINT) yield { number, value: varint() };
    else if ((tag & 7) === BYTES) {
      const end = Number(varint()) + at;
      if (end > bytes.length) throw badRequest("error decoding protobuf: cut short");
      yield { number, value: bytes.subarray(at, end) };
      at = end;
    } else throw badRequest(`error decoding protobuf: wire type ${tag & 7}`);
  }
}

function decodeMessage(bytes: Buffer, message: string): JsonObject {
  const fields = fieldsOf(message);
  if (fields === undefined) throw notRead(`a ${message}`);
  const object: JsonObject = {};
  for (const { number, value } of parts(bytes)) {
    const field = fields.get(number);
    const isZero = typeof value === "bigint" ? value === 0n : value.length === 0;
    if (field === undefined) {
      if (isZero || isHollow(value)) continue;
      throw notRead(`field ${number} of ${message}`);
    }
    if (field.form === "map") addEntry(object, field, value);
    else if (field.form === "list") {
      object[field.name] = [...(object[field.name] as Json[] ?? []), decodeValue(value, field)];
    } else if (field.name === "") Object.assign(object, decodeValue(value, field));
    else if (!isZero || field.keepsZero || isMessage(field)) {
      const decoded = decodeValue(value, field);
      if (decoded !== null) object[field.name] = decoded;
    }
  }
  return object;
}

/** Whether a message has only empty messages inside: a part of the object of which nothing was said. */
function isHollow(value: bigint | Buffer): boolean {
  if (typeof value === "bigint") return value === 0n;
  try {
    return [...parts(value)].every((part) => isHollow(part.value));
  } catch {
    return false; // A text.
  }
}

function isMessage({ type }: Field): boolean {
  return fieldsOf(type) !== undefined;
}

function addEntry(object: JsonObject, field: Field, value: bigint | Buffer): void {
  let key = "";
  let entry: Json = "";
  for (const part of parts(Buffer.from(value as Buffer))) {
    if (part.number === 1) key = String(part.value);
    else entry = decodeValue(part.value, field);
  }
  object[field.name] = { ...(object[field.name] as JsonObject ?? {}), [key]: entry };
}

function decodeValue(value: bigint | Buffer, { type }: Field): Json {
  if (typeof value === "bigint") return type === "bool" ? value !== 0n : Number(BigInt.asIntN(64, value));
  if (type === "string") return value.toString("utf8");
  if (type === "bytes") return value.toString("base64");
  const message = decodeMessage(value, type);
  if (type === "Time") {
    return message["seconds"] === undefined
      ? null
      : `${new Date(Number(message["seconds"]) * 1000).toISOString().slice(0, 19)}Z`;
  }
  if (type === "IntOrString") return message["type"] === 1 ? message["strVal"] ?? "" : message["intVal"] ?? 0;
  return message;
}

function notRead(what: string): StatusError {
  return new StatusError(415, "UnsupportedMediaType", {
    message:
      `the in-memory API server does not read ${what} in protobuf: put the object into a file and use kubectl apply -f`,
  });
}
