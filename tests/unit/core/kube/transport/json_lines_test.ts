import assert from "node:assert/strict";
import fc from "fast-check";
import { LineSplitter } from "../../../../../core/kube/transport/json_lines.ts";
import { anyText } from "../../../../support/any_text.ts";

Deno.test("LineSplitter gives the same lines, however the bytes are torn", () => {
  const line = anyText().map((text) => text.replaceAll("\n", " "));
  fc.assert(fc.property(fc.array(line), fc.infiniteStream(fc.integer({ min: 1, max: 7 })), (lines, sizes) => {
    const bytes = new TextEncoder().encode(lines.map((text) => `${text}\n`).join(""));
    const splitter = new LineSplitter(1_000_000);
    const seen: string[] = [];
    for (let start = 0; start < bytes.length;) {
      const size = sizes.next().value ?? 1;
      seen.push(...splitter.push(bytes.subarray(start, start + size)));
      start += size;
    }
    // A byte order mark at the start of a line is dropped by the decoder, as JSON.parse would refuse it.
    assert.deepEqual(seen, lines.map((text) => text.replace(/^\uFEFF/, "")));
    assert.equal(splitter.pendingBytes, 0);
  }));
});

Deno.test("LineSplitter keeps an unfinished line and refuses one that is too long", () => {
  const splitter = new LineSplitter(5);
  assert.deepEqual(splitter.push(new TextEncoder().encode("ab\ncd")), ["ab"]);
  assert.equal(splitter.pendingBytes, 2);
  assert.throws(() => splitter.push(new TextEncoder().encode("efgh")), RangeError);
  const other = new LineSplitter(5);
  other.push(new TextEncoder().encode("xyz"));
  assert.equal(other.rest(), "xyz");
});
