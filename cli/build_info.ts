// What this build is. The build writes the value in place of the name `K3SLB_BUILD`; run from source there is none.
import process from "node:process";

/** What the build recorded. */
export interface BuildInfo {
  readonly version: string;
  readonly commit: string;
  /** Operating system, processor and C library, such as `linux-x64`. */
  readonly target: string;
}

/** What this build is, and what runs it. */
export interface VersionInfo extends BuildInfo {
  /** Name and version of the JavaScript runtime inside. */
  readonly runtime: string;
}

declare const K3SLB_BUILD: BuildInfo | undefined;

/** What this build is; version and commit are `source` when it was not built. */
export function buildInfo(): BuildInfo {
  if (typeof K3SLB_BUILD !== "undefined") return K3SLB_BUILD;
  return { version: "source", commit: "source", target: `${process.platform}-${process.arch}` };
}

/** What this build is and what runs it. */
export function versionInfo(): VersionInfo {
  return { ...buildInfo(), runtime: runtimeName(process.versions) };
}

/** Name and version of the runtime, from what it calls its versions. Deno and Bun also say that they are Node. */
export function runtimeName(versions: Readonly<Record<string, string | undefined>>): string {
  const name = ["bun", "deno", "node"].find((candidate) => versions[candidate] !== undefined) ?? "node";
  return `${name} ${versions[name] ?? "unknown"}`;
}
