// The manifests folder as the deployer would see it, without changing anything: for `k3slb manifests`.
// The same selection, parsing and apply objects as the deployer's; the server is asked for dry runs only.
import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { KubeClient } from "../kube/contract.ts";
import { findObject, orAbsent } from "../kube/one_object.ts";
import { errorMessage, isAbort, isK3slbError, K3slbError } from "../shared/errors.ts";
import { ADD_ON_NAMESPACE, ADD_ONS, type AddOn, addOnNameOf, checksumOf } from "./record/addon.ts";
import { namespaceOf } from "./objects/apply_plan.ts";
import type { ChangedField } from "./objects/changed_fields.ts";
import { dryRun } from "./objects/dry_run.ts";
import type { KindCatalog } from "./objects/kind_catalog.ts";
import { readManifest, scanFolder } from "./folder/manifest_dir.ts";
import type { LocatedObject, ManifestObject } from "./objects/parse_manifests.ts";
import { readObjects } from "./objects/read_objects.ts";
import { findObjects } from "./deploy/prune_objects.ts";
import { kindsToSearch, objectIdentity, prunePlan, type SeenObject } from "./deploy/prune_plan.ts";
import { type LeftOutReason, type SeenFile, selectFiles } from "./folder/select_files.ts";

/** What becomes of a file. */
export type FileState = "Deployed" | "Invalid" | "Unreadable" | "BadName" | "Conflict" | LeftOutReason;

/** One thing that is wrong with a file. */
export interface FileProblem {
  readonly message: string;
  readonly document?: number;
  readonly line?: number;
}

/** One file of the folder. */
export interface InspectedFile {
  /** Path below the folder. */
  readonly path: string;
  readonly source: string;
  readonly state: FileState;
  /** Empty if the name is no valid one. */
  readonly addOn: string;
  readonly checksum: string;
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly FileProblem[];
}

/**
 * Every manifest at `path`, a folder or a single file, sorted; files in the folder that are no manifests are left out. What could not be
 * looked into is listed as well, so that nobody takes it for empty.
 *
 * @throws {K3slbError} code "manifests-folder" if there is nothing at `path`, or a file that is not a manifest
 */
export async function inspectManifests(path: string, disable: readonly string[]): Promise<readonly InspectedFile[]> {
  const { folder, files, problems } = await filesAt(path);
  const inspected = problems.map((message): InspectedFile => ({
    path: ".",
    source: folder,
    state: "Unreadable",
    addOn: "",
    checksum: "",
    objects: [],
    problems: [{ message }],
  }));
  const owners = new Map<string, string>();
  for (const { file, leftOut } of selectFiles(files, disable)) {
    if (leftOut === "Hidden" || leftOut === "NotAManifest") {
      if (folder === path) continue;
      throw new K3slbError(`"${path}" is not a manifest`, {
        code: "manifests-folder",
        hint: "Names of manifests end in .yaml, .yml or .json and begin with no period; others are never deployed",
      });
    }
    const result = await inspectFile(join(folder, file.path), { file, leftOut });
    const owner = owners.get(result.addOn);
    if (leftOut !== undefined || result.addOn === "" || owner === undefined) {
      if (leftOut === undefined) owners.set(result.addOn, file.path);
      inspected.push(result);
      continue;
    }
    const message = `AddOn "${result.addOn}" belongs to "${owner}"; give one of the files another name`;
    inspected.push({ ...result, state: "Conflict", problems: [...result.problems, { message }] });
  }
  return inspected;
}

/** What applying would do to one object. */
export interface ObjectDifference {
  readonly action: "create" | "change" | "prune" | "keep" | "unchanged" | "error";
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly fields: readonly ChangedField[];
  /** What the server said, or why an object stays. */
  readonly message?: string;
}

/** What {@linkcode diffManifest} takes. */
export interface DiffOptions {
  readonly client: KubeClient;
  readonly kinds: KindCatalog;
  /** What other files have: it is not pruned. */
  readonly claims: readonly ManifestObject[];
  readonly signal: AbortSignal;
}

/** What applying `file` would do. Changes nothing. */
export async function diffManifest(file: InspectedFile, options: DiffOptions): Promise<readonly ObjectDifference[]> {
  const differences: ObjectDifference[] = [];
  const wanted = new Set<string>();
  for (const object of file.objects) {
    try {
      const type = await options.kinds.find(object, options);
      if (type === undefined) {
        differences.push({ ...describe(object), action: "error", message: "the server does not have this kind (yet)" });
        continue;
      }
      const located = { ...object, type };
      wanted.add(objectIdentity(type, { namespace: namespaceOf(located), name: object.name }));
      differences.push(await diffObject(located, { ...options, addOn: file.addOn }));
    } catch (error) {
      if (isAbort(error)) throw error;
      differences.push({ ...describe(object), action: "error", message: errorMessage(error) });
    }
  }
  return [...differences, ...await diffPruned(file, { ...options, wanted })];
}

