// How large a file is when it is sent: compressed by xz if there is one, else by gzip.
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { Writable } from "node:stream";
import { createGzip } from "node:zlib";

/** Size in bytes of the file at `path` after gzip. */
export async function compressedSize(path: string): Promise<number> {
  let bytes = 0;
  const count = new Writable({
    write: (chunk: Uint8Array, _encoding, done) => {
      bytes += chunk.length;
      done();
    },
  });
  await pipeline(createReadStream(path), createGzip({ level: 6 }), count);
  return bytes;
}
