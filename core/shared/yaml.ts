// YAML and JSON text to values and back, as Kubernetes reads it. The only importer of the `yaml` library, which gives
// the syntax tree and positions; what words mean is decided in yaml_scalar.ts. Pure.
// Stricter than kubectl in one point: a key written twice is refused (kubectl takes the last one).
import {
  Alias,
  Composer,
  Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  Parser,
  Scalar,
  visit,
} from "yaml";
import { K3slbError } from "./errors.ts";
import {
  floatKey,
  isPlainMapping,
  isRawNumber,
  type PlainKind,
  type PlainValue,
  resolvePlainScalar,
} from "./yaml_scalar.ts";

/** Where a value is inside a document: keys and list indexes from the top. */
export type YamlPath = readonly (string | number)[];

/** What can be said about the text that is parsed. */
export interface ParseYamlOptions {
  /** Name of the file for messages. */
  readonly file?: string;
}

/** One document of a text. */
export interface YamlDocument {
  /** Position among the text's documents, from 1; empty documents count. */
  readonly index: number;
  /** Line on which the document's content starts, from 1. */
  readonly line: number;
  /** The content; `null` for a document with nothing but comments and blanks. Never change it: anchors share parts. */
  readonly value: unknown;
  /** The line of the value at `path`, or of the nearest part around it that exists. */
  lineOf(path: YamlPath): number;
}

/** What is wrong at one place of a text. */
export interface YamlProblem {
  readonly message: string;
  readonly document: number;
  readonly line: number;
}

/** Nodes that aliases may add; more is an attack or an accident ("billion laughs"). */
const MAX_ALIASED_NODES = 400_000;
const MAX_DEPTH = 1_000;
/** What go-yaml refuses: control characters other than tab and line ends. */
const CONTROL_CHARACTER_REGEXP = /(?![\t\n\r\u0085])\p{Cc}/u;
const TAG_PREFIX = "tag:yaml.org,2002:";

/**
 * Every document of `text`, empty ones included.
 *
 * @throws {K3slbError} code "yaml-invalid" with every problem found as `details.problems`
 */
export function parseYamlDocuments(text: string, options: ParseYamlOptions = {}): readonly YamlDocument[] {
  const problems: YamlProblem[] = [];
  const read: YamlDocument[] = [];
  let index = 0;
  const lines = new LineCounter();
  const lineAt = (offset: number): number => Math.max(1, lines.linePos(offset).line);
  const control = CONTROL_CHARACTER_REGEXP.exec(text);
  if (control !== null) {
    const line = text.slice(0, control.index).split("\n").length;
    throw invalidYaml([{ message: "Control characters are not allowed", document: 1, line }], options);
  }
  for (const document of parseDocuments(text, lines, options)) {
    const at = ++index;
    for (const error of document.errors) {
      problems.push({ message: error.message.split("\n", 1).join(), document: at, line: lineAt(error.pos[0]) });
    }
    if (document.errors.length > 0) continue;
    const reader = new DocumentReader((message, offset) => {
      problems.push({ message, document: at, line: lineAt(offset) });
    });
    const root: unknown = document.contents;
    const value = reader.read(root);
    read.push({
      index: at,
      line: lineAt(nodeOffset(root) ?? document.range[0]),
      value,
      lineOf: (path) => lineAt(offsetOfPath(root, path) ?? document.range[0]),
    });
  }
  if (problems.length > 0) throw invalidYaml(problems, options);
  return read;
}

/**
 * The one value in `text`, `null` if it is empty.
 *
 * @throws {K3slbError} code "yaml-invalid", also if there is more than one document with content
 */
export function parseYaml(text: string, options: ParseYamlOptions = {}): unknown {
  const documents = parseYamlDocuments(text, options).filter(({ value }) => value !== null);
  const second = documents[1];
  if (second !== undefined) {
    const message = "Only one document is expected here";
    throw invalidYaml([{ message, document: second.index, line: second.line }], options);
  }
  return documents[0]?.value ?? null;
}

/** `value` as YAML that Kubernetes reads back as the same value; ends with a line end. */
export function stringifyYaml(value: unknown): string {
  const document = new Document(withBigIntegers(value), { aliasDuplicateObjects: false });
  visit(document, {
    Scalar: (_key, node) => {
      const text: unknown = node.value;
      if (typeof text === "string" && resolvePlainScalar(text).kind !== "string") node.type = Scalar.QUOTE_DOUBLE;
      if (text === "<<") node.type = Scalar.QUOTE_DOUBLE;
    },
  });
  return document.toString({ lineWidth: 0 });
}

