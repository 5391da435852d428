// The manifests folder on disk: scan, read, write, watch. Decides nothing about what a file means.
// Watches are per folder, not recursive, because recursive ones differ between runtimes; a rescan covers lost events.
import { type Dirent, type FSWatcher, watch } from "node:fs";
import { chmod, lstat, mkdir, readdir, readFile, rename, stat, unlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { errorMessage, isNoSuchFile, K3slbError } from "../../shared/errors.ts";
import type { SeenFile } from "./select_files.ts";

/** Largest manifest that is read, in bytes. */
const MAX_MANIFEST_BYTES = 64 * 1024 * 1024;

/** What a scan found. */
export interface FolderScan {
  readonly files: readonly SeenFile[];
  /** Every folder that was scanned, as `DEVICE:INODE`: another one in the same place, as after an unmount, differs. */
  readonly folders: ReadonlyMap<string, string>;
  /** What could not be looked at, with the reason. */
  readonly problems: readonly string[];
}

/** A file's content and the state of the file it was read in. */
export interface ReadFile {
  readonly bytes: Uint8Array;
  readonly sizeBytes: number;
  readonly modifiedMs: number;
}

/** The part of `source` below `folder`; `undefined` if it is not below. */
export function pathBelow(folder: string, source: string | undefined): string | undefined {
  return source?.startsWith(`${folder}/`) ? source.slice(folder.length + 1) : undefined;
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
 *
 * Where something goes, or is replaced, between two scans of it, all is scanned again: what a lost mount had would not be seen, and
 * nothing would say why.
 */
export async function scanFolder(folder: string): Promise<FolderScan> {
  for (let tries = 1;; tries++) {
    const { isSteady, ...scan } = await scanOnce(folder);
    if (isSteady) return scan;
    if (tries >= MAX_SCANS) {
      return { ...scan, problems: [...scan.problems, `Cannot look at "${folder}": its folders change without end`] };
    }
  }
}

const MAX_SCANS = 5;

/** A scan under way. */
interface Scanning {
  readonly folder: string;
  /** Folders that are still to be scanned, by their paths below {@linkcode folder}. */
  readonly pending: { readonly path: string; readonly viaSymlink: boolean }[];
  readonly files: SeenFile[];
  readonly problems: string[];
  /** Nothing has gone while it was looked at. */
  isSteady: boolean;
}

async function scanOnce(folder: string): Promise<FolderScan & { readonly isSteady: boolean }> {
  const scan: Scanning = {
    folder,
    pending: [{ path: "", viaSymlink: false }],
    files: [],
    problems: [],
    isSteady: true,
  };
  const folders = new Map<string, string>();
  for (let current = scan.pending.pop(); current !== undefined; current = scan.pending.pop()) {
    const { path, viaSymlink } = current;
    const absolute = join(folder, path);
    const told = scan.problems.length;
    const place = await orGone(stat(absolute), absolute, scan.problems);
    const entries = await orGone(readdir(absolute, { withFileTypes: true }), absolute, scan.problems);
    if (place === undefined || entries === undefined) {
      if (scan.problems.length === told && path !== "") scan.isSteady = false;
      continue;
    }
    folders.set(absolute, identityOf(place));
    for (const entry of entries) {
      if (!entry.name.startsWith(".")) await scanEntry(scan, entry, { parent: path, viaSymlink });
    }
  }
  for (const [path, identity] of folders) {
    const now = await orUndefined(stat(path));
    if (now === undefined || identityOf(now) !== identity) scan.isSteady = false;
  }
  const { files, problems, isSteady } = scan;
  return { files, folders, problems, isSteady };
}

async function scanEntry(
  scan: Scanning,
  entry: Dirent,
  { parent, viaSymlink }: { readonly parent: string; readonly viaSymlink: boolean },
): Promise<void> {
  const { pending, files, problems } = scan;
  const path = parent === "" ? entry.name : `${parent}/${entry.name}`;
  const absolute = join(scan.folder, path);
  if (entry.name.includes(REPLACED) && !await isThere(absolute)) {
    problems.push(`Cannot look at "${absolute}": its name is not UTF-8; rename it`);
    return;
  }
  if (entry.isDirectory()) return void pending.push({ path, viaSymlink });
  const isLink = entry.isSymbolicLink();
  const told = problems.length;
  const info = await orGone(stat(absolute), absolute, problems);
  if (info === undefined) {
    if (isLink && problems.length === told && await isThere(absolute)) {
      problems.push(`Cannot look at "${absolute}": what the symlink names is not there`);
    }
    if (problems.length === told) scan.isSteady = false;
  } else if (info.isDirectory()) {
    if (parent === "") pending.push({ path, viaSymlink: true });
  } else if (info.isFile()) {
    files.push({ path, sizeBytes: info.size, modifiedMs: info.mtimeMs, viaSymlink: viaSymlink || isLink });
  }
}

/** What stands in a name for bytes that are no text. */
const REPLACED = "\uFFFD";

function identityOf({ dev, ino }: { readonly dev: number; readonly ino: number }): string {
  return `${dev}:${ino}`;
}

async function isThere(path: string): Promise<boolean> {
  return await orUndefined(lstat(path)) !== undefined;
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
    if (isNoSuchFile(error)) return undefined;
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
  readonly #watchers = new Map<string, { readonly identity: string; readonly watcher: FSWatcher }>();
  readonly #problems = new Map<string, string>();
  readonly #onChange: () => void;
  #isClosed = false;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  /** Why folders are not watched; each is tried again at the next {@linkcode set}. */
  get problems(): readonly string[] {
    return [...this.#problems.values()];
  }

  /**
   * Watches exactly `folders`, given with what tells one from another in the same place; says whether any is watched anew, in
   * which case a change may have been missed.
   */
  set(folders: ReadonlyMap<string, string>): boolean {
    if (this.#isClosed) return false;
    const replaced = new Set<string>();
    this.#problems.clear();
    for (const [folder, { identity, watcher }] of this.#watchers) {
      // A watch stays with the folder that it was set on, wherever that is now.
      if (folders.get(folder) === identity) continue;
      watcher.close();
      this.#watchers.delete(folder);
      // Watched at the next call: some runtimes end a watch a moment later, and a new one of that path with it.
      if (folders.has(folder)) replaced.add(folder);
    }
    let isAnyNew = replaced.size > 0;
    for (const [folder, identity] of folders) {
      if (!replaced.has(folder) && !this.#watchers.has(folder)) isAnyNew = this.#add(folder, identity) || isAnyNew;
    }
    return isAnyNew;
  }

  /** Ends all watches. Safe to call twice. */
  close(): void {
    this.#isClosed = true;
    for (const { watcher } of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #add(folder: string, identity: string): boolean {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.#onChange());
      watcher.on("error", () => {
        this.#drop(folder, watcher);
        this.#onChange();
      });
      this.#watchers.set(folder, { identity, watcher });
      return true;
    } catch (error) {
      if (!isNoSuchFile(error)) this.#problems.set(folder, `Cannot watch "${folder}": ${errorMessage(error)}`);
      return false;
    }
  }

  #drop(folder: string, watcher: FSWatcher): void {
    if (this.#watchers.get(folder)?.watcher === watcher) this.#watchers.delete(folder);
    watcher.close();
  }
}

async function orUndefined<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isNoSuchFile(error)) return undefined;
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
