// The deployer may die at any request. Whatever the point, the next start must end where an undisturbed run ends.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, unlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checksumOf } from "../../../../core/manifests/record/addon.ts";
import { startManifests } from "../../../../core/manifests/manifest_controller.ts";
import { type Clock, SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { waitUntil } from "../../../support/wait.ts";
import { FakeEvents, ManifestCluster, THING_CRD } from "./_manifest_cluster.ts";

function object(kind: string, name: string, apiVersion = "v1"): string {
  return JSON.stringify({ apiVersion, kind, metadata: { name, namespace: "default" }, data: { of: name } });
}

type Files = Readonly<Record<string, string>>;

const BEFORE: Files = {
  "app.yaml": [object("ConfigMap", "a"), object("ConfigMap", "b"), object("Secret", "old-kind")].join("\n---\n"),
  "going.yaml": object("ConfigMap", "going"),
};
const AFTER: Files = {
  "app.yaml": [
    object("Thing", "t", "example.com/v1"),
    THING_CRD,
    object("ConfigMap", "b"),
    object("Secret", "new-kind"),
  ]
    .join("\n---\n"),
  "new.yaml": object("ConfigMap", "new"),
};

async function put(dataDir: string, files: Files, gone: Files): Promise<void> {
  const folder = join(dataDir, "server", "manifests");
  await mkdir(folder, { recursive: true });
  for (const path of Object.keys(gone)) if (!(path in files)) await unlink(join(folder, path)).catch(() => {});
  for (const [path, content] of Object.entries(files)) {
    await writeFile(join(folder, path), content);
    // Long settled, so that nothing waits.
    const seconds = 1_700_000_000 + content.length;
    await utimes(join(folder, path), seconds, seconds);
  }
}

/** The server establishes a definition within a moment, so nobody need wait for it longer. */
const QUICK_CLOCK: Clock = {
  ...SYSTEM_CLOCK,
  sleep: (delayMs, signal) => SYSTEM_CLOCK.sleep(Math.min(delayMs, 2), signal),
};

function start(
  dataDir: string,
  cluster: ManifestCluster,
): { readonly ending: AbortController; readonly done: Promise<void> } {
  const ending = new AbortController();
  const { done } = startManifests({
    packagedFiles: [],
    isPackagedText: () => false,
    problemsOf: () => [],
    client: cluster.client,
    clock: QUICK_CLOCK,
    logger: SILENT_LOGGER,
    events: new FakeEvents(),
    signal: ending.signal,
    options: { dataDir, disable: [], pruneDeletedManifests: true, server: "server-1", processRoot: "" },
  });
  return { ending, done };
}

function isFinished(cluster: ManifestCluster, files: Files): boolean {
  const wanted = Object.entries(files).map(([path, content]) =>
    `${path.replace(".yaml", "")} ${checksumOf(new TextEncoder().encode(content))}`
  );
  const seen = cluster.objects().filter(({ kind }) => kind === "Addon").map((addOn) =>
    `${addOn.metadata?.name} ${(addOn as { spec?: { checksum?: string } }).spec?.checksum}`
  );
  return JSON.stringify(seen.sort()) === JSON.stringify(wanted.sort());
}

/** Runs until the files are applied and nothing is asked any more. */
async function settle(dataDir: string, cluster: ManifestCluster, files: Files): Promise<void> {
  cluster.onRequest = () => {};
  const before = cluster.requests.length;
  const { ending, done } = start(dataDir, cluster);
  let seen = -1;
  await waitUntil("end state", () => {
    const quiet = cluster.requests.length === seen;
    seen = cluster.requests.length;
    return quiet && seen > before + 2 && isFinished(cluster, files);
  }, { intervalMs: 4, explain: () => cluster.snapshot() });
  ending.abort();
  await done;
}

/** Dies at the request number `point` (before or after it was done); false if there were fewer. */
async function dieAt(point: number, dataDir: string, cluster: ManifestCluster, files: Files): Promise<boolean> {
  const { ending, done } = start(dataDir, cluster);
  let count = 0;
  let died = false;
  cluster.onRequest = () => {
    if (count++ !== point) return;
    died = true;
    ending.abort();
    // Even points: the request never arrives. Odd points: it is done, but nobody hears of it.
    if (point % 2 === 0) throw new DOMException("The operation was aborted", "AbortError");
  };
  await waitUntil("death or end", () => died || (isFinished(cluster, files) && count > 0 && count <= point), {
    intervalMs: 2,
  });
  ending.abort();
  await done;
  return died;
}

for (const back of [false, true]) {
  const way = back ? "and goes back to the first files" : "and starts again";
  Deno.test(`startManifests ends in the same state when it dies at any request ${way}`, async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "manifests-"));
    try {
      const last = back ? BEFORE : AFTER;
      let points = 0;
      let undisturbed: string | undefined;
      for (let point = 0;; point++) {
        const cluster = new ManifestCluster();
        await put(dataDir, BEFORE, AFTER);
        await settle(dataDir, cluster, BEFORE);
        const first = cluster.snapshot();
        await put(dataDir, AFTER, BEFORE);
        const died = await dieAt(point, dataDir, cluster, AFTER);
        await put(dataDir, last, back ? AFTER : BEFORE);
        await settle(dataDir, cluster, last);
        if (back) {
          // The CRD is guarded and stays, with its kind in the record, if it was applied at all.
          const names = cluster.names().filter((name) => !name.includes("example.com"));
          assert.deepEqual(names, namesOf(first), `died at request ${point}`);
        } else {
          assert.deepEqual(cluster.names(), END, `died at request ${point}`);
          undisturbed ??= await undisturbedEnd(dataDir);
          assert.equal(cluster.snapshot(), undisturbed, `died at request ${point}`);
        }
        if (!died) break;
        points++;
      }
      assert.ok(points > 15, `only ${points} points were tried`);
    } finally {
      await rm(dataDir, { recursive: true });
    }
  });
}

async function undisturbedEnd(dataDir: string): Promise<string> {
  const cluster = new ManifestCluster();
  await put(dataDir, BEFORE, AFTER);
  await settle(dataDir, cluster, BEFORE);
  await put(dataDir, AFTER, BEFORE);
  await settle(dataDir, cluster, AFTER);
  return cluster.snapshot();
}

const END = [
  "Addon kube-system/app",
  "Addon kube-system/new",
  "ConfigMap default/b",
  "ConfigMap default/new",
  "CustomResourceDefinition addons.k3s.cattle.io",
  "CustomResourceDefinition things.example.com",
  "Secret default/new-kind",
  "Thing default/t",
];

function namesOf(snapshot: string): readonly string[] {
  return snapshot.split("\n").map((line) => {
    const { kind, metadata } = JSON.parse(line) as { kind: string; metadata: { name: string; namespace?: string } };
    return `${kind} ${metadata.namespace === undefined ? "" : `${metadata.namespace}/`}${metadata.name}`;
  }).sort().filter((name) => !name.includes("example.com"));
}
