// What may not be inside a bundle, and that the bundle runs on every runtime that is installed.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { isBuiltin } from "node:module";
import { fileURLToPath } from "node:url";
import { assertInputs, bundleProgram } from "../../build/bundle.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

const FORBIDDEN = [
  "tests/support/memory_api/api.ts",
  "core/shared/ip_test.ts",
  "node_modules/.deno/kubernetes-fluent-client@3.11.6/node_modules/kubernetes-fluent-client/dist/index.js",
  "node_modules/@kubernetes/client-node/dist/index.js",
  "node_modules/esbuild/lib/main.js",
];

for (const input of FORBIDDEN) {
  Deno.test(`assertInputs: refuses ${input}`, () => {
    assert.throws(() => assertInputs(["cli/main.ts", input]), { code: "bundle" });
  });
}

Deno.test("bundleProgram: is one module that says what it is on Node, too", async () => {
  const { code, metafile } = await bundleProgram({ root: ROOT, version: "1.2.3", commit: "abc", target: "linux-x64" });
  assertInputs(Object.keys(metafile.inputs));
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports).filter((one) => one.external);
  assert.deepEqual(imports.map((one) => one.path).filter((path) => !isBuiltin(path)), []);
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${folder}/k3slb.mjs`, code);
    const result = spawnSync("node", [`${folder}/k3slb.mjs`, "version", "-o", "json"], { encoding: "utf8" });
    assert.equal(result.stderr, "");
    const { runtime, ...rest } = JSON.parse(result.stdout);
    assert.match(runtime, /^node \d/);
    assert.deepEqual(rest, { version: "1.2.3", commit: "abc", target: "linux-x64" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
