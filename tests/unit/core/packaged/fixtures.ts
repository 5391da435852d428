// What tests of the packaged parts share: versions, marks of ownership, parsed manifests.
import { type ClusterVersion, parseClusterVersion } from "../../../../core/packaged/cluster_version.ts";
import { parseYamlDocuments } from "../../../../core/shared/yaml.ts";

/** A version, which must be one. */
export function versionOf(text: string): ClusterVersion {
  const version = parseClusterVersion(text);
  if (version === undefined) throw new TypeError(`"${text}" is no version`);
  return version;
}

/** A cluster of today that is no K3s. */
export const VERSION: ClusterVersion = versionOf("v1.36.3");

/** Annotations of an object of the AddOn `name`. */
export function marksOf(name: string): Record<string, string> {
  return {
    "objectset.rio.cattle.io/owner-gvk": "k3s.cattle.io/v1, Kind=Addon",
    "objectset.rio.cattle.io/owner-name": name,
  };
}

/** The objects of a manifest's text by `Kind/name`. */
export function objectsOf(text: string): ReadonlyMap<string, unknown> {
  return new Map(
    parseYamlDocuments(text).filter(({ value }) => value !== null).map(({ value }) => [
      `${at(value, "kind")}/${at(value, "metadata", "name")}`,
      value,
    ]),
  );
}

/** What is at `path` inside `value`; `undefined` if there is nothing. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let found = value;
  for (const step of path) found = (found as Readonly<Record<string, unknown>> | undefined)?.[step];
  return found;
}
