// Texts for property tests, of any characters but halves of a surrogate pair.
import fc from "fast-check";

const [FIRST_SURROGATE, SURROGATES, LAST] = [0xd800, 0x800, 0x10ffff];

/** fast-check's own unit `binary` is the same, and first writes down each of a million characters. */
const CHARACTER = fc.integer({ min: 0, max: LAST - SURROGATES }).map((index) =>
  String.fromCodePoint(index < FIRST_SURROGATE ? index : index + SURROGATES)
);

/** Texts of up to `maxLength` characters: any, or of letters and what means something to JavaScript, such as `__proto__`. */
export function anyText(maxLength?: number): fc.Arbitrary<string> {
  const bounds = maxLength === undefined ? {} : { maxLength };
  return fc.oneof({ arbitrary: fc.string({ ...bounds, unit: CHARACTER }), weight: 4 }, fc.string(bounds));
}
