// A manifest file read in pieces: a file of megabytes takes seconds, in which the server must renew its Lease and do its other work.
import { type ManifestObject, manifestSteps } from "./parse_manifests.ts";

/** Time in milliseconds for which nothing else is let in. */
const MOST_MS = 15;

/** {@linkcode parseManifests} with pauses. */
export async function parseInPieces(text: string, file: string): Promise<readonly ManifestObject[]> {
  const steps = manifestSteps(text, file);
  let sinceMs = performance.now();
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() - sinceMs < MOST_MS) continue;
    await new Promise<void>((resolve) => setTimeout(resolve, 0));
    sinceMs = performance.now();
  }
}
