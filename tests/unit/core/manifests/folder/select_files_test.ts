import assert from "node:assert/strict";
import { addOnNameOf } from "../../../../../core/manifests/record/addon.ts";
import { type LeftOutReason, selectFiles } from "../../../../../core/manifests/folder/select_files.ts";

const CASES: readonly {
  readonly name: string;
  readonly given: readonly string[];
  readonly disable?: readonly string[];
  readonly want: Readonly<Record<string, LeftOutReason | "deployed">>;
}[] = [
  {
    name: "takes yaml, yml and json in any case",
    given: ["a.yaml", "b.YML", "c.Json", "d.txt", "e", "f.yaml.bak"],
    want: {
      "a.yaml": "deployed",
      "b.YML": "deployed",
      "c.Json": "deployed",
      "d.txt": "NotAManifest",
      e: "NotAManifest",
      "f.yaml.bak": "NotAManifest",
    },
  },
  {
    name: "leaves out dotfiles and what is in hidden folders",
    given: [".a.yaml", ".git/b.yaml", "x/.c.yaml", "x/d.yaml"],
    want: { ".a.yaml": "Hidden", ".git/b.yaml": "Hidden", "x/.c.yaml": "Hidden", "x/d.yaml": "deployed" },
  },
  {
    name: "skips by file name anywhere in the tree, with and without extension",
    given: ["a.yaml", "x/a.yaml", "y/z/a.yaml.skip", "b.yaml", "b.skip", "c.yml", "c.yaml.skip"],
    want: {
      "a.yaml": "Skipped",
      "x/a.yaml": "Skipped",
      "y/z/a.yaml.skip": "NotAManifest",
      "b.yaml": "Skipped",
      "b.skip": "NotAManifest",
      "c.yml": "deployed",
      "c.yaml.skip": "NotAManifest",
    },
  },
  {
    name: "disables by name without extension, in every folder",
    given: ["traefik.yaml", "x/traefik.json", "traefik-2.yaml", "traefik.v2.yaml"],
    disable: ["traefik"],
    want: {
      "traefik.yaml": "Disabled",
      "x/traefik.json": "Disabled",
      "traefik-2.yaml": "deployed",
      "traefik.v2.yaml": "deployed",
    },
  },
  {
    name: "disables by folder path from the top",
    given: ["dir/a.yaml", "dir/sub/b.yaml", "dir/other/c.yaml", "x/dir/d.yaml", "two/sub/e.yaml"],
    disable: ["dir/sub", "two"],
    want: {
      "dir/a.yaml": "deployed",
      "dir/sub/b.yaml": "Disabled",
      "dir/other/c.yaml": "deployed",
      "x/dir/d.yaml": "deployed",
      "two/sub/e.yaml": "Disabled",
    },
  },
  {
    name: "asks disable before skip",
    given: ["a.yaml", "a.yaml.skip"],
    disable: ["a"],
    want: { "a.yaml": "Disabled", "a.yaml.skip": "NotAManifest" },
  },
];
for (const { name, given, disable = [], want } of CASES) {
  Deno.test(`selectFiles ${name}`, () => {
    const files = given.map((path) => ({ path, sizeBytes: 1, modifiedMs: 1, viaSymlink: false }));
    const choices = selectFiles(files, disable);
    assert.deepEqual(Object.fromEntries(choices.map(({ file, leftOut }) => [file.path, leftOut ?? "deployed"])), want);
    assert.deepEqual(choices.map(({ file }) => file.path), [...given].sort());
  });
}

const NAMES: readonly { readonly given: string; readonly want: string | undefined }[] = [
  { given: "traefik.yaml", want: "traefik" },
  { given: "x/y/my-app.v2.prod.yml", want: "my-app" },
  { given: "UPPER.yaml", want: undefined },
  { given: "under_score.yaml", want: undefined },
  { given: "-a.yaml", want: undefined },
  { given: ".yaml", want: undefined },
];
for (const { given, want } of NAMES) {
  Deno.test(`addOnNameOf names ${given} ${want ?? "nothing"}`, () => assert.equal(addOnNameOf(given), want));
}