function* parseDocuments(text: string, lines: LineCounter, options: ParseYamlOptions): Generator<Document.Parsed> {
  try {
    // Byte order mark off first: the library drops it only at the very start of the stream, not before each document.
    // A carriage return alone ends a line, too, but the library takes it for a part of the value.
    const source = text.replace(/^\uFEFF/, "").replaceAll(/\r(?!\n)/g, "\n");
    // All words stay text here, so that a `%YAML 1.2` line or a library update can't change what they mean.
    const words = { schema: "failsafe", version: "1.1", uniqueKeys: false } as const;
    const composer = new Composer({ ...words, logLevel: "silent", prettyErrors: false, lineCounter: lines });
    for (const document of composer.compose(new Parser(lines.addNewLine).parse(source))) {
      yield document as Document.Parsed;
    }
  } catch (error) {
    const deep = error instanceof RangeError;
    const message = deep ? "The content is nested too deeply" : "The text can't be read as YAML";
    throw invalidYaml([{ message, document: 1, line: 1 }], options, error);
  }
}

/** Reports a problem at an offset of the text. */
type Report = (message: string, offset: number) => void;

interface Anchored {
  readonly value: unknown;
  readonly size: number;
}

/** Turns one syntax tree into a value. */
class DocumentReader {
  readonly #report: Report;
  readonly #anchors = new Map<string, Anchored | "open">();
  #size = 0;
  #aliasedSize = 0;
  #depth = 0;

  constructor(report: Report) {
    this.#report = report;
  }

  read(node: unknown): unknown {
    if (node === null || node === undefined) return null;
    if (isAlias(node)) return this.#readAlias(node);
    const anchor = isScalar(node) || isMap(node) || isSeq(node) ? node.anchor : undefined;
    if (anchor !== undefined) this.#anchors.set(anchor, "open");
    const before = this.#size++;
    if (++this.#depth > MAX_DEPTH) {
      // Reported once: the depth is reset on the way out.
      if (this.#depth === MAX_DEPTH + 1) this.#report("The content is nested too deeply", nodeOffset(node) ?? 0);
      this.#depth--;
      return null;
    }
    const value = this.#readContent(node);
    this.#depth--;
    if (anchor !== undefined) this.#anchors.set(anchor, { value, size: this.#size - before });
    return value;
  }

  #readContent(node: unknown): unknown {
    if (isMap(node)) return this.#readPairs(node.items);
    if (isSeq(node)) return node.items.map((item: unknown) => isPair(item) ? this.#readPairs([item]) : this.read(item));
    return isScalar(node) ? this.#readScalar(node) : null;
  }

  #readAlias(node: Alias): unknown {
    const anchored = this.#anchors.get(node.source);
    const offset = nodeOffset(node) ?? 0;
    if (anchored === undefined || anchored === "open") {
      const problem = anchored === undefined ? "is not defined before it" : "contains itself";
      this.#report(`Alias "*${node.source}" is used, but its anchor ${problem}`, offset);
      return null;
    }
    this.#size += anchored.size;
    this.#aliasedSize += anchored.size;
    if (this.#aliasedSize <= MAX_ALIASED_NODES) return anchored.value;
    if (this.#aliasedSize - anchored.size <= MAX_ALIASED_NODES) {
      this.#report(`Aliases stand for more than ${MAX_ALIASED_NODES} values`, offset);
    }
    return null;
  }

  #readPairs(pairs: readonly unknown[]): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    const written = new Set<string>();
    for (const pair of pairs) {
      if (!isPair(pair)) continue;
      if (isMergeKey(pair.key)) {
        this.#mergeInto(result, pair.value);
        continue;
      }
      const key = this.#readKey(pair.key);
      const value = this.read(pair.value);
      if (key === undefined) continue;
      if (written.has(key)) this.#report(`Key "${key}" is already there in this mapping`, nodeOffset(pair.key) ?? 0);
      written.add(key);
      setField(result, key, value);
    }
    return result;
  }

