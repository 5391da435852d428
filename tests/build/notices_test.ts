// Whatever library goes into the bundle has its licence beside the binary.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { bundleProgram } from "../../build/bundle.ts";
import { bundledPackages, renderNotices } from "../../build/notices.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

Deno.test("bundledPackages: names, versions and folders, scoped ones too", () => {
  const inputs = [
    "cli/main.ts",
    "node_modules/.deno/yaml@2.9.1/node_modules/yaml/dist/index.js",
    "node_modules/.deno/yaml@2.9.1/node_modules/yaml/dist/doc/Document.js",
    "node_modules/.deno/@scope+name@1.0.0-rc.1_peer@2.0.0/node_modules/@scope/name/index.js",
  ];
  assert.deepEqual(bundledPackages(inputs).map(({ name, version }) => `${name} ${version}`), [
    "@scope/name 1.0.0-rc.1",
    "yaml 2.9.1",
  ]);
});

Deno.test("renderNotices: the runtime and every library of the bundle", async () => {
  const { metafile } = await bundleProgram({ root: ROOT, version: "1", commit: "a", target: "linux-x64" });
  const inputs = Object.keys(metafile.inputs);
  const foreign = inputs.filter((input) => input.includes("node_modules/"));
  const packages = bundledPackages(inputs);
  assert.deepEqual(foreign.filter((input) => !packages.some(({ folder }) => input.startsWith(`${folder}/`))), []);
  const text = await renderNotices(inputs, { root: ROOT, runtime: "bun" });
  for (const { name, version } of packages) assert.ok(text.includes(`\n${name} ${version}\n\n`), name);
  assert.match(text, /^Bun, the runtime$/m);
  assert.match(text, /^The definitions of Traefik's kinds .*\n\n.*MIT License/m);
  assert.match(text, /Permission is hereby granted/);
});
