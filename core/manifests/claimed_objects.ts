// Objects that left a file because they moved to another one: the other file applies them, so nobody may remove them first.
import { join } from "node:path";
import { isK3slbError } from "../shared/errors.ts";
import { addOnNameOf } from "./record/addon.ts";
import { readManifest, scanFolder } from "./folder/manifest_dir.ts";
import type { ManifestObject } from "./objects/parse_manifests.ts";
import { readObjects } from "./objects/read_objects.ts";
import { selectFiles } from "./folder/select_files.ts";

/** What the files of `folder` have that are deployed under other names than `addOn`; files that can't be read have nothing. */
export async function objectsOfOtherFiles(
  addOn: string,
  options: {
    readonly folder: string;
    readonly disable: readonly string[];
    /** Whether the file at `path` is the one of its AddOn. */
    readonly isDeployed: (addOn: string, path: string) => boolean;
  },
): Promise<readonly ManifestObject[]> {
  const { files } = await scanFolder(options.folder);
  const objects: ManifestObject[] = [];
  for (const { file, leftOut } of selectFiles(files, options.disable)) {
    const name = addOnNameOf(file.path);
    if (leftOut !== undefined || name === undefined || name === addOn || !options.isDeployed(name, file.path)) continue;
    objects.push(...await objectsOf(join(options.folder, file.path)));
  }
  return objects;
}

async function objectsOf(path: string): Promise<readonly ManifestObject[]> {
  try {
    const content = await readManifest(path);
    return content === undefined ? [] : await readObjects(content.bytes, path);
  } catch (error) {
    // Whoever deploys that file tells what is wrong with it.
    if (isK3slbError(error)) return [];
    throw error;
  }
}
