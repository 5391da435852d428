// The manifests folder on disk: scan, read, write, watch. Decides nothing about what a file means.
// Watches are per folder, not recursive, because recursive ones differ between runtimes; a rescan covers lost events.
import { type FSWatcher, watch } from "node:fs";
import { chmod, mkdir, readdir, readFile, rename, stat, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errorMessage, K3slbError } from "../shared/errors.ts";
import type { SeenFile } from "./select_files.ts";

/** Largest manifest that is read, in bytes. */
export const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;

/** What a scan found. */
export interface FolderScan {
  readonly files: readonly SeenFile[];
  /** Every folder that was looked into, for watching. */
  readonly folders: readonly string[];
  /** What could not be looked at, with the reason. */
  readonly problems: readonly string[];
  /** Changes when another folder stands in the place, as after an unmount; empty if there is none. */
  readonly identity: string;
}

/** A file's content and the state of the file it was read in. */
export interface ReadFile {
  readonly bytes: Uint8Array;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/** The folder of manifests below a data folder. */
export function manifestsFolder(dataDir: string): string {
  return join(dataDir, "server", "manifests");
}

/** Makes `folder`, readable for its owner only, if it is missing. */
export async function ensureManifestsFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new K3slbError(`Cannot make the manifests folder "${folder}": ${errorMessage(error)}`, {
      code: "manifests-folder",
      hint: "Run as a user who may write there, or choose another folder with --data-dir",
      cause: error,
    });
  }
}

/**
 * Every file below `folder`. Of symlinked folders only those at the top are followed, as in K3s. What vanishes during the
 * scan is left out; a missing `folder` counts as empty.
 */
export async function scanFolder(folder: string): Promise<FolderScan> {
  const files: SeenFile[] = [];
  const folders: string[] = [];
  const problems: string[] = [];
  const pending: { readonly path: string; readonly viaSymlink: boolean }[] = [{ path: "", viaSymlink: false }];
  for (let current = pending.pop(); current !== undefined; current = pending.pop()) {
    const { path, viaSymlink } = current;
    const absolute = join(folder, path);
    const entries = await orGone(readdir(absolute, { withFileTypes: true }), absolute, problems);
    if (entries === undefined) continue;
    folders.push(absolute);
    for (const entry of entries) {
      const entryPath = path === "" ? entry.name : `${path}/${entry.name}`;
      if (entry.name.startsWith(".")) continue;
      if (entry.isDirectory()) {
        pending.push({ path: entryPath, viaSymlink });
        continue;
      }
      const info = await orGone(stat(join(folder, entryPath)), join(folder, entryPath), problems);
      if (info === undefined) continue;
      const linked = entry.isSymbolicLink();
      if (info.isDirectory()) {
        if (path === "") pending.push({ path: entryPath, viaSymlink: true });
        continue;
      }
      if (!info.isFile()) continue;
      files.push({
        path: entryPath,
        sizeBytes: info.size,
        modifiedMs: info.mtimeMs,
        viaSymlink: viaSymlink || linked,
      });
    }
  }
  const root = await orGone(stat(folder), folder, problems);
  return { files, folders, problems, identity: root === undefined ? "" : `${root.dev}:${root.ino}` };
}

/**
 * The content of a file; `undefined` if it is gone, or was changed while it was read.
 *
 * @throws {K3slbError} code "manifest-read"
 */
export async function readManifest(path: string): Promise<ReadFile | undefined> {
  try {
    const before = await stat(path);
    if (before.size > MAX_MANIFEST_BYTES) {
      throw new K3slbError(`Cannot read manifest "${path}": it has ${before.size} bytes`, {
        code: "manifest-read",
        hint: `Split it; up to ${MAX_MANIFEST_BYTES} bytes are read`,
      });
    }
    const bytes = await readFile(path);
    const after = await stat(path);
    if (before.size !== after.size || before.mtimeMs !== after.mtimeMs || bytes.length !== after.size) return undefined;
    return { bytes, sizeBytes: after.size, modifiedMs: after.mtimeMs };
  } catch (error) {
    if (isGoneFile(error)) return undefined;
    if (error instanceof K3slbError) throw error;
    throw new K3slbError(`Cannot read manifest "${path}": ${errorMessage(error)}`, {
      code: "manifest-read",
      hint: "Make the file readable for the user that this program runs as",
      retriable: true,
      cause: error,
    });
  }
}

/** Writes `content` if the file has another one; readers never see half of it. */
export async function writeManifest(path: string, content: string): Promise<void> {
  try {
    const present = await orUndefined(readFile(path, "utf8"));
    if (present === content) return;
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    // A dotfile, so that no scan takes it for a manifest.
    const temporary = join(dirname(path), `.${path.slice(dirname(path).length + 1)}.new`);
    await writeFile(temporary, content, { mode: 0o600 });
    await chmod(temporary, 0o600);
    await rename(temporary, path);
  } catch (error) {
    throw new K3slbError(`Cannot write packaged manifest "${path}": ${errorMessage(error)}`, {
      code: "manifest-write",
      hint: "Check that the file system has room and is writable",
      retriable: true,
      cause: error,
    });
  }
}

/** Deletes a file; one that is gone already is fine. */
export async function removeManifest(path: string): Promise<void> {
  await orUndefined(unlink(path));
}

/** Watches folders and calls back on any change in them. */
export class FolderWatches {
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #onChange: () => void;
  readonly #onProblem: (message: string) => void;
  #isClosed = false;

  constructor(options: { readonly onChange: () => void; readonly onProblem: (message: string) => void }) {
    this.#onChange = options.onChange;
    this.#onProblem = options.onProblem;
  }

  /** Watches exactly `folders`; says whether any is watched anew, in which case a change may have been missed. */
  set(folders: readonly string[]): boolean {
    if (this.#isClosed) return false;
    const wanted = new Set(folders);
    for (const [folder, watcher] of this.#watchers) {
      if (wanted.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    let isAnyNew = false;
    for (const folder of wanted) {
      if (!this.#watchers.has(folder)) isAnyNew = this.#add(folder) || isAnyNew;
    }
    return isAnyNew;
  }

  /** Ends all watches. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #add(folder: string): boolean {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#onChange());
      watcher.on("error", (error) => {
        this.#drop(folder, watcher);
        if (!isGoneFile(error)) this.#onProblem(`Cannot watch "${folder}": ${errorMessage(error)}`);
        this.#onChange();
      });
      this.#watchers.set(folder, watcher);
      return true;
    } catch (error) {
      if (!isGoneFile(error)) this.#onProblem(`Cannot watch "${folder}": ${errorMessage(error)}`);
      return false;
    }
  }

  #drop(folder: string, watcher: FSWatcher): void {
    if (this.#watchers.get(folder) === watcher) this.#watchers.delete(folder);
    watcher.close();
  }
}

async function orUndefined<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isGoneFile(error)) return undefined;
    throw error;
  }
}

async function orGone<T>(work: Promise<T>, path: string, problems: string[]): Promise<T | undefined> {
  try {
    return await orUndefined(work);
  } catch (error) {
    problems.push(`Cannot look at "${path}": ${errorMessage(error)}`);
    return undefined;
  }
}

function isGoneFile(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}
