// A long manifest file is read by a thread: other work is let in meanwhile, and what is read and refused is the same.
import assert from "node:assert/strict";
import { parseManifests } from "../../../../../core/manifests/objects/parse_manifests.ts";
import { readObjects } from "../../../../../core/manifests/objects/read_objects.ts";

const document = (index: number): string => `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map-${index}\n`;
const file = (count: number): string => Array.from({ length: count }, (_, index) => document(index)).join("---\n");
const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
const LONG = `# ${"x".repeat(20_000)}\n`;

/** The same as one List, which is one document. */
function list(count: number): string {
  const items = Array.from({ length: count }, (_, index) => document(index).replaceAll(/^/gm, "    ").trimEnd());
  return `apiVersion: v1\nkind: List\nitems:\n${items.map((item) => item.replace("    ", "  - ")).join("\n")}\n`;
}

for (const [what, text] of Object.entries({ "many documents": file(3_000), "one long document": list(3_000) })) {
  Deno.test(`readObjects() reads ${what} as parseManifests() does, and lets others in`, async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const objects = await readObjects(encode(text), "f.yaml");
    clearInterval(timer);
    assert.equal(objects.length, 3_000);
    assert.deepEqual(objects, parseManifests(text, "f.yaml"));
    assert.ok(turns > 0);
  });
}

Deno.test("readObjects() keeps the digits of long integers, and fields of any name", async () => {
  const text = `${document(0)}data:\n  a: 9007199254740993\n  __proto__: {b: -1}\n  c: 1.5\n${LONG}`;
  const [long] = await readObjects(encode(text), "f.yaml");
  const [short] = await readObjects(encode(text.replace(LONG, "")), "f.yaml");
  assert.equal(JSON.stringify(long?.object), JSON.stringify(short?.object));
  assert.match(JSON.stringify(long?.object), /"a":9007199254740993,"__proto__":\{"b":-1\}/);
});

for (
  const [what, text] of Object.entries({ "no YAML": "a: b: c\n", "no manifest": `${document(0)}---\n${document(0)}` })
) {
  Deno.test(`readObjects() refuses ${what} in the same words, whether the file is short or long`, async () => {
    const [short, long] = await Promise.all(
      [text, `${text}${LONG}`].map((given) => readObjects(encode(given), "f.yaml").catch((error: unknown) => error)),
    );
    assert.ok(short instanceof Error && long instanceof Error);
    assert.deepEqual({ ...long, message: long.message }, { ...short, message: short.message });
  });
}

Deno.test("readObjects() is given up with its caller", async () => {
  const stop = new AbortController();
  const reading = readObjects(encode(file(20_000)), "f.yaml", stop.signal);
  stop.abort();
  await assert.rejects(reading, { name: "AbortError" });
  await assert.rejects(readObjects(encode(file(1) + LONG), "f.yaml", stop.signal), { name: "AbortError" });
});
