// Folders that vanish, move or are replaced: changes in the new one are seen, and what can't be seen is not taken for deleted.
import assert from "node:assert/strict";
import { mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { scanFolder } from "../../../../core/manifests/folder/manifest_dir.ts";
import { waitUntil } from "../../../support/wait.ts";
import { configMap, untilApplied, withFolder } from "./_manifest_folder.ts";

const PRUNING = { pruneDeletedManifests: true, rescanIntervalMs: 20 };

Deno.test("startManifests watches a folder that was put in the place of another", () =>
  withFolder(async ({ cluster, dataDir, folder, write, run }) => {
    await write("sub/app.yaml", configMap("app"));
    run({ rescanIntervalMs: 600_000 });
    await untilApplied(cluster, "app");
    await mkdir(join(dataDir, "next"));
    await writeFile(join(dataDir, "next", "second.yaml"), configMap("second"));
    await rename(join(folder, "sub"), join(dataDir, "old"));
    await rename(join(dataDir, "next"), join(folder, "sub"));
    await untilApplied(cluster, "second");
    await write("sub/third.yaml", configMap("third"));
    await untilApplied(cluster, "third");
  }));

Deno.test("startManifests keeps the objects of files behind a symlink that leads nowhere now", () =>
  withFolder(async ({ cluster, dataDir, folder, write, remove, run }) => {
    await mkdir(join(dataDir, "mount/apps"), { recursive: true });
    await writeFile(join(dataDir, "mount/apps/app.yaml"), configMap("app"));
    await writeFile(join(dataDir, "mount/one.yaml"), configMap("one"));
    await symlink(join(dataDir, "mount/apps"), join(folder, "apps"));
    await symlink(join(dataDir, "mount/one.yaml"), join(folder, "one.yaml"));
    await write("gone.yaml", configMap("gone"));
    run(PRUNING);
    await untilApplied(cluster, "app", "one", "gone");
    await rename(join(dataDir, "mount"), join(dataDir, "away"));
    await write("probe.yaml", configMap("probe"));
    await untilApplied(cluster, "probe");
    assert.ok(cluster.get("ConfigMap", "app"), "in a symlinked folder");
    assert.ok(cluster.get("ConfigMap", "one"), "a symlinked file");
    // Nobody can say what is behind the symlinks; what is deleted meanwhile goes when they lead somewhere again.
    await remove("gone.yaml");
    await write("probe.yaml", configMap("probe", { again: "1" }));
    await waitUntil("probe again", () => Object.hasOwn(cluster.get("ConfigMap", "probe")?.["data"] ?? {}, "again"));
    assert.ok(cluster.get("ConfigMap", "gone"));
    await rename(join(dataDir, "away"), join(dataDir, "mount"));
    await waitUntil("the deleted file's object to go", () => cluster.get("ConfigMap", "gone") === undefined);
    assert.deepEqual(["app", "one"].map((name) => cluster.get("ConfigMap", name) !== undefined), [true, true]);
  }));

Deno.test("scanFolder sees what is behind a symlink or says that it can't, however often that goes and comes", () =>
  withFolder(async ({ dataDir, folder }) => {
    const [here, away] = [join(dataDir, "mount"), join(dataDir, "away")];
    await mkdir(join(here, "apps/sub"), { recursive: true });
    await writeFile(join(here, "apps/sub/app.yaml"), configMap("app"));
    await symlink(join(here, "apps"), join(folder, "apps"));
    let isDone = false;
    const moving = (async () => {
      while (!isDone) {
        await rename(here, away);
        await rename(away, here);
      }
    })();
    for (let i = 0; i < 500; i++) {
      const { files, problems } = await scanFolder(folder);
      assert.ok(files.length === 1 || problems.length > 0, `scan ${i}`);
    }
    isDone = true;
    await moving;
  }));

for (const state of ["missing", "empty"]) {
  Deno.test(`startManifests keeps what it deployed before when the folder is ${state} at its start`, () =>
    withFolder(async ({ cluster, folder, write, run }) => {
      await write("app.yaml", configMap("app"));
      const first = run(PRUNING);
      await untilApplied(cluster, "app");
      await first.stop();
      await rm(folder, { recursive: true });
      if (state === "empty") await mkdir(folder);
      run(PRUNING, { packagedFiles: [{ path: "packaged.yaml", content: configMap("packaged") }] });
      await untilApplied(cluster, "packaged");
      await write("probe.yaml", configMap("probe"));
      await untilApplied(cluster, "probe");
      assert.ok(cluster.get("ConfigMap", "app"));
      assert.ok(cluster.get("Addon", "app"));
    }));
}
