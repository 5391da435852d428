// The text of a manifest file to its objects, each with the place it came from. Lists are expanded. Pure.
// What the words mean is decided in core/shared/yaml.ts; what an object must have, by the API's object conventions.
import { isMapping } from "../../shared/values.ts";
import type { ResourceType } from "../../kube/contract.ts";
import type { UnknownObject } from "../../kube/types.ts";
import { K3slbError } from "../../shared/errors.ts";
import { parseYamlDocuments, type YamlDocument, type YamlPath, type YamlProblem } from "../../shared/yaml.ts";

/** One object of a file. */
export interface ManifestObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** As written; empty if the file gives none. */
  readonly namespace: string;
  readonly object: UnknownObject;
  /** Document in the file, from 1. */
  readonly document: number;
  /** Line in the file, from 1. */
  readonly line: number;
}

/** A {@linkcode ManifestObject} whose kind the server knows. */
export interface LocatedObject extends ManifestObject {
  readonly type: ResourceType;
}

interface Part {
  readonly value: unknown;
  readonly path: YamlPath;
  /** Given by a typed list to items that don't say it themselves. */
  readonly inherited?: { readonly apiVersion: string; readonly kind: string };
}

type Report = (message: string, path: YamlPath) => void;

/**
 * The objects in `text`, in the order of the file.
 *
 * @throws {K3slbError} code "yaml-invalid" or "manifest-invalid", every problem in `details.problems`
 */
export function parseManifests(text: string, file: string): readonly ManifestObject[] {
  const problems: YamlProblem[] = [];
  const objects: ManifestObject[] = [];
  for (const document of parseYamlDocuments(text, { file })) {
    const report: Report = (message, path) => {
      problems.push({ message, document: document.index, line: document.lineOf(path) });
    };
    for (const part of expandLists({ value: document.value, path: [] }, report)) {
      const object = readObject(part, { document, report });
      if (object !== undefined) objects.push(object);
    }
  }
  for (const { message, object } of repeatedObjects(objects)) {
    problems.push({ message, document: object.document, line: object.line });
  }
  const [first] = problems;
  if (first === undefined) return objects;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  throw new K3slbError(
    `Cannot read manifest "${file}" (document ${first.document}, line ${first.line}): ${first.message}${more}`,
    {
      code: "manifest-invalid",
      hint: "Fix the file; it is read again as soon as it is saved",
      details: { file, problems },
    },
  );
}

/** @throws {K3slbError} code "manifest-invalid" if the bytes are not UTF-8 */
export function decodeText(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new K3slbError(`Cannot read manifest "${file}": it is not UTF-8 text`, {
      code: "manifest-invalid",
      hint: "Save the file as UTF-8",
      cause: error,
    });
  }
}

/** Items of `List` and of lists of one kind, such as `ConfigMapList`, also inside each other. */
function expandLists(part: Part, report: Report): readonly Part[] {
  const { value, path } = part;
  // A null is what a document of comments reads as.
  if (value === null && path.length === 0) return [];
  if (!isMapping(value)) {
    report("An object must be a mapping with apiVersion, kind and metadata", path);
    return [];
  }
  const kind = value["kind"];
  if (typeof kind !== "string" || !kind.endsWith("List") || !Object.hasOwn(value, "items")) return [part];
  const items = value["items"] ?? [];
  if (!Array.isArray(items)) {
    report(`The items of a ${kind} must be a list`, [...path, "items"]);
    return [];
  }
  const apiVersion = value["apiVersion"];
  const inherited = kind !== "List" && typeof apiVersion === "string"
    ? { apiVersion, kind: kind.slice(0, -"List".length) }
    : undefined;
  return items.flatMap((item: unknown, index) => {
    const itemPath = [...path, "items", index];
    if (item === null) {
      report("An item of a list is empty", itemPath);
      return [];
    }
    return expandLists({ value: item, path: itemPath, ...(inherited === undefined ? {} : { inherited }) }, report);
  });
}

function readObject(
  part: Part,
  options: { readonly document: YamlDocument; readonly report: Report },
): ManifestObject | undefined {
  const { path, inherited } = part;
  const { document } = options;
  if (!isMapping(part.value)) return undefined;
  const value = inherited === undefined ? part.value : { ...inherited, ...part.value };
  let valid = true;
  const report: Report = (message, at) => {
    valid = false;
    options.report(message, [...path, ...at]);
  };
  const apiVersion = readText(value, "apiVersion", report);
  const kind = readText(value, "kind", report);
  const metadata = value["metadata"];
  if (!isMapping(metadata)) {
    report(`Object ${described(kind)}has no metadata`, ["metadata"]);
    return undefined;
  }
  const name = metadata["name"];
  if (typeof name !== "string" || name === "") {
    report(`Object ${described(kind)}${nameProblem(metadata)}`, ["metadata", "name"]);
  } else if (/[/%]/.test(name) || name === "." || name === "..") {
    report(`"${name}" can't be the name of an object`, ["metadata", "name"]);
  }
  const namespace = metadata["namespace"] ?? "";
  if (typeof namespace !== "string") report("The namespace must be a string", ["metadata", "namespace"]);
  if (apiVersion !== "" && !/^[^\s/]+(?:\/[^\s/]+)?$/.test(apiVersion)) {
    report(`"${apiVersion}" is not an apiVersion`, ["apiVersion"]);
  }
  checkTexts(metadata, "labels", report);
  checkTexts(metadata, "annotations", report);
  if (!valid || typeof name !== "string" || typeof namespace !== "string") return undefined;
  const object: UnknownObject = value;
  return { apiVersion, kind, name, namespace, object, document: document.index, line: document.lineOf(path) };
}

function readText(value: Readonly<Record<string, unknown>>, field: string, report: Report): string {
  const text = value[field];
  if (typeof text === "string" && text !== "") return text;
  const wrong = text === undefined || text === null || text === "" ? "is missing" : "must be a string";
  report(`Field "${field}" ${wrong}`, [field]);
  return "";
}

/** An unquoted `true` or `1` here is the most common mistake of all; the server's words for it are hard to read. */
function checkTexts(metadata: Readonly<Record<string, unknown>>, field: string, report: Report): void {
  const texts = metadata[field];
  if (texts === undefined || texts === null) return;
  if (!isMapping(texts)) {
    report(`Field "metadata.${field}" must be a mapping`, ["metadata", field]);
    return;
  }
  for (const [key, text] of Object.entries(texts)) {
    if (typeof text === "string") continue;
    report(`"${key}" in metadata.${field} must be a string; put it in quotes`, ["metadata", field, key]);
  }
}

function nameProblem(metadata: Readonly<Record<string, unknown>>): string {
  if (typeof metadata["generateName"] === "string") return "has generateName; a manifest needs a fixed name";
  const name = metadata["name"];
  return name === undefined || name === null || name === ""
    ? "has no name"
    : "needs a string as its name; put it in quotes";
}

function described(kind: string): string {
  return kind === "" ? "" : `of kind ${kind} `;
}

function* repeatedObjects(
  objects: readonly ManifestObject[],
): Generator<{ readonly message: string; readonly object: ManifestObject }> {
  const lineOf = new Map<string, number>();
  for (const object of objects) {
    const key = [object.apiVersion.split("/").slice(0, -1).join(), object.kind, object.namespace, object.name].join(
      "\n",
    );
    const before = lineOf.get(key);
    if (before === undefined) lineOf.set(key, object.line);
    else yield { message: `${object.kind} "${object.name}" is already in line ${before}`, object };
  }
}
