// Where the programs of a real control plane come from: the folder in KUBEBUILDER_ASSETS, or one multi-call program built
// once from tests/control_plane into a cache outside the checkout.
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import {
  ensureGoProgram,
  type GoProgram,
  goProgramFile,
  KUBERNETES_BUILD_FLAGS,
  KUBERNETES_VERSION,
  sourceDir,
} from "./go_program.ts";

/** The programs that make a control plane. */
export type ControlPlaneProgramName =
  | "etcd"
  | "kube-apiserver"
  | "kube-controller-manager"
  | "kube-scheduler"
  | "kubectl";

/** How to start each program: the file, and its first arguments if it needs any. */
export type ControlPlanePrograms = (name: ControlPlaneProgramName) => readonly string[];

const PROGRAM: GoProgram = {
  name: "control_plane",
  title: `the control plane (Kubernetes ${KUBERNETES_VERSION})`,
  flags: KUBERNETES_BUILD_FLAGS,
  otherwise: "set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager and kube-scheduler",
};

/**
 * Finds or builds the control plane's programs. The first build takes some minutes; later calls only look.
 *
 * @param report Takes lines about what is going on
 * @throws {Error} if a program is missing in KUBEBUILDER_ASSETS, or there is no Go and nothing was built before
 */
export async function ensureControlPlaneProgram(
  report?: (line: string) => void,
): Promise<ControlPlanePrograms> {
  const assets = process.env["KUBEBUILDER_ASSETS"];
  if (assets !== undefined && assets !== "") return programsInFolder(assets);
  const file = await ensureGoProgram(PROGRAM, report);
  return (name) => [file, name];
}

/** Whether {@linkcode ensureControlPlaneProgram} would return at once. */
export async function hasControlPlaneProgram(): Promise<boolean> {
  if ((process.env["KUBEBUILDER_ASSETS"] ?? "") !== "") return true;
  try {
    return existsSync(await goProgramFile(PROGRAM));
  } catch {
    return false; // No Go: nothing could have been built for it.
  }
}

function programsInFolder(dir: string): ControlPlanePrograms {
  for (const name of ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]) {
    if (existsSync(join(dir, name))) continue;
    throw new Error(
      `KUBEBUILDER_ASSETS is "${dir}", but there is no "${name}" in it. setup-envtest brings only etcd and kube-apiserver; ` +
        `add the others from dl.k8s.io, or unset KUBEBUILDER_ASSETS to build all of them from ${sourceDir(PROGRAM)}`,
    );
  }
  return (name) => [join(dir, name)];
}
