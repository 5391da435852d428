// A short hash of a value's JSON, to notice that what was applied last is no longer what is wanted. Pure; not for security.

/** 53 bits as hexadecimal text; equal values built in the same order give equal texts. */
export function stableHash(value: unknown): string {
  const text = JSON.stringify(value) ?? "";
  // Two lanes of multiply-and-xor, mixed at the end: the construction known as cyrb53.
  let high = 0xdeadbeef;
  let low = 0x41c6ce57;
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    high = Math.imul(high ^ code, 2654435761);
    low = Math.imul(low ^ code, 1597334677);
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
  return (4294967296 * (2097151 & low) + (high >>> 0)).toString(16).padStart(14, "0");
}
