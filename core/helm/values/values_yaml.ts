// JSON values as YAML text, byte for byte as gopkg.in/yaml.v2 writes them: the text is part of the hash that tells whether a release
// is up to date, so a cluster that comes from K3s is not upgraded for a different line break. Pure.
// Facts: yaml.v2 `encode.go`, `sorter.go`, `emitterc.go`.
import { Buffer } from "node:buffer";
import { K3slbError } from "../../shared/errors.ts";
import { isPlainMapping, isRawNumber, resolvePlainScalar } from "../../shared/yaml_scalar.ts";

/** Column after which a blank becomes a line break. */
const BEST_WIDTH = 80;

/** Longest key in bytes that stands before its colon; a longer one gets a line of its own, after a question mark. */
const MAX_SIMPLE_KEY_BYTES = 128;

/** Deepest nesting; helm's own parser refuses 10,000, and each level indents all lines in it. */
const MAX_DEPTH = 1_000;

/** Longest text; a Secret holds a quarter of it. */
const MAX_LENGTH = 4 << 20;

/**
 * `value`, which is what JSON can hold with integers of any size, as YAML.
 *
 * @throws {K3slbError} code "values-invalid" if it is nested too deeply or its text too long
 */
export function renderValuesYaml(value: unknown): string {
  const text = new ValuesWriter().write(value);
  return text.endsWith("\n") ? text : `${text}\n`;
}

/** Less than, equal to or greater than 0, in the order of keys: digits by their number, letters after all else. */
export function compareKeys(a: string, b: string): number {
  let i = 0;
  while (i < a.length && i < b.length && a.charCodeAt(i) === b.charCodeAt(i)) i++;
  if (i === a.length || i === b.length) return a.length - b.length;
  // Two characters may have their first halves in common.
  if (isSecondHalf(a, i) && isSecondHalf(b, i) && i > 0) i--;
  const [p, q] = [codePointAt(a, i), codePointAt(b, i)];
  const [isLetterP, isLetterQ] = [isLetter(p), isLetter(q)];
  if (isLetterP !== isLetterQ) return isLetterQ ? -1 : 1;
  if (isLetterP) return p - q;
  const start = (p === ZERO || q === ZERO) && followsNumber(a, i) ? "1" : "";
  const [m, n] = [digitsAt(a, i), digitsAt(b, i)];
  const [numberM, numberN] = [Number(`${start}${m}` || "0"), Number(`${start}${n}` || "0")];
  if (numberM !== numberN) return numberM - numberN;
  return m.length === n.length ? p - q : m.length - n.length;
}

const ZERO = 0x30;

const LETTER_REGEXP = /^\p{L}$/u;
const BASE60_REGEXP = /^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?$/;
/** Go's layouts: RFC 3339 with numbers of one digit, the same with a blank and without a zone, and a day alone. */
const TIMESTAMP_REGEXP =
  /^(\d{4})-(\d{1,2})-(\d{1,2})(?:(?:[Tt](?=.*(?:Z|[-+]\d\d:\d\d)$)| (?=[^Z+-]*$))(\d{1,2}):(\d{1,2}):(\d{1,2})(?:[.,]\d+)?(?:Z|[-+]\d\d:\d\d)?)?$/;
/** Nothing in it needs quotes, unless it is one of YAML's own words. */
const WORD_REGEXP = /^[A-Za-z][\w./-]*$/;
const BREAK_REGEXP = /[\n\r\u0085\u2028\u2029]/;
const SPECIAL_REGEXP = /[^\n\x20-\x7e\u00a0-\ud7ff\ue000-\ufefe\uff00-\ufffd]/u;

function codePoint(character: string): number {
  return character.codePointAt(0) ?? 0;
}

function codePointAt(text: string, at: number): number {
  return text.codePointAt(at) ?? 0;
}

function isSecondHalf(text: string, at: number): boolean {
  return (text.charCodeAt(at) & 0xfc00) === 0xdc00;
}

function isLetter(point: number): boolean {
  // Most keys are ASCII, and large values have many.
  if (point < 0x80) return (point >= 0x41 && point <= 0x5a) || (point >= 0x61 && point <= 0x7a);
  return LETTER_REGEXP.test(String.fromCodePoint(point));
}

function isDigit(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= ZERO && unit <= 0x39;
}

function digitsAt(text: string, from: number): string {
  let end = from;
  while (isDigit(text, end)) end++;
  return text.slice(from, end);
}

function followsNumber(text: string, at: number): boolean {
  for (let i = at - 1; isDigit(text, i); i--) if (text[i] !== "0") return true;
  return false;
}

function isSimpleKey(key: string): boolean {
  return !BREAK_REGEXP.test(key) && Buffer.byteLength(key) <= MAX_SIMPLE_KEY_BYTES;
}

