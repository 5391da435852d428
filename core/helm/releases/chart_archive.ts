// Files inside a packed chart: gzip and the part of tar that helm writes. Pure.
// Facts: POSIX.1-2001 pax interchange format (ustar headers of 512 bytes, octal sizes); helm packs regular files with plain names.
import { gunzipSync } from "node:zlib";
import { Buffer } from "node:buffer";

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
const SIZE_OFFSET = 124;
const SIZE_BYTES = 12;
const TYPE_OFFSET = 156;
const PREFIX_OFFSET = 345;
const PREFIX_BYTES = 155;
const REGULAR_TYPES = ["0", "\0"];
/** What a chart may unpack to; more is an accident or an attack. */
const MAX_UNPACKED_BYTES = 32 << 20;

/** Texts of the chart's files by their path below the chart's own folder; empty if `content` is no packed chart. */
export function chartFiles(content: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  const bytes = unpack(content);
  for (let at = 0; at + BLOCK_BYTES <= bytes.length;) {
    const header = bytes.subarray(at, at + BLOCK_BYTES);
    const name = textAt(header, 0, NAME_BYTES);
    if (name === "") break;
    const size = Number.parseInt(textAt(header, SIZE_OFFSET, SIZE_BYTES).trim() || "0", 8);
    if (!Number.isSafeInteger(size) || size < 0) break;
    const prefix = textAt(header, PREFIX_OFFSET, PREFIX_BYTES);
    const path = (prefix === "" ? name : `${prefix}/${name}`).replace(/^\.\//, "");
    const start = at + BLOCK_BYTES;
    if (REGULAR_TYPES.includes(String.fromCharCode(header[TYPE_OFFSET] ?? 0))) {
      files.set(path.slice(path.indexOf("/") + 1), bytes.toString("utf8", start, start + size));
    }
    at = start + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
  }
  return files;
}

function unpack(content: string): Buffer {
  try {
    return gunzipSync(Buffer.from(content, "base64"), { maxOutputLength: MAX_UNPACKED_BYTES });
  } catch {
    // Helm will say what is wrong with it, in the Job.
    return Buffer.alloc(0);
  }
}

function textAt(header: Buffer, start: number, length: number): string {
  const end = header.indexOf(0, start);
  return header.toString("utf8", start, end < start || end > start + length ? start + length : end);
}
