// Which files of the manifests folder are deployed, and why the others are not. Pure.
// Rules of K3s (`pkg/deploy/controller.go`): dotfiles, extensions, `NAME.skip` anywhere in the tree, `--disable` by name or
// folder, asked before `.skip`. Beyond K3s: hidden folders are left out, and `traefik.skip` works like `traefik.yaml.skip`.
import { compareText } from "../../shared/compare_text.ts";
import { addOnNameOf } from "../record/addon.ts";

/** One file as a scan of the folder saw it. */
export interface SeenFile {
  /** Path below the folder with `/` between its parts; a symlinked folder counts under its own name. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Time of the last change in milliseconds since 1970. */
  readonly modifiedMs: number;
  /** Whether the file is reached through a symlink; such files are never deleted. */
  readonly viaSymlink: boolean;
}

/** Why a file is not deployed. */
export type LeftOutReason = "Hidden" | "NotAManifest" | "Disabled" | "Skipped";

/** One file and what happens with it. */
export interface FileChoice {
  readonly file: SeenFile;
  /** Absent: the file is deployed. */
  readonly leftOut?: LeftOutReason;
}

const MANIFEST_EXTENSION_REGEXP = /\.(?:yaml|yml|json)$/i;
const SKIP_SUFFIX = ".skip";

/** A choice for each of `files`, sorted by path. */
export function selectFiles(files: readonly SeenFile[], disable: readonly string[]): readonly FileChoice[] {
  const skipped = skippedNames(files.map(({ path }) => path));
  return files
    .toSorted((a, b) => compareText(a.path, b.path))
    .map((file) => {
      const leftOut = leftOutReason(file.path, { skipped, disable });
      return leftOut === undefined ? { file } : { file, leftOut };
    });
}

/** What `NAME.skip` files among `paths` name. */
export function skippedNames(paths: readonly string[]): ReadonlySet<string> {
  return new Set(
    paths.map(baseName).filter((name) => name.endsWith(SKIP_SUFFIX)).map((name) => name.slice(0, -SKIP_SUFFIX.length)),
  );
}

/** Why the file at `path` is not deployed; `undefined` if it is. */
export function leftOutReason(
  path: string,
  options: { readonly skipped: ReadonlySet<string>; readonly disable: readonly string[] },
): LeftOutReason | undefined {
  if (path.split("/").some((part) => part.startsWith("."))) return "Hidden";
  const name = baseName(path);
  if (!MANIFEST_EXTENSION_REGEXP.test(name)) return "NotAManifest";
  if (isDisabled(path, options.disable)) return "Disabled";
  if (options.skipped.has(name) || options.skipped.has(stem(name))) return "Skipped";
  return undefined;
}

/** Whether `disable` names the file without its extension, or one of the folders above it. */
export function isDisabled(path: string, disable: readonly string[]): boolean {
  if (disable.includes(stem(baseName(path)))) return true;
  const parts = path.split("/");
  return parts.slice(1).some((_, index) => disable.includes(parts.slice(0, index + 1).join("/")));
}

/** Whether a file is as it was at the scan before, as far as that can be told without reading it. */
export function isSameChoice(before: FileChoice | undefined, now: FileChoice): boolean {
  // Image builders set all times to 0; only the content tells then.
  return before !== undefined && now.file.modifiedMs !== 0 && before.leftOut === now.leftOut &&
    before.file.sizeBytes === now.file.sizeBytes &&
    before.file.modifiedMs === now.file.modifiedMs;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function stem(name: string): string {
  return name.replace(MANIFEST_EXTENSION_REGEXP, "");
}

/** A sentence about each file that would be deployed if it had another name. */
export function misnamedFiles(choices: readonly FileChoice[]): readonly string[] {
  return choices.filter(({ file, leftOut }) => leftOut === undefined && addOnNameOf(file.path) === undefined).map((
    { file },
  ) =>
    `File "${file.path}" is not deployed: its name up to the first period must be lower-case letters, digits and hyphens`
  );
}