/** One text under way: the column decides where lines are folded. Whole lines are put aside: looking at a long text costs its length. */
class ValuesWriter {
  readonly #lines: string[] = [];
  /** The present line. */
  #line = "";
  #length = 0;
  #depth = 0;

  write(value: unknown): string {
    if (isPlainMapping(value) && Object.keys(value).length > 0) this.#mapping(value, 0);
    else if (Array.isArray(value) && value.length > 0) this.#sequence(value, 0);
    else this.#scalar(value, 0);
    return [...this.#lines, this.#line].join("\n");
  }

  /** Whether the next blank may become a line break. */
  get #isWide(): boolean {
    return this.#line.length > BEST_WIDTH && [...this.#line].length > BEST_WIDTH;
  }

  #enter(): void {
    if (++this.#depth > MAX_DEPTH) throw invalid(`are nested more than ${MAX_DEPTH} levels deep`);
  }

  #put(text: string): void {
    this.#length += text.length;
    if (this.#length > MAX_LENGTH) throw invalid(`have more than ${MAX_LENGTH} bytes as YAML`);
    const end = text.lastIndexOf("\n");
    if (end >= 0) {
      this.#lines.push(this.#line + text.slice(0, end));
      this.#line = "";
    }
    this.#line += text.slice(end + 1);
  }

  /** Starts on the present line, so that a mapping can follow `- `. */
  #mapping(mapping: Readonly<Record<string, unknown>>, indent: number): void {
    this.#enter();
    for (const [index, key] of Object.keys(mapping).toSorted(compareKeys).entries()) {
      if (index > 0) this.#newLine(indent);
      const isSimple = isSimpleKey(key);
      if (!isSimple) this.#put("? ");
      this.#text(key, { indent: isSimple ? indent : indent + 2, isKey: isSimple });
      if (!isSimple) this.#newLine(indent);
      this.#put(":");
      const value = mapping[key];
      if (isPlainMapping(value) && Object.keys(value).length > 0) {
        if (isSimple) this.#newLine(indent + 2);
        else this.#put(" ");
        this.#mapping(value, indent + 2);
      } else if (Array.isArray(value) && value.length > 0) {
        if (isSimple) this.#newLine(indent);
        else this.#put(" ");
        this.#sequence(value, isSimple ? indent : indent + 2);
      } else {
        this.#put(" ");
        this.#scalar(value, indent + 2);
      }
    }
    this.#depth--;
  }

  #sequence(items: readonly unknown[], indent: number): void {
    this.#enter();
    for (const [index, item] of items.entries()) {
      if (index > 0) this.#newLine(indent);
      this.#put("- ");
      if (isPlainMapping(item) && Object.keys(item).length > 0) this.#mapping(item, indent + 2);
      else if (Array.isArray(item) && item.length > 0) this.#sequence(item, indent + 2);
      else this.#scalar(item, indent + 2);
    }
    this.#depth--;
  }

  /** Unless the line has ended already, as after a literal block that keeps its last line break. */
  #newLine(indent: number): void {
    if (this.#line !== "" || this.#lines.length === 0) this.#put("\n");
    this.#put(" ".repeat(indent));
  }

  #scalar(value: unknown, indent: number): void {
    if (typeof value === "string") return this.#text(value, { indent, isKey: false });
    if (isPlainMapping(value)) this.#put("{}");
    else if (Array.isArray(value)) this.#put("[]");
    else if (typeof value === "number") this.#put(formatNumber(value));
    else if (isRawNumber(value)) this.#put(formatInteger(BigInt(value.rawJSON)));
    else this.#put(String(value ?? null));
  }

  #text(text: string, place: { readonly indent: number; readonly isKey: boolean }): void {
    const style = styleOf(text, place.isKey);
    if (style === "literal") return this.#literal(text, place.indent);
    if (style === "plain") return this.#folded(text, place);
    if (style === "double") return this.#doubleQuoted(text, place);
    this.#put("'");
    this.#folded(text.replaceAll("'", "''"), place, true);
    this.#put("'");
  }

  #folded(text: string, { indent, isKey }: { readonly indent: number; readonly isKey: boolean }, quoted = false): void {
    if (isKey || !text.includes(" ")) return this.#put(text);
    const characters = [...text];
    for (const [i, character] of characters.entries()) {
      const isInside = !quoted || (i > 0 && i < characters.length - 1);
      const isAlone = characters[i - 1] !== " " && characters[i + 1] !== " ";
      if (character === " " && isInside && isAlone && this.#isWide) this.#newLine(indent);
      else this.#put(character);
    }
  }

  #doubleQuoted(text: string, { indent, isKey }: { readonly indent: number; readonly isKey: boolean }): void {
    this.#put('"');
    const characters = [...text];
    let wasSpace = false;
    for (const [i, character] of characters.entries()) {
      const isInside = i > 0 && i < characters.length - 1;
      if (character === " " && !isKey && !wasSpace && this.#isWide && isInside) {
        this.#newLine(indent);
        if (characters[i + 1] === " ") this.#put("\\");
      } else {
        this.#put(escapeCharacter(character));
      }
      wasSpace = character === " ";
    }
    this.#put('"');
  }

  #literal(text: string, indent: number): void {
    const hint = /^[ \n]/.test(text) ? "2" : "";
    const chomp = !text.endsWith("\n") ? "-" : text === "\n" || text.endsWith("\n\n") ? "+" : "";
    this.#put(`|${hint}${chomp}\n`);
    const lines = (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
    this.#put(lines.map((line) => line === "" ? "" : " ".repeat(Math.max(indent, 2)) + line).join("\n"));
    if (text.endsWith("\n")) this.#put("\n");
  }
}

