// Small YAML or JSON texts that a tenant wrote, each parsed once: bounds first, no anchors and aliases. Pure.
import { errorMessage } from "./errors.ts";
import { parseYaml } from "./yaml.ts";

/** What a text says, or a sentence about what is wrong with it. */
export type Parsed<T> = { readonly value: T } | { readonly fault: string };

/**
 * A parser for texts of `maxLength` characters at most that keeps what it has read, so that an unchanged text costs nothing.
 *
 * @param check The value as wanted, or a sentence
 */
export function smallYamlParser<T extends object>(check: (value: unknown) => T | string): (text: string) => Parsed<T> {
  const known = new Map<string, Parsed<T>>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const parsed = parseSmallYaml(text, check);
    const oldest = known.keys().next();
    if (known.size >= MAX_KNOWN && !oldest.done) known.delete(oldest.value);
    known.set(text, parsed);
    return parsed;
  };
}

function parseSmallYaml<T extends object>(text: string, check: (value: unknown) => T | string): Parsed<T> {
  // A few aliases grow a text of one line to thousands of nodes; neither sign means anything else in what is written here.
  if (/[&*]/.test(text)) return { fault: "anchors and aliases (& and *) are not taken" };
  for (const [pattern, most] of MOST_SIGNS) {
    if ((text.match(pattern)?.length ?? 0) > most) return { fault: "it has too many parts" };
  }
  try {
    const checked = check(parseYaml(text));
    return typeof checked === "string" ? { fault: checked } : { value: checked };
  } catch (error) {
    return { fault: errorMessage(error) };
  }
}

/** A parser's work grows with the square of what is wrong in a text: some dozens of entries need no more signs than this. */
const MOST_SIGNS: readonly (readonly [pattern: RegExp, most: number])[] = [
  [/[[{]/g, 64],
  [/[,\n]/g, 256],
  [/[:?"'|>-]/g, 512],
];
/** Texts of a few kilobytes each. */
const MAX_KNOWN = 256;
