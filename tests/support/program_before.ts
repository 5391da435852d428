// The program of the version before, to upgrade from: built once from the history of this checkout, as there is no release yet.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { cacheDir } from "./go_program.ts";
import { runProgram, runToEnd } from "./programs.ts";

/** The version that upgrades are tried from, until there is a release: K3SLB_COMMIT_BEFORE, else the last that was installed anywhere. */
const COMMIT_BEFORE = process.env["K3SLB_COMMIT_BEFORE"] || "28edf8f";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Binary of the version before: K3SLB_PROGRAM_BEFORE, else one built from the history of this checkout; `undefined` if there is none. */
export function programBefore(): string | undefined {
  const given = process.env["K3SLB_PROGRAM_BEFORE"] ?? "";
  const file = given === "" ? cachedBefore() : given;
  return existsSync(file) ? file : undefined;
}

/** Builds the version before; says why it can't be had. */
export async function ensureProgramBefore(report: (line: string) => void): Promise<void> {
  if (programBefore() !== undefined) return;
  const known = await runProgram(["git", "-C", ROOT, "cat-file", "-e", `${COMMIT_BEFORE}^{commit}`]);
  if (known.code !== 0) {
    report(
      `lacking: the version before: ${COMMIT_BEFORE} is not in this checkout's history; K3SLB_PROGRAM_BEFORE names one`,
    );
    return;
  }
  report(`building the version before (${COMMIT_BEFORE}), once`);
  const work = mkdtempSync(join(tmpdir(), "k3slb-before-"));
  try {
    await runToEnd(["sh", "-c", `git -C '${ROOT}' archive ${COMMIT_BEFORE} | tar -x -C '${work}'`]);
    await runToEnd([Deno.execPath(), "task", "--cwd", work, "build"]);
    mkdirSync(cacheDir(), { recursive: true });
    copyFileSync(join(work, "dist", "k3slb"), `${cachedBefore()}.${process.pid}`);
    renameSync(`${cachedBefore()}.${process.pid}`, cachedBefore());
  } finally {
    rmSync(work, { recursive: true });
  }
}

function cachedBefore(): string {
  return join(cacheDir(), `k3slb-${COMMIT_BEFORE}`);
}
