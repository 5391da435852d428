// `k3slb manifests`: what is printed and with which exit code. What the cluster says is tried against a real one.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command, CommandContext } from "../../../../cli/command.ts";
import {
  MANIFESTS_DIFF_COMMAND,
  MANIFESTS_LIST_COMMAND,
  MANIFESTS_VALIDATE_COMMAND,
} from "../../../../cli/answers/manifests_command.ts";
import type { ProgramHost } from "../../../../cli/program_host.ts";
import { inspectManifests } from "../../../../core/manifests/inspect_manifests.ts";
import { K3slbError } from "../../../../core/shared/errors.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { sendJson, startLocalApi, statusBody } from "../../core/kube/_local_api.ts";

const FILES: Readonly<Record<string, string>> = {
  "good.yaml":
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
  "z/good.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n",
  "bad.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n",
  "Wrong_name.yaml": "",
  "off.yaml": "apiVersion: v1",
  "skipped.yaml": "apiVersion: v1",
  "skipped.yaml.skip": "",
  "notes.txt": "",
};

async function run(
  command: Command,
  options: {
    readonly operand?: string;
    readonly folder?: string;
    readonly output?: string;
    readonly disable?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
  } = {},
): Promise<{ readonly code: number; readonly stdout: string; readonly warnings: readonly string[] }> {
  const dataDir = await mkdtemp(join(tmpdir(), "manifests-"));
  try {
    const folder = join(dataDir, "server", "manifests");
    for (const [path, content] of Object.entries(FILES)) {
      await mkdir(join(folder, path, ".."), { recursive: true });
      await writeFile(join(folder, path), content);
    }
    let stdout = "";
    const warnings: string[] = [];
    const log = { ...SILENT_LOGGER, warn: (message: string) => void warnings.push(message) };
    const host = { env: options.env ?? {}, stdout: (text: string) => void (stdout += text) } as unknown as ProgramHost;
    const settings = {
      "data-dir": dataDir,
      disable: options.disable ?? ["off"],
      output: options.output ?? "table",
      kubeconfig: options.env === undefined ? join(dataDir, "none") : undefined,
    };
    const operands = options.folder !== undefined
      ? [options.folder]
      : options.operand === undefined
      ? []
      : [join(folder, options.operand)];
    const context = { host, log, signal: new AbortController().signal, operands };
    const code = await command.run(settings as never, context as unknown as CommandContext);
    return { code, stdout, warnings };
  } finally {
    await rm(dataDir, { recursive: true });
  }
}

Deno.test("manifests list prints each manifest and what becomes of it", async () => {
  const { code, stdout, warnings } = await run(MANIFESTS_LIST_COMMAND);
  assert.equal(code, 0);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? "", /The cluster was not asked what is applied: Cannot read kubeconfig/);
  assert.equal(
    stdout,
    [
      "FILE             ADDON    STATE     APPLIED  OBJECTS",
      "Wrong_name.yaml           BadName   unknown  0",
      "bad.yaml         bad      Invalid   unknown  0",
      "good.yaml        good     Deployed  unknown  2",
      "off.yaml         off      Disabled  unknown  0",
      "skipped.yaml     skipped  Skipped   unknown  0",
      "z/good.yaml      good     Conflict  unknown  1",
      "",
    ].join("\n"),
  );
});

Deno.test("manifests validate prints every problem with its place and fails", async () => {
  const { code, stdout } = await run(MANIFESTS_VALIDATE_COMMAND);
  assert.equal(code, 1);
  assert.deepEqual(stdout.split("\n").map((line) => line.split(":").slice(0, 3).join(":")), [
    "Wrong_name.yaml: The name up to the first period must be lower-case letters, digits and hyphens",
    "bad.yaml:3: document 1",
    'z/good.yaml: AddOn "good" belongs to "good.yaml"; give one of the files another name',
    "6 files, 3 problems",
    "",
  ]);
});

Deno.test("manifests validate takes a single file and succeeds with it", async () => {
  const { code, stdout } = await run(MANIFESTS_VALIDATE_COMMAND, { operand: "good.yaml" });
  assert.deepEqual([code, stdout], [0, "1 file, 0 problems\n"]);
});

