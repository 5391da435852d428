// What an unquoted YAML word means to Kubernetes: YAML 1.1 as sigs.k8s.io/yaml and its go-yaml v2 read it (`y`, `yes` and
// `on` are booleans, `0777` and `0o777` are octal, `1:30` and dates stay text). Pure; recorded against kubectl in
// tests/corpus.
import { isMapping } from "./values.ts";

/** An integer that a JavaScript number can't hold; `JSON.stringify` writes its digits unchanged. */
export interface RawNumber {
  readonly rawJSON: string;
}

/** What an unquoted word can stand for. Infinity and NaN are numbers here; JSON has neither. */
export type PlainValue = string | number | boolean | null | RawNumber;

/** The kinds of scalar that tags such as `!!int` ask for. */
export type PlainKind = "string" | "int" | "float" | "bool" | "null";

/** A word, what it stands for and as what kind. */
export interface ResolvedScalar {
  readonly kind: PlainKind;
  readonly value: PlainValue;
  /** Whether the integer needs the unsigned 64-bit range; such integers can't be keys. */
  readonly unsigned?: boolean;
}

const TRUE_WORDS = ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];
const FALSE_WORDS = ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"];
const NULL_WORDS = ["", "~", "null", "Null", "NULL"];

const WORDS: ReadonlyMap<string, ResolvedScalar> = new Map<string, ResolvedScalar>([
  ...TRUE_WORDS.map((word) => [word, { kind: "bool", value: true }] as const),
  ...FALSE_WORDS.map((word) => [word, { kind: "bool", value: false }] as const),
  ...NULL_WORDS.map((word) => [word, { kind: "null", value: null }] as const),
  ...[".nan", ".NaN", ".NAN"].map((word) => [word, { kind: "float", value: NaN }] as const),
  ...[".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"].map((word) =>
    [word, { kind: "float", value: Infinity }] as const
  ),
  ...["-.inf", "-.Inf", "-.INF"].map((word) => [word, { kind: "float", value: -Infinity }] as const),
]);

const FLOAT_REGEXP = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;
/** Goes through Go's own `ParseFloat`, which takes an underscore only between digits. */
const LEADING_POINT_REGEXP = /^\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?$/;
const INTEGER_REGEXP = /^([-+]?)(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|[1-9][0-9]*|0)$/;

const INT64_MAX = 2n ** 63n - 1n;
const UINT64_MAX = 2n ** 64n - 1n;

/** What the unquoted word `text` stands for. */
export function resolvePlainScalar(text: string): ResolvedScalar {
  const word = WORDS.get(text);
  if (word !== undefined) return word;
  const first = text.charCodeAt(0);
  if (first === 0x2e) {
    return LEADING_POINT_REGEXP.test(text) ? resolveFloat(text, text.replaceAll("_", "")) : stringScalar(text);
  }
  const startsNumber = (first >= 0x30 && first <= 0x39) || first === 0x2b || first === 0x2d;
  if (!startsNumber) return stringScalar(text);
  const digits = text.replaceAll("_", "");
  return resolveInteger(digits) ?? (FLOAT_REGEXP.test(digits) ? resolveFloat(text, digits) : stringScalar(text));
}

/** `value` as a number, or as the digits themselves where a number would lose some. */
export function integerValue(value: bigint): number | RawNumber {
  const number = Number(value);
  return String(number) === String(value) ? number : rawNumber(value);
}

/** Whether `value` is an integer kept as digits. */
export function isRawNumber(value: unknown): value is RawNumber {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === null &&
    typeof (value as Partial<RawNumber>).rawJSON === "string";
}

/** Whether `value` is an object with named fields, and no integer kept as digits. */
export function isPlainMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return isMapping(value) && !isRawNumber(value);
}

/** A float key as sigs.k8s.io/yaml writes it: the shortest text of the 32-bit float, in Go's `%g` form. */
export function floatKey(value: number): string {
  const single = Math.fround(value);
  if (!Number.isFinite(single)) return value < 0 ? "-.inf" : ".inf";
  let precision = 1;
  while (precision < 9 && Math.fround(Number(single.toPrecision(precision))) !== single) precision++;
  const shortest = Number(single.toPrecision(precision));
  const exponent = shortest === 0 ? 0 : Math.floor(Math.log10(Math.abs(shortest)) + 1e-12);
  // Go's %g turns to an exponent below 1e-4 and, for the shortest text, from 1e6 on.
  if (exponent >= -4 && exponent < 6) return String(shortest);
  const [digits = "0", power = "0"] = shortest.toExponential().split("e");
  return `${digits}e${power.startsWith("-") ? "-" : "+"}${power.replace(/^[-+]/, "").padStart(2, "0")}`;
}

function resolveInteger(digits: string): ResolvedScalar | undefined {
  const match = INTEGER_REGEXP.exec(digits);
  if (match === null) return undefined;
  const [, sign = "", body = ""] = match;
  const magnitude = BigInt(/^0[0-7]/.test(body) ? `0o${body}` : body);
  const value = sign === "-" ? -magnitude : magnitude;
  if (value >= -INT64_MAX - 1n && value <= INT64_MAX) return { kind: "int", value: integerValue(value) };
  // Beyond 64 signed bits Kubernetes itself goes through a float; the same rounding happens here.
  if (sign === "" && value <= UINT64_MAX) return { kind: "int", value: Number(value), unsigned: true };
  return undefined;
}

function resolveFloat(text: string, digits: string): ResolvedScalar {
  const value = Number(digits);
  return Number.isFinite(value) ? { kind: "float", value } : stringScalar(text);
}

function stringScalar(text: string): ResolvedScalar {
  return { kind: "string", value: text };
}

/** `JSON.rawJSON` is in Deno 2, Bun 1.3 and Node 22 and later, but not yet in TypeScript's library. */
function rawNumber(value: bigint): number | RawNumber {
  const json = JSON as typeof JSON & { readonly rawJSON?: (text: string) => RawNumber };
  return json.rawJSON?.(String(value)) ?? Number(value);
}
