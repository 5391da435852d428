// Puts the manifests that come with the program into the folder at each start, and takes them out again.
import { join } from "node:path";
import { readManifest, removeManifest, scanFolder, writeManifest } from "./manifest_dir.ts";
import { leftOutReason, skippedNames } from "./select_files.ts";

/** A manifest that comes with the program. */
export interface PackagedFile {
  /** Path below the manifests folder. */
  readonly path: string;
  readonly content: string;
  /** Values of `%{NAME}%` in the content. */
  readonly variables?: Readonly<Record<string, string>>;
}

/** Writes those of `packaged` that are neither skipped nor disabled; a file with the right content is left as it is. */
export async function writePackagedFiles(
  packaged: readonly PackagedFile[],
  options: { readonly folder: string; readonly disable: readonly string[] },
): Promise<void> {
  if (packaged.length === 0) return;
  const { files } = await scanFolder(options.folder);
  const skipped = skippedNames(files.map(({ path }) => path));
  for (const { path, content, variables = {} } of packaged) {
    if (leftOutReason(path, { skipped, disable: options.disable }) !== undefined) continue;
    await writeManifest(join(options.folder, path), renderTemplate(content, variables));
  }
}

/** Removes those of `sources` that this program wrote; the result is what stays, as it is someone's work. */
export async function removePackagedFiles(
  sources: readonly string[],
  isPackagedText: (text: string) => boolean,
): Promise<readonly string[]> {
  const kept: string[] = [];
  for (const source of sources) {
    const content = await readManifest(source);
    if (content === undefined) continue;
    if (isPackagedText(new TextDecoder().decode(content.bytes))) await removeManifest(source);
    else kept.push(source);
  }
  return kept;
}

/** Variables as in K3s (`pkg/deploy/controller.go`). Files that users write are never touched. */
const VARIABLE_REGEXP = /%\{([A-Z][A-Z0-9_]*)\}%/g;

/** `text` with every variable that `variables` names put in; others, such as `%{KUBERNETES_API}%`, stay. */
export function renderTemplate(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replaceAll(VARIABLE_REGEXP, (whole, name: string) => {
    return Object.hasOwn(variables, name) ? variables[name] ?? whole : whole;
  });
}