  /** Later keys win over merged ones and a later merge over earlier keys, in the order of the text, as kubectl has it. */
  #mergeInto(result: Record<string, unknown>, node: unknown): void {
    const value = this.read(node);
    const sources: readonly unknown[] = Array.isArray(value) ? value.toReversed() : [value];
    for (const source of sources) {
      if (!isPlainMapping(source)) {
        this.#report('The value of "<<" must be a mapping or a list of mappings', nodeOffset(node) ?? 0);
        return;
      }
      for (const [key, field] of Object.entries(source)) setField(result, key, field);
    }
  }

  #readKey(node: unknown): string | undefined {
    const value = this.read(node);
    if (typeof value === "string") return value;
    if (typeof value === "boolean") return String(value);
    if (isRawNumber(value)) return value.rawJSON;
    const plain = isScalar(node) ? resolvePlainScalar(String(node.value)) : undefined;
    if (typeof value === "number" && plain?.unsigned !== true) {
      return plain?.kind === "float" ? floatKey(value) : String(value);
    }
    this.#report("A key must be a string, a number or a boolean", nodeOffset(node) ?? 0);
    return undefined;
  }

  #readScalar(node: Scalar): PlainValue {
    const text = String(node.value);
    if (!text.isWellFormed()) this.#report("Half of a surrogate pair is not a character", nodeOffset(node) ?? 0);
    const resolved = node.tag === undefined
      ? (node.type === Scalar.PLAIN || node.type === undefined ? resolvePlainScalar(text) : undefined)
      : this.#resolveTagged(node, text);
    const value = resolved?.value ?? (resolved === undefined ? text : null);
    if (typeof value === "number" && !Number.isFinite(value)) {
      this.#report(`"${text}" has no form in JSON`, nodeOffset(node) ?? 0);
      return null;
    }
    return value;
  }

  #resolveTagged(node: Scalar, text: string): { readonly value: PlainValue } | undefined {
    const tag = node.tag?.startsWith(TAG_PREFIX) ? node.tag.slice(TAG_PREFIX.length) : undefined;
    if (tag === "binary") return { value: this.#readBinary(text, nodeOffset(node) ?? 0) };
    const wanted = tag === undefined ? undefined : KIND_OF_TAG[tag];
    if (wanted === undefined) return undefined;
    const resolved = resolvePlainScalar(text);
    if (resolved.kind === wanted || (wanted === "float" && resolved.kind === "int")) return resolved;
    this.#report(`"${text}" can't be read as !!${tag}`, nodeOffset(node) ?? 0);
    return { value: null };
  }

  #readBinary(text: string, offset: number): string {
    const encoded = text.replaceAll(/\s/g, "");
    if (/^[A-Za-z0-9+/]*={0,2}$/.test(encoded) && encoded.length % 4 === 0) {
      const bytes = Uint8Array.from(atob(encoded), (character) => character.charCodeAt(0));
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
    }
    this.#report("The value of !!binary is not base64", offset);
    return "";
  }
}

const KIND_OF_TAG: Readonly<Record<string, PlainKind>> = { int: "int", float: "float", bool: "bool", null: "null" };

function isMergeKey(node: unknown): boolean {
  return isScalar(node) && node.value === "<<" && node.type === Scalar.PLAIN && node.tag === undefined;
}

/** Sets an own field whatever its name, `__proto__` included. */
function setField(target: Record<string, unknown>, key: string, value: unknown): void {
  if (key !== "__proto__") target[key] = value;
  else Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

function nodeOffset(node: unknown): number | undefined {
  if (!isScalar(node) && !isMap(node) && !isSeq(node) && !isAlias(node)) return undefined;
  return node.range?.[0];
}

function offsetOfPath(root: unknown, path: YamlPath): number | undefined {
  let node = root;
  let offset = nodeOffset(root);
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (pair === undefined) break;
      offset = nodeOffset(pair.key) ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      if (node === undefined) break;
      offset = nodeOffset(node) ?? offset;
    } else {
      break;
    }
  }
  return offset;
}

function withBigIntegers(value: unknown): unknown {
  if (isRawNumber(value)) return BigInt(value.rawJSON);
  if (Array.isArray(value)) return value.map(withBigIntegers);
  if (!isPlainMapping(value)) return value;
  const copy: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(value)) setField(copy, key, withBigIntegers(field));
  return copy;
}

function invalidYaml(problems: readonly YamlProblem[], options: ParseYamlOptions, cause?: unknown): K3slbError {
  const [first] = problems;
  const place = `document ${first?.document}, line ${first?.line}`;
  const source = options.file === undefined ? `YAML (${place})` : `"${options.file}" (${place})`;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  return new K3slbError(`Cannot parse ${source}: ${first?.message}${more}`, {
    code: "yaml-invalid",
    hint: "Fix the text at that line",
    details: { file: options.file, problems },
    cause,
  });
}
