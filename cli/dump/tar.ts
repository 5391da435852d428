// Files of text as one tar archive, in POSIX' ustar format (pax(1), "ustar Interchange Format"). Pure.
import { Buffer } from "node:buffer";

/** One file of an archive. */
export interface TarFile {
  /** At most 100 bytes, with `/` between folders. */
  readonly path: string;
  readonly text: string;
}

/** The archive; `seconds` since 1970 are the files' time. */
export function renderTar(files: readonly TarFile[], seconds: number): Buffer {
  const parts = files.flatMap(({ path, text }) => {
    const content = Buffer.from(text);
    return [header(path, content.length, seconds), content, Buffer.alloc(padding(content.length))];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

function header(path: string, size: number, seconds: number): Buffer {
  if (Buffer.byteLength(path) > MAX_PATH) throw new RangeError(`Path "${path}" is too long for a tar archive`);
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, width: number): string => `${value.toString(8).padStart(width - 1, "0")}\0`;
  const fields: readonly (readonly [number, string])[] = [
    [0, path],
    [100, octal(0o600, 8)],
    [108, octal(0, 8)],
    [116, octal(0, 8)],
    [124, octal(size, 12)],
    [136, octal(seconds, 12)],
    // The checksum counts itself as blanks.
    [148, " ".repeat(8)],
    [156, "0"],
    [257, "ustar\u000000"],
  ];
  for (const [offset, text] of fields) block.write(text, offset, "utf8");
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "ascii");
  return block;
}

function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

const BLOCK = 512;
const MAX_PATH = 100;
