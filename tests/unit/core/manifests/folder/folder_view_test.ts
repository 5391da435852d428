import assert from "node:assert/strict";
import { FolderView } from "../../../../../core/manifests/folder/folder_view.ts";
import type { FolderScan } from "../../../../../core/manifests/folder/manifest_dir.ts";

function scan(folders: Readonly<Record<string, string>>, parts: Partial<FolderScan> = {}): FolderScan {
  return { files: [], problems: [], folders: new Map(Object.entries(folders)), ...parts };
}

const ROOT = { "/m": "1:2" };
const MOUNTED = { ...ROOT, "/m/apps": "7:2" };

const CASES: readonly {
  readonly name: string;
  readonly first: FolderScan;
  readonly then: FolderScan;
  readonly path?: string;
  readonly want: boolean;
}[] = [
  { name: "true for a file that went", first: scan(ROOT), then: scan(ROOT), path: "a.yaml", want: true },
  { name: "true for a file whose folder went, too", first: scan(MOUNTED), then: scan(ROOT), want: true },
  { name: "true where it was", first: scan(MOUNTED), then: scan(MOUNTED), want: true },
  {
    name: "false when its folder is another file system",
    first: scan(MOUNTED),
    then: scan({ ...ROOT, "/m/apps": "1:9" }),
    want: false,
  },
  {
    name: "true when its folder was made anew on the same file system",
    first: scan(MOUNTED),
    then: scan({ ...ROOT, "/m/apps": "7:9" }),
    want: true,
  },
  { name: "false when the whole folder went", first: scan(ROOT), then: scan({}), path: "a.yaml", want: false },
  {
    name: "false when another folder is in its place",
    first: scan(ROOT),
    then: scan({ "/m": "1:3" }),
    path: "a.yaml",
    want: false,
  },
  {
    name: "false when something can't be looked at",
    first: scan(ROOT),
    then: scan(ROOT, { problems: ["Cannot look"] }),
    path: "a.yaml",
    want: false,
  },
];

for (const { name, first, then, path = "apps/a.yaml", want } of CASES) {
  Deno.test(`FolderView.isDeleted is ${name}`, () => {
    const view = new FolderView("/m");
    view.see(first);
    const device = view.deviceOf(path);
    view.see(then);
    assert.equal(view.isDeleted(path, device), want);
  });
}

Deno.test("FolderView.wasEmpty is about the first scan", () => {
  const view = new FolderView("/m");
  view.see(scan(ROOT));
  const file = { path: "a.yaml", sizeBytes: 1, modifiedMs: 1, viaSymlink: false };
  view.see(scan(ROOT, { files: [file] }));
  assert.equal(view.wasEmpty, true);
});