for (const output of ["json", "yaml"]) {
  Deno.test(`manifests validate -o ${output} prints the problems as data`, async () => {
    const { stdout } = await run(MANIFESTS_VALIDATE_COMMAND, { operand: "bad.yaml", output });
    const want = { file: "bad.yaml", message: "Object of kind ConfigMap has no name", document: 1, line: 3 };
    if (output === "json") assert.deepEqual(JSON.parse(stdout), [want]);
    else {assert.equal(
        stdout,
        "- file: bad.yaml\n  message: Object of kind ConfigMap has no name\n  document: 1\n  line: 3\n",
      );}
  });
}

Deno.test("manifests validate says which path it can't look at", async () => {
  await assert.rejects(run(MANIFESTS_VALIDATE_COMMAND, { operand: "missing" }), (error) => {
    return error instanceof K3slbError && error.code === "manifests-folder" && error.message.includes("missing");
  });
});

Deno.test("manifests validate does not call a file valid that is not a manifest", async () => {
  await assert.rejects(run(MANIFESTS_VALIDATE_COMMAND, { operand: "notes.txt" }), {
    code: "manifests-folder",
    message: /notes\.txt" is not a manifest$/,
  });
  await assert.rejects(inspectManifests("/dev/null", []), { code: "manifests-folder" });
});

Deno.test("inspectManifests: what can't be looked at is not taken for empty", async () => {
  const folder = await mkdtemp(join(tmpdir(), "manifests-"));
  try {
    // Stands for a folder without rights, which root would be let into.
    await symlink("loop.yaml", join(folder, "loop.yaml"));
    const [found, ...more] = await inspectManifests(folder, []);
    assert.deepEqual(more, []);
    assert.equal(found?.state, "Unreadable");
    assert.match(found.problems[0]?.message ?? "", /^Cannot look at ".*loop\.yaml": ELOOP/);
  } finally {
    await rm(folder, { recursive: true });
  }
});

Deno.test("manifests validate says what would keep a HelmChart from being installed", async () => {
  const folder = await mkdtemp(join(tmpdir(), "manifests-"));
  try {
    const chart = "apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {name: app}\n";
    await writeFile(join(folder, "a.yaml"), `${chart}spec: {chart: app, set: {tls: true}, timeout: banana}\n`);
    await writeFile(join(folder, "b.yaml"), `${chart}spec: {chartContent: "${"A".repeat((1 << 20) + 4)}"}\n`);
    const { code, stdout } = await run(MANIFESTS_VALIDATE_COMMAND, { folder });
    assert.equal(code, 1);
    assert.match(stdout, /^a\.yaml:1: document 1: HelmChart "app": spec\.timeout "banana" is not a duration/m);
    assert.match(stdout, /^a\.yaml:1: document 1: HelmChart "app": spec\.set "tls" is true; write "true" in quotes/m);
    assert.match(stdout, /^b\.yaml:1: .*its ConfigMap holds 1048576/m);
  } finally {
    await rm(folder, { recursive: true });
  }
});

Deno.test("manifests list and diff ask by a KUBECONFIG of several files, as the server does", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kubeconfigs-"));
  await using api = await startLocalApi(({ url }, response) =>
    url.includes("/addons")
      ? sendJson(response, { kind: "AddonList", apiVersion: "k3s.cattle.io/v1", metadata: {}, items: [] })
      : sendJson(response, statusBody(404, "NotFound", "there is none"), 404)
  );
  try {
    const head = "apiVersion: v1\nkind: Config\n";
    const context = "contexts: [{name: it, context: {cluster: it, user: me}}]\ncurrent-context: it\n";
    const files = {
      a: `clusters: [{name: it, cluster: {server: "${api.url}"}}]\n${context}`,
      b: "users: [{name: me, user: {token: of-the-second-file}}]\n",
    };
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), head + text);
    const env = { KUBECONFIG: `${join(folder, "a")}:${join(folder, "b")}` };
    const list = await run(MANIFESTS_LIST_COMMAND, { env });
    assert.deepEqual(list.warnings, []);
    assert.match(list.stdout, /^good\.yaml +good +Deployed +no +2$/m);
    const asked = api.seen.length;
    const diff = await run(MANIFESTS_DIFF_COMMAND, { env, operand: "good.yaml" });
    assert.match(diff.stdout, /ConfigMap/);
    assert.ok(asked > 0 && api.seen.length > asked, "the cluster was asked by both");
    for (const { headers } of api.seen) assert.equal(headers.authorization, "Bearer of-the-second-file");
  } finally {
    await rm(folder, { recursive: true });
  }
});
