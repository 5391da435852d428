// What may not be inside a bundle, what each program loads of it, and that the bundle runs on every runtime that is installed.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { isBuiltin } from "node:module";
import { fileURLToPath } from "node:url";
import { assertInputs, type Bundle, BUNDLE_ENTRY, bundleProgram } from "../../build/bundle.ts";

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

const BUILD = { root: ROOT, version: "1.2.3", commit: "abc", target: "linux-x64" };

Deno.test("bundleProgram: imports nothing but itself and built-ins, and says what it is on Node, too", async () => {
  const { files, metafile } = await bundleProgram(BUILD);
  assertInputs(Object.keys(metafile.inputs));
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports).filter((one) => one.external);
  assert.deepEqual(imports.map((one) => one.path).filter((path) => !isBuiltin(path)), []);
  const folder = await Deno.makeTempDir();
  try {
    for (const { name, code } of files) await Deno.writeFile(`${folder}/${name}`, code);
    const result = spawnSync("node", [`${folder}/${BUNDLE_ENTRY}`, "version", "-o", "json"], { encoding: "utf8" });
    assert.equal(result.stderr, "");
    const { runtime, ...rest } = JSON.parse(result.stdout);
    assert.match(runtime, /^node \d/);
    assert.deepEqual(rest, { version: "1.2.3", commit: "abc", target: "linux-x64" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

interface LoadedCase {
  readonly command: string;
  readonly entries: readonly string[];
  /** Sources of which nothing is loaded; constants that flags have as defaults come with the flags. */
  readonly without: RegExp;
}

const LOADED: readonly LoadedCase[] = [
  {
    command: "version",
    entries: ["cli/version_command.ts"],
    without:
      /\/yaml\/|^core\/(?:kube|helm|manifests|service_lb|status)\/|^node_agent\/(?:loop\/agent|rules\/dataplane|host\/exec)\.ts|^cli\/(?:answers|check|dump|explain|install|probe|programs)\//,
  },
  {
    command: "agent",
    entries: ["cli/programs/agent_command.ts", "cli/settings/read_config.ts"],
    without:
      /^core\/(?:helm|manifests|service_lb|status)\/|traefik|^cli\/(?:answers|check|dump|explain|install|probe)\//,
  },
  {
    command: "server",
    entries: ["cli/programs/server_command.ts", "cli/settings/read_config.ts"],
    without:
      /^node_agent\/(?:loop\/agent|rules\/dataplane|host\/exec)\.ts|^cli\/(?:answers|check|dump|explain|install|probe)\//,
  },
];

Deno.test("bundleProgram: a program loads its own part", async (t) => {
  const { metafile: { outputs } } = await bundleProgram(BUILD);
  for (const { command, entries, without } of LOADED) {
    await t.step(command, () => {
      const loaded = sourcesLoaded(["cli/main.ts", ...entries], outputs);
      assert.ok(loaded.includes(entries[0] ?? ""), "the command itself");
      assert.deepEqual(loaded.filter((source) => without.test(source)), []);
    });
  }
});

/** Sources of the files that hold `entries`, and of all that these import at once. */
function sourcesLoaded(entries: readonly string[], outputs: Bundle["metafile"]["outputs"]): readonly string[] {
  const open = Object.keys(outputs).filter((path) => entries.includes(outputs[path]?.entryPoint ?? ""));
  assert.equal(open.length, entries.length, `each of ${entries.join(", ")} has a file of its own`);
  const loaded = new Set<string>();
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (loaded.has(path)) continue;
    loaded.add(path);
    const imports = outputs[path]?.imports.filter(({ kind, external }) => kind === "import-statement" && !external);
    open.push(...(imports ?? []).map((one) => one.path));
  }
  return [...loaded].flatMap((path) => [
    ...Object.keys(outputs[path]?.inputs ?? {}),
    ...[outputs[path]?.entryPoint ?? []].flat(),
  ]);
}
