// A long manifest file is read in pieces: other work is let in between, and what is read and refused is the same.
import assert from "node:assert/strict";
import { parseInPieces } from "../../../../core/manifests/parse_in_pieces.ts";
import { manifestSteps, parseManifests } from "../../../../core/manifests/parse_manifests.ts";

const document = (index: number): string => `apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map-${index}\n`;
const file = (count: number): string => Array.from({ length: count }, (_, index) => document(index)).join("---\n");

Deno.test("manifestSteps() has a step for each document, read only when it is asked for", () => {
  const steps = [...manifestSteps(file(50), "f.yaml")];
  assert.equal(steps.length, 50);
  // The third document is wrong: the first two can be read before that is known.
  const broken = manifestSteps(`${file(2)}---\na: [\n`, "f.yaml");
  assert.deepEqual([broken.next().done, broken.next().done], [false, false]);
  assert.throws(() => broken.next(), { code: "yaml-invalid" });
});

Deno.test("parseInPieces() reads and refuses what parseManifests() does, and lets others in", async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const text = file(3_000);
  const objects = await parseInPieces(text, "f.yaml");
  clearInterval(timer);
  assert.deepEqual(objects, parseManifests(text, "f.yaml"));
  assert.ok(turns > 0);
  await assert.rejects(parseInPieces(`${file(2)}---\na: [\n`, "f.yaml"), { code: "yaml-invalid" });
  await assert.rejects(parseInPieces(file(1) + "---\n" + file(1), "f.yaml"), { code: "manifest-invalid" });
});
