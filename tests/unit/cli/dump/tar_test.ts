import { equal, throws } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { renderTar } from "../../../../cli/dump/tar.ts";
import { runProgram } from "../../../support/programs.ts";

Deno.test("renderTar: tar itself reads names, texts of every length and times", async () => {
  const dir = mkdtempSync(join(tmpdir(), "k3slb-tar-"));
  try {
    const files = [0, 1, 511, 512, 513, 20_000].map((length) => ({
      path: `dump/a/${length}.txt`,
      text: "x".repeat(length),
    }));
    writeFileSync(join(dir, "x.tar"), renderTar([...files, { path: "dump/ü.txt", text: "grün\n" }], 1_000_000_000));
    const { code, stdout, stderr } = await runProgram(["tar", "--utc", "-tvf", join(dir, "x.tar")]);
    equal(code, 0, stderr);
    equal(stderr, "");
    equal(stdout.match(/^-rw------- .* 2001-09-09 01:46/gm)?.length, 7);
    await runProgram(["tar", "-xf", join(dir, "x.tar"), "-C", dir]);
    for (const { path, text } of files) equal(await Deno.readTextFile(join(dir, path)), text);
    equal(await Deno.readTextFile(join(dir, "dump/ü.txt")), "grün\n");
  } finally {
    rmSync(dir, { recursive: true });
  }
});

Deno.test("renderTar: a path that does not fit is refused", () => {
  throws(() => renderTar([{ path: "x".repeat(101), text: "" }], 0), RangeError);
});
