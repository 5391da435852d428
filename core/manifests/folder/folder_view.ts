// What scans of the manifests folder prove: a file that is not seen is taken for deleted only if nothing else explains it, such
// as a mount that is gone, a symlink that leads nowhere, or a folder that can't be read. Pure.
import { posix } from "node:path";
import type { FolderScan } from "./manifest_dir.ts";

/** Judges by the latest scan and the first one. */
export class FolderView {
  readonly #folder: string;
  #first: FolderScan | undefined;
  #latest: FolderScan | undefined;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Takes in a scan. */
  see(scan: FolderScan): void {
    this.#first ??= scan;
    this.#latest = scan;
  }

  /** Whether the first scan found no file at all: nothing tells a lost mount from a folder that was emptied then. */
  get wasEmpty(): boolean {
    return this.#first === undefined || this.#first.files.length === 0;
  }

  /** The file system that the folder of the file at `path` is on; `undefined` if there is no such folder. */
  deviceOf(path: string): string | undefined {
    return deviceOf(this.#latest?.folders.get(posix.join(this.#folder, posix.dirname(path))));
  }

  /**
   * Whether the file at `path`, which the latest scan did not find, is deleted. `device` is where it was when it was seen;
   * absent if that is not known.
   */
  isDeleted(path: string, device?: string): boolean {
    const latest = this.#latest;
    const root = latest?.folders.get(this.#folder);
    if (latest === undefined || latest.problems.length > 0) return false;
    if (root === undefined || root !== this.#first?.folders.get(this.#folder)) return false;
    const now = this.deviceOf(path);
    return device === undefined || now === undefined || now === device;
  }
}

function deviceOf(identity: string | undefined): string | undefined {
  return identity?.split(":", 1)[0];
}
