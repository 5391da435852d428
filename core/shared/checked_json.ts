// JSON that another program wrote: taken whole, or not at all if any part of it is not as it should be. Pure.
import { isMapping } from "./values.ts";

/** Some part is not as it should be. Never leaves {@linkcode parseChecked}. */
export class WrongPart extends Error {}

/** What `check` makes of the JSON in `text`; `undefined` if it is no JSON, or `check` throws a {@linkcode WrongPart}. */
export function parseChecked<T>(text: string, check: (value: unknown) => T): T | undefined {
  try {
    return check(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof WrongPart) return undefined;
    throw error;
  }
}

/** `value`, which is an object with named fields. */
export function mapping(value: unknown): Readonly<Record<string, unknown>> {
  if (!isMapping(value)) throw new WrongPart("mapping");
  return value;
}

/** `value`, which is a list. */
export function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new WrongPart("list");
  return value;
}

/** `value`, which is a text of at most `maxLength` characters. */
export function text(value: unknown, maxLength = Infinity): string {
  if (typeof value !== "string" || value.length > maxLength) throw new WrongPart("text");
  return value;
}

/** `value`, which is true or false. */
export function flag(value: unknown): boolean {
  if (typeof value !== "boolean") throw new WrongPart("flag");
  return value;
}

/** `value`, which is one of `known`. */
export function oneOf<T extends string>(value: unknown, known: readonly T[]): T {
  const found = known.find((each) => each === value);
  if (found === undefined) throw new WrongPart("word");
  return found;
}
