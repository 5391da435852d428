// Release files as a folder, and folders as archives that are the same bytes for the same files: sorted names, root as the owner, one
// time for all.
import { dirname } from "node:path";
import { runTool } from "../run_tool.ts";
import type { ReleaseFile } from "./release_files.ts";

/** Writes each file to the path below `folder` that `pathOf` gives; files without one are left out. */
export async function stageFiles(
  files: readonly ReleaseFile[],
  { folder, pathOf }: { readonly folder: string; readonly pathOf: (file: ReleaseFile) => string | undefined },
): Promise<void> {
  for (const file of files) {
    const path = pathOf(file);
    if (path === undefined) continue;
    const target = `${folder}/${path}`;
    await Deno.mkdir(dirname(target), { recursive: true });
    if ("text" in file.content) await Deno.writeTextFile(target, file.content.text);
    else await Deno.copyFile(file.content.file, target);
    await Deno.chmod(target, file.mode);
  }
}

/**
 * Packs `name`, a folder inside `folder`, into `archive` (`.tar` or `.tar.xz`).
 * @throws {K3slbError} code "build-tool" if tar or xz fail
 */
export async function packFolder(
  { folder, name, archive, epochSeconds }: PackOptions,
): Promise<void> {
  await runTool([
    "tar",
    "--create",
    "--sort=name",
    "--format=gnu",
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    `--mtime=@${epochSeconds}`,
    ...(archive.endsWith(".xz") ? ["--use-compress-program=xz -6 -T1"] : []),
    `--file=${archive}`,
    `--directory=${folder}`,
    name,
  ], { hint: "Install GNU tar and xz (packages tar and xz-utils)" });
}

/** What {@linkcode packFolder} takes. */
export interface PackOptions {
  readonly folder: string;
  readonly name: string;
  readonly archive: string;
  /** Time that every entry gets, seconds since 1970. */
  readonly epochSeconds: number;
}
