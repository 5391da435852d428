// JSON as the API server writes it. Pure.
// `JSON.parse` rounds integers beyond 2^53, which the API keeps: an id of 18 digits inside a HelmChart's values would reach helm as another one.
// Only for kinds that can hold such: looking through each text costs more than reading it where the engine interprets.
import { integerValue } from "../shared/yaml_scalar.ts";

/** Cheap to look for; a text without one has nothing that could be rounded. */
const LONG_INTEGER_REGEXP = /[:,[]\s*-?[0-9]{16}/;
const INTEGER_REGEXP = /^-?[0-9]+$/;

/** What a reviver is told of a value; not yet in TypeScript's library. */
interface ReviverContext {
  readonly source?: string;
}

/**
 * `text` as `JSON.parse` reads it, but integers that a number can't hold keep their digits (`RawNumber`), also when written again.
 *
 * @throws {SyntaxError} if `text` is not JSON
 */
export function parseJson(text: string): unknown {
  return LONG_INTEGER_REGEXP.test(text) ? JSON.parse(text, exactInteger) : JSON.parse(text);
}

function exactInteger(_key: string, value: unknown, context?: ReviverContext): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  const source = context?.source ?? "";
  return INTEGER_REGEXP.test(source) ? integerValue(BigInt(source)) : value;
}
