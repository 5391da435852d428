// What the writers of packages take.
import type { ReleaseFile } from "./release_files.ts";

/**
 * How hard packages are packed: in a sixth of the time that level 6 takes, which the archive has, for 5 MB more. The same level gives the same
 * bytes, as neither tool lets the number of processors count.
 */
export const XZ_LEVEL = 1;

/** One package. */
export interface PackageOptions {
  readonly files: readonly ReleaseFile[];
  readonly version: string;
  readonly arch: "x64" | "arm64";
  /** Folder that the package is written to. */
  readonly out: string;
  /** An empty folder to work in. */
  readonly work: string;
  /** Time of the sources, seconds since 1970: the same inputs give the same bytes. */
  readonly epochSeconds: number;
  /**
   * Tests go without, as it takes a minute.
   * @default {true}
   */
  readonly compress?: boolean;
}
