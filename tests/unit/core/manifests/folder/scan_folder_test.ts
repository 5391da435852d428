// What a scan says of entries that can't be looked at.
import { deepEqual } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scanFolder } from "../../../../../core/manifests/folder/manifest_dir.ts";

Deno.test("scanFolder: names that are not UTF-8 are said, others are found all the same, and so is a name with the sign for such bytes", async () => {
  const folder = mkdtempSync(join(tmpdir(), "scan-"));
  try {
    // Runtimes make no such names.
    execFileSync("sh", ["-c", `touch "$(printf 'caf\\351.yaml')" && mkdir "$(printf 'dossi\\351')"`], { cwd: folder });
    writeFileSync(join(folder, "sign\uFFFD.yaml"), "");
    writeFileSync(join(folder, "web.yaml"), "");
    const { files, problems } = await scanFolder(folder);
    deepEqual(files.map(({ path }) => path).sort(), ["sign\uFFFD.yaml", "web.yaml"]);
    deepEqual([...problems].sort(), [
      `Cannot look at "${folder}/caf\uFFFD.yaml": its name is not UTF-8; rename it`,
      `Cannot look at "${folder}/dossi\uFFFD": its name is not UTF-8; rename it`,
    ]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
