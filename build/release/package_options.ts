// What the writers of packages take.
import type { ReleaseFile } from "./release_files.ts";

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
