// Releases as helm records them: one Secret or ConfigMap for each revision, with everything that matters in labels. Pure.
// Facts: helm.sh/helm `pkg/storage/driver`; klipper-helm adds the hash as a label from v0.13.0 on. Older images leave none, and helm keeps
// the labels of the revision before where it is given none.
import type { Job, KubeObject } from "../../kube/types.ts";
import { attemptOf, expectedRevision } from "../jobs/job_state.ts";
import { CONFIG_HASH_ANNOTATION, DEPLOYED_ANNOTATION } from "../names.ts";

/** The latest revision of a release. */
export interface Release {
  readonly revision: number;
  /** Helm's word, such as `deployed` or `pending-upgrade`. */
  readonly status: string;
  /** First 63 digits of the hash of the configuration that it was made from; empty if another program made it. */
  readonly configHash: string;
  readonly createdMs: number;
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
    createdMs: Date.parse(metadata?.creationTimestamp ?? ""),
  })).filter(({ revision }) => Number.isSafeInteger(revision));
  return releases.toSorted((a, b) => b.revision - a.revision)[0];
}

/**
 * Whether `job`, which has ended, made `release`, although no label of it says so: it is newer than what the Job was told of. Where a label
 * speaks of another configuration it may be a rollback by hand, which one more Job repairs; after that the image is known to label nothing.
 */
export function isMadeBy(job: Job, release: Release): boolean {
  const expected = expectedRevision(job);
  const isNewer = release.revision > expected ||
    release.createdMs >= Date.parse(job.metadata?.creationTimestamp ?? "");
  const isInherited = expected > 0 && release.revision === expected + 1;
  return isNewer && (release.configHash === "" || isInherited || attemptOf(job) > 0);
}

/** What is noted on a chart whose release has no label: the revision and the configuration that it was made from. */
export function deployedNote(release: Release, configHash: string): string {
  return `${release.revision} ${configHash}`;
}

/** Whether `release` is deployed from the configuration with `configHash`: by its label, or by what is noted on the chart. */
export function isDeployedFrom(configHash: string, release: Release | undefined, chart: KubeObject): boolean {
  if (release?.status !== "deployed") return false;
  const note = chart.metadata?.annotations?.[DEPLOYED_ANNOTATION];
  return release.configHash === configHash || note === deployedNote(release, configHash);
}