function invalid(what: string): K3slbError {
  return new K3slbError(`The values ${what}`, {
    code: "values-invalid",
    hint: "Put some into Secrets of valuesSecrets, or write less nested ones",
  });
}

type Style = "plain" | "single" | "double" | "literal";

function styleOf(text: string, isKey: boolean): Style {
  // Most texts are words, and large values have many.
  if (WORD_REGEXP.test(text) && resolvePlainScalar(text).kind === "string") return "plain";
  const hasSpecial = SPECIAL_REGEXP.test(text);
  if (text.includes("\n")) {
    const isLiteral = !isKey && !hasSpecial && !/ $/.test(text) && !/ [\n\r\u0085\u2028\u2029]/.test(text);
    return isLiteral ? "literal" : "double";
  }
  if (hasSpecial || BREAK_REGEXP.test(text)) return "double";
  const isAmbiguous = resolvePlainScalar(text).kind !== "string" || text === "<<" || BASE60_REGEXP.test(text) ||
    isTimestamp(text);
  if (isAmbiguous) return "double";
  const needsQuotes = /^(---|\.\.\.)/.test(text) || /^[#,[\]{}&*!|>'"%@`]/.test(text) || /^[?:-]([ \t]|$)/.test(text) ||
    /.:([ \t]|$)/.test(text) || /[ \t]#/.test(text) || /^ | $/.test(text);
  return needsQuotes ? "single" : "plain";
}

function isTimestamp(text: string): boolean {
  const numbers = TIMESTAMP_REGEXP.exec(text)?.slice(1).map((part) => Number(part ?? 0));
  if (numbers === undefined) return false;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = numbers;
  const lastDay = new Date(Date.UTC(year, month, 0)).getUTCDate();
  return month >= 1 && month <= 12 && day >= 1 && day <= lastDay && hour < 24 && minute < 60 && second < 60;
}

const ESCAPES: Readonly<Record<string, string>> = {
  "\0": "\\0",
  "\x07": "\\a",
  "\b": "\\b",
  "\t": "\\t",
  "\n": "\\n",
  "\v": "\\v",
  "\f": "\\f",
  "\r": "\\r",
  "\x1b": "\\e",
  '"': '\\"',
  "\\": "\\\\",
  "\u0085": "\\N",
  "\u00a0": "\\_",
  "\u2028": "\\L",
  "\u2029": "\\P",
};

function escapeCharacter(character: string): string {
  const known = ESCAPES[character];
  if (known !== undefined && character !== "\u00a0") return known;
  if (!SPECIAL_REGEXP.test(character)) return character;
  const code = codePoint(character);
  const hex = code.toString(16).toUpperCase();
  return code <= 0xff
    ? `\\x${hex.padStart(2, "0")}`
    : code <= 0xffff
    ? `\\u${hex.padStart(4, "0")}`
    : `\\U${hex.padStart(8, "0")}`;
}

/** Integers in full, others in Go's shortest form with an exponent below 1e-4 and from 1e6 on. */
function formatNumber(value: number): string {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return String(value);
  if (Number.isInteger(value) && isInteger64(BigInt(value))) return BigInt(value).toString();
  const [digits = "", exponent = "0"] = value.toExponential().split("e");
  const size = Number(exponent);
  if (size >= -4 && size < 6) return String(value);
  return `${digits}e${size < 0 ? "-" : "+"}${String(Math.abs(size)).padStart(2, "0")}`;
}

/** What no 64 bits hold is a float to Go. */
function formatInteger(value: bigint): string {
  return isInteger64(value) ? value.toString() : formatNumber(Number(value));
}

/** Whether it fits 64 bits, with or without a sign. */
function isInteger64(value: bigint): boolean {
  return BigInt.asIntN(64, value) === value || BigInt.asUintN(64, value) === value;
}
