// The bytes of a manifest file to its objects without holding up the loop: a long file is read by a thread.
import { parseJson } from "../../kube/json.ts";
import { asideTask } from "../../runtime/aside.ts";
import { decodeText, type ManifestObject, parseManifests } from "./parse_manifests.ts";

/** What is read in place, in bytes; the worst text of this length takes some 50 ms. */
const MOST_IN_PLACE = 16 * 1024;
/** Objects that are handed over at a time. */
const MOST_IN_PART = 20;
/** 10 MB of small objects take some 8 s. */
const TIMEOUT_MS = 120_000;
/** Time in milliseconds for which nothing else is let in. */
const MOST_MS = 10;

/** A file as its owner wrote it. */
export interface LongFile {
  readonly bytes: Uint8Array;
  readonly file: string;
}

const readLong = asideTask<LongFile, string>({
  name: "read a manifest",
  url: import.meta.url,
  work: readParts,
  timeoutMs: TIMEOUT_MS,
});

/** The work of the thread: objects as JSON, which is cheaper than cloning them. */
export function* readParts({ bytes, file }: LongFile): Generator<string> {
  const objects = parseManifests(decodeText(bytes, file), file);
  for (let from = 0; from < objects.length; from += MOST_IN_PART) {
    yield JSON.stringify(objects.slice(from, from + MOST_IN_PART));
  }
}

/** What the loop has to do with each part. */
export function takePart(part: string): readonly ManifestObject[] {
  return parseJson(part) as readonly ManifestObject[];
}

/**
 * The objects in `bytes`, in the order of the file.
 *
 * @throws {K3slbError} code "yaml-invalid" or "manifest-invalid", every problem in `details.problems`; "aside" if it takes too long
 */
export async function readObjects(
  bytes: Uint8Array,
  file: string,
  signal?: AbortSignal,
): Promise<readonly ManifestObject[]> {
  if (bytes.length <= MOST_IN_PLACE) return parseManifests(decodeText(bytes, file), file);
  const objects: ManifestObject[] = [];
  let sinceMs = performance.now();
  for (const part of await readLong({ bytes, file }, signal)) {
    objects.push(...takePart(part));
    if (performance.now() - sinceMs < MOST_MS) continue;
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
    sinceMs = performance.now();
  }
  return objects;
}
