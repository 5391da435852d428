// Every document of tests/corpus, read by this program and by kubectl (recorded in kubectl.json), must be the same.
// Where they differ on purpose, the table says why.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { decodeText, parseManifests } from "../../../../../core/manifests/objects/parse_manifests.ts";
import { K3slbError } from "../../../../../core/shared/errors.ts";

const CORPUS = join(import.meta.dirname ?? ".", "../../../../corpus");

/** Refused here although kubectl reads it. */
const STRICTER: Readonly<Record<string, string>> = {
  "bad_duplicate_key.yaml": "a key written twice hides one of its values",
  "bad_duplicate_number_key.yaml": "a key written twice hides one of its values",
  "bad_generate_name.yaml": "a file that is applied again needs a fixed name",
  "bad_missing_api_version.yaml": "no server can be asked about it",
  "bad_missing_name.yaml": "no server can be asked about it",
  "bad_not_utf8.yaml": "bytes that are not UTF-8 would be replaced in silence",
};
/** Read here although this kubectl command says it has nothing to do, or splits documents by a simpler rule. */
const MORE_LENIENT: Readonly<Record<string, string>> = {
  "comments_only.yaml": "no objects is not an error of the file",
  "empty.yaml": "no objects is not an error of the file",
  "empty_list.yaml": "no objects is not an error of the file",
};
/** Problems that must be found at exactly this place: `document:line`. */
const PLACES: Readonly<Record<string, string>> = {
  "bad_duplicate_key.yaml": "1:8",
  "bad_infinity.yaml": "1:5",
  "bad_label_number.yaml": "1:6",
  "bad_missing_kind.yaml": "1:1",
  "bad_second_document.yaml": "2:11",
  "bad_tab_indent.yaml": "1:6",
  "bad_text_document.yaml": "2:6",
  "bad_unknown_alias.yaml": "1:5",
};

const RECORD = JSON.parse(readFileSync(join(CORPUS, "kubectl.json"), "utf8")) as Readonly<
  Record<string, { readonly output?: string; readonly error?: string }>
>;

Deno.test("tests/corpus: kubectl.json has every document", () => {
  assert.deepEqual(Object.keys(RECORD), readdirSync(join(CORPUS, "documents")).sort());
});

for (const [name, { output, error }] of Object.entries(RECORD)) {
  const read = (): string[] => {
    const bytes = readFileSync(join(CORPUS, "documents", name));
    return parseManifests(decodeText(bytes, name), name).map(({ object }) => canonical(JSON.stringify(object)));
  };
  if (name in STRICTER || (error !== undefined && !(name in MORE_LENIENT))) {
    Deno.test(`parseManifests refuses ${name}: ${STRICTER[name] ?? error}`, () => {
      assert.throws(read, (thrown) => {
        assert.ok(thrown instanceof K3slbError, String(thrown));
        assert.match(thrown.message, new RegExp(`^Cannot (?:parse|read).* "${name.replace(".", "\\.")}"`));
        const [first] = (thrown.details["problems"] ?? []) as readonly { document: number; line: number }[];
        if (name in PLACES) assert.equal(`${first?.document}:${first?.line}`, PLACES[name]);
        return true;
      });
    });
  } else {
    Deno.test(`parseManifests reads ${name} as kubectl does`, () => {
      assert.deepEqual(read(), (output ?? "") === "" ? [] : splitObjects(output ?? "").map(canonical));
    });
  }
}

/** kubectl prints one indented object after the other. */
function splitObjects(text: string): readonly string[] {
  return text.split(/\n(?=\{)/);
}

/** JSON with sorted keys and every number as written, so that big integers are compared digit by digit. */
function canonical(text: string): string {
  const exact = JSON.parse(text, (_key, value, context?: { readonly source: string }) => {
    return typeof value === "number" && !Number.isSafeInteger(value) && Number.isInteger(value) && context !== undefined
      ? `number ${/[.e]/i.test(context.source) ? value : BigInt(context.source)}`
      : value;
  });
  const sort = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(sort);
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([key, item]) => [key, sort(item)]),
    );
  };
  return JSON.stringify(sort(exact));
}
