// Where the programs of a real control plane come from: the folder in KUBEBUILDER_ASSETS, or one multi-call program built
// once from tests/control_plane into a cache outside the checkout.
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runProgram } from "./programs.ts";

/** The programs that make a control plane. */
export type ControlPlaneProgramName =
  | "etcd"
  | "kube-apiserver"
  | "kube-controller-manager"
  | "kube-scheduler"
  | "kubectl";

/** How to start each program: the file, and its first arguments if it needs any. */
export type ControlPlanePrograms = (name: ControlPlaneProgramName) => readonly string[];

/** Version of Kubernetes that tests/control_plane/go.mod pins. */
export const CONTROL_PLANE_VERSION = "v1.36.3";

const [, MAJOR, MINOR] = /^v(\d+)\.(\d+)\./.exec(CONTROL_PLANE_VERSION) ?? [];
const VERSION_PACKAGE = "k8s.io/component-base/version";
const BUILD_FLAGS: readonly string[] = [
  "-trimpath",
  "-ldflags",
  `-s -w -X ${VERSION_PACKAGE}.gitVersion=${CONTROL_PLANE_VERSION} -X ${VERSION_PACKAGE}.gitMajor=${MAJOR} -X ${VERSION_PACKAGE}.gitMinor=${MINOR}`,
];
const SOURCE_DIR = fileURLToPath(new URL("../control_plane/", import.meta.url));
const SOURCE_FILES = ["go.mod", "go.sum", "main.go"];

/**
 * Finds or builds the control plane's programs. The first build takes some minutes; later calls only look.
 *
 * @param report Takes lines about what is going on
 * @throws {Error} if a program is missing in KUBEBUILDER_ASSETS, or there is no Go and nothing was built before
 */
export async function ensureControlPlaneProgram(
  report: (line: string) => void = printLine,
): Promise<ControlPlanePrograms> {
  const assets = process.env["KUBEBUILDER_ASSETS"];
  if (assets !== undefined && assets !== "") return programsInFolder(assets);
  const file = await builtProgramFile();
  if (!existsSync(file)) await buildProgram(file, report);
  return (name) => [file, name];
}

/** Whether {@linkcode ensureControlPlaneProgram} would return at once. */
export async function hasControlPlaneProgram(): Promise<boolean> {
  if ((process.env["KUBEBUILDER_ASSETS"] ?? "") !== "") return true;
  try {
    return existsSync(await builtProgramFile());
  } catch {
    return false; // No Go: nothing could have been built for it.
  }
}

function programsInFolder(dir: string): ControlPlanePrograms {
  for (const name of ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"]) {
    if (existsSync(join(dir, name))) continue;
    throw new Error(
      `KUBEBUILDER_ASSETS is "${dir}", but there is no "${name}" in it. setup-envtest brings only etcd and kube-apiserver; ` +
        `add the others from dl.k8s.io, or unset KUBEBUILDER_ASSETS to build all of them from ${SOURCE_DIR}`,
    );
  }
  return (name) => [join(dir, name)];
}

/** The file's name changes with everything that changes its content. */
async function builtProgramFile(): Promise<string> {
  const go = await runProgram(["go", "env", "GOVERSION", "GOARCH"], { cwd: SOURCE_DIR });
  if (go.code !== 0) {
    throw new Error(
      `Cannot build the control plane: "go" ${go.code === 127 ? "is not installed" : `failed: ${go.stderr.trim()}`}. ` +
        `Install Go 1.26 or later ("apt-get install golang-go", "brew install go" or https://go.dev/dl/), ` +
        `or set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver, kube-controller-manager and kube-scheduler`,
    );
  }
  const hash = createHash("sha256").update(go.stdout).update(BUILD_FLAGS.join(" "));
  for (const file of SOURCE_FILES) hash.update(readFileSync(join(SOURCE_DIR, file)));
  return join(cacheDir(), `control_plane-${hash.digest("hex").slice(0, 16)}`);
}

async function buildProgram(file: string, report: (line: string) => void): Promise<void> {
  const startMs = performance.now();
  const seconds = (): number => Math.round((performance.now() - startMs) / 1000);
  report(`building the control plane (Kubernetes ${CONTROL_PLANE_VERSION}) into ${file}; some minutes, once`);
  const progress = setInterval(() => report(`building the control plane: ${seconds()} s`), 30_000);
  const unfinished = `${file}.${process.pid}`;
  mkdirSync(cacheDir(), { recursive: true });
  try {
    const built = await runProgram(["go", "build", ...BUILD_FLAGS, "-o", unfinished, "."], {
      cwd: SOURCE_DIR,
      env: { CGO_ENABLED: "0" },
    });
    if (built.code !== 0) throw new Error(`Cannot build the control plane: ${built.stderr.trim().slice(-4_000)}`);
    chmodSync(unfinished, 0o755);
    renameSync(unfinished, file);
    report(`built the control plane in ${seconds()} s`);
  } finally {
    clearInterval(progress);
    rmSync(unfinished, { force: true });
  }
}

function cacheDir(): string {
  const { K3SLB_CACHE: own, XDG_CACHE_HOME: xdg } = process.env;
  return join(own || xdg || join(homedir(), ".cache"), "k3slb");
}

function printLine(line: string): void {
  process.stderr.write(`${line}\n`);
}
