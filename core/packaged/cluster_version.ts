// The cluster's version as its API server tells it. Pure.

/** What `/version` says, as far as it matters. */
export interface ClusterVersion {
  readonly major: number;
  readonly minor: number;
  /** As the server writes it, such as `v1.31.4+k3s1`. */
  readonly text: string;
  /** Whether the API server is K3s's own. */
  readonly isK3s: boolean;
}

/** Newer than every rule about versions. */
export const NEWEST_VERSION: ClusterVersion = { major: 1, minor: 99, text: "newest", isK3s: false };

/** `gitVersion` taken apart; `undefined` if it is no version. */
export function parseClusterVersion(gitVersion: string): ClusterVersion | undefined {
  const match = /^v?(\d+)\.(\d+)/.exec(gitVersion);
  if (match === null) return undefined;
  const [, major, minor] = match;
  return { major: Number(major), minor: Number(minor), text: gitVersion, isK3s: /\+k3s/.test(gitVersion) };
}

/** Whether `version` is 1.`minor` or newer. */
export function isAtLeast(version: ClusterVersion, minor: number): boolean {
  return version.major > 1 || (version.major === 1 && version.minor >= minor);
}
