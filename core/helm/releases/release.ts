// Releases as helm records them: one Secret or ConfigMap for each revision, with everything that matters in labels. Pure.
// Facts: helm.sh/helm `pkg/storage/driver`; klipper-helm adds the hash as a label.
import type { KubeObject } from "../../kube/types.ts";
import { CONFIG_HASH_ANNOTATION } from "../names.ts";

/** The latest revision of a release. */
export interface Release {
  readonly revision: number;
  /** Helm's word, such as `deployed` or `pending-upgrade`. */
  readonly status: string;
  /** First 63 digits of the hash of the configuration that it was made from; empty if another program made it. */
  readonly configHash: string;
}

/** Labels by which the records of the release `name` are found. */
export function releaseSelector(name: string): string {
  return `name=${name},owner=helm`;
}

/** The record with the highest revision; `undefined` if there is no release. */
export function latestRelease(records: readonly KubeObject[]): Release | undefined {
  const releases = records.map(({ metadata }) => ({
    revision: Number(metadata?.labels?.["version"]),
    status: metadata?.labels?.["status"] ?? "unknown",
    configHash: metadata?.labels?.[CONFIG_HASH_ANNOTATION] ?? "",
  })).filter(({ revision }) => Number.isSafeInteger(revision));
  return releases.toSorted((a, b) => b.revision - a.revision)[0];
}
