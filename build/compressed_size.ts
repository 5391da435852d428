// How large a file is when it is sent.
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { Writable } from "node:stream";
import { createGzip } from "node:zlib";
import { runTool } from "./run_tool.ts";

/** Size in bytes after gzip of what the file at `path` has behind its first `skippedBytes` bytes. */
export async function compressedSize(path: string, skippedBytes: number): Promise<number> {
  let bytes = 0;
  const count = new Writable({
    write: (chunk: Uint8Array, _encoding, done) => {
      bytes += chunk.length;
      done();
    },
  });
  await pipeline(createReadStream(path, { start: skippedBytes }), createGzip({ level: 6 }), count);
  return bytes;
}

/**
 * Writes `path.xz` and returns its size in bytes. Takes a minute for a binary.
 * @throws {K3slbError} code "build-tool" if xz fails
 */
export async function writeCompressed(path: string): Promise<number> {
  await runTool(["xz", "--keep", "--force", "-6", "-T1", path], { hint: "Install xz (package xz-utils)" });
  return (await Deno.stat(`${path}.xz`)).size;
}
