// `kubectl` in two releases: the control plane's own, and one that is five minors older. Both are built once from Go modules.
import { existsSync } from "node:fs";
import { ensureControlPlaneProgram, hasControlPlaneProgram } from "./control_plane_program.ts";
import { ensureGoProgram, type GoProgram, goProgramFile, kubernetesBuildFlags } from "./go_program.ts";

/** Its version is that of tests/older_kubectl/go.mod. */
const OLDER_VERSION = "v1.31.3";

const OLDER: GoProgram = {
  name: "older_kubectl",
  title: `kubectl ${OLDER_VERSION}`,
  flags: kubernetesBuildFlags(OLDER_VERSION),
};

/** One release. */
export interface Kubectl {
  /** Such as `newer` or `older`. */
  readonly name: string;
  readonly command: readonly string[];
}

/** Builds what is not there yet. */
export async function ensureOlderKubectl(report?: (line: string) => void): Promise<string> {
  return await ensureGoProgram(OLDER, report);
}

/** The releases that were built before. */
export async function builtKubectls(): Promise<readonly Kubectl[]> {
  if (!(await hasControlPlaneProgram())) return [];
  const newer = { name: "newer", command: (await ensureControlPlaneProgram())("kubectl") };
  const file = await goProgramFile(OLDER).catch(() => ""); // No Go: nothing could have been built for it.
  return existsSync(file) ? [newer, { name: "older", command: [file] }] : [newer];
}