/** The AddOns on the server by name. */
export async function readAddOns(client: KubeClient, signal: AbortSignal): Promise<ReadonlyMap<string, AddOn>> {
  // The kind comes with the first start of a deployer.
  const list = await orAbsent(client.list(ADD_ONS, { namespace: ADD_ON_NAMESPACE, signal }));
  return new Map(list?.items.map((addOn) => [addOn.metadata?.name ?? "", addOn]));
}

interface FoundFiles {
  readonly folder: string;
  readonly files: readonly SeenFile[];
  readonly problems: readonly string[];
}

async function filesAt(path: string): Promise<FoundFiles> {
  try {
    const info = await stat(path);
    if (info.isDirectory()) {
      const { files, problems } = await scanFolder(path);
      return { folder: path, files, problems };
    }
    if (!info.isFile()) throw new Error("it is neither a file nor a folder");
    const file = { path: basename(path), sizeBytes: info.size, modifiedMs: info.mtimeMs, viaSymlink: false };
    return { folder: dirname(path), files: [file], problems: [] };
  } catch (error) {
    throw new K3slbError(`Cannot look at "${path}": ${errorMessage(error)}`, {
      code: "manifests-folder",
      hint: "Name a file or folder that exists, or the root folder with --data-dir",
      cause: error,
    });
  }
}

async function inspectFile(
  source: string,
  choice: { readonly file: SeenFile; readonly leftOut: LeftOutReason | undefined },
): Promise<InspectedFile> {
  const { file, leftOut } = choice;
  const addOn = addOnNameOf(file.path) ?? "";
  const base = { path: file.path, source, addOn, checksum: "", objects: [], problems: [] };
  if (leftOut !== undefined) return { ...base, state: leftOut };
  try {
    const content = await readManifest(source);
    if (content === undefined) {
      return { ...base, state: "Unreadable", problems: [{ message: "The file is being written" }] };
    }
    const checksum = checksumOf(content.bytes);
    const objects = await readObjects(content.bytes, file.path);
    if (addOn !== "") return { ...base, state: "Deployed", checksum, objects };
    const message = "The name up to the first period must be lower-case letters, digits and hyphens";
    return { ...base, state: "BadName", checksum, objects, problems: [{ message }] };
  } catch (error) {
    const state = isK3slbError(error, "manifest-read") ? "Unreadable" : "Invalid";
    return { ...base, state, problems: problemsOf(error) };
  }
}

function problemsOf(error: unknown): readonly FileProblem[] {
  const listed = isK3slbError(error) ? error.details["problems"] : undefined;
  return Array.isArray(listed) ? listed as readonly FileProblem[] : [{ message: errorMessage(error) }];
}

async function diffObject(
  located: LocatedObject,
  options: DiffOptions & { readonly addOn: string },
): Promise<ObjectDifference> {
  const fields = await dryRun(options.client, { ...options, located });
  const described = { ...describe(located), namespace: namespaceOf(located) };
  if (fields === undefined) return { ...described, action: "create" };
  const shown = located.kind === "Secret" ? fields.map((field) => ({ ...field, before: "***", after: "***" })) : fields;
  return { ...described, action: fields.length === 0 ? "unchanged" : "change", fields: shown };
}

async function diffPruned(
  { addOn }: InspectedFile,
  { client, kinds, claims, signal, wanted }: DiffOptions & { readonly wanted: ReadonlySet<string> },
): Promise<readonly ObjectDifference[]> {
  const seen = await findObject(client, ADD_ONS, { key: { namespace: ADD_ON_NAMESPACE, name: addOn }, signal });
  const objects = await findObjects({ client, kinds, addOn, search: kindsToSearch(seen), signal });
  const plan = prunePlan({ addOn, seen: objects, wanted, wantedUids: new Set(), claims });
  const describeSeen = ({ type, object: { metadata } }: SeenObject): Omit<ObjectDifference, "action"> => ({
    kind: type.kind,
    namespace: metadata?.namespace ?? "",
    name: metadata?.name ?? "",
    fields: [],
  });
  return [
    ...plan.remove.map((object): ObjectDifference => ({ ...describeSeen(object), action: "prune" })),
    ...plan.keep.map((object): ObjectDifference => ({
      ...describeSeen(object),
      action: "keep",
      message: object.reason,
    })),
  ];
}

function describe(object: ManifestObject): Omit<ObjectDifference, "action"> {
  return { kind: object.kind, namespace: object.namespace, name: object.name, fields: [] };
}
