// What tests of the deployer share: a folder that goes with the test, an API server in memory, and small manifests.
import { mkdir, mkdtemp, rename, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { ProblemsOf } from "../../../../core/manifests/deploy/deploy_errors.ts";
import { startManifests } from "../../../../core/manifests/manifest_controller.ts";
import type { ManifestSettings } from "../../../../core/manifests/manifests_options.ts";
import type { PackagedFile } from "../../../../core/manifests/folder/packaged_files.ts";
import { type Clock, SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { SILENT_LOGGER } from "../../../../core/shared/log.ts";
import { waitUntil } from "../../../support/wait.ts";
import { FakeEvents, ManifestCluster } from "./_manifest_cluster.ts";

/** A manifests folder, the cluster beside it, and how to run the deployer on both. */
export interface Setup {
  readonly cluster: ManifestCluster;
  readonly events: FakeEvents;
  readonly folder: string;
  readonly dataDir: string;
  write(path: string, content: string): Promise<void>;
  remove(path: string): Promise<void>;
  run(options?: Partial<ManifestSettings>, more?: RunParts): Run;
}

/** What a run may have instead of the usual. */
export interface RunParts {
  readonly packagedFiles?: readonly PackagedFile[];
  readonly isPackagedText?: (text: string) => boolean;
  readonly problemsOf?: ProblemsOf;
  readonly clock?: Clock;
}

/** A running deployer. */
export interface Run {
  /** As `/readyz` has it. */
  readonly problem: () => string | undefined;
  /** What was logged as a warning. */
  readonly warnings: readonly string[];
  readonly done: Promise<void>;
  stop(): Promise<void>;
}

/** Calls `test` with a fresh folder and cluster; what it runs is ended after it. */
export async function withFolder(test: (setup: Setup) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), "manifests-"));
  const folder = join(dataDir, "server", "manifests");
  const cluster = new ManifestCluster();
  const events = new FakeEvents();
  const runs: Run[] = [];
  try {
    await mkdir(folder, { recursive: true });
    await test({
      cluster,
      events,
      folder,
      dataDir,
      write: async (path, content) => {
        const target = join(folder, path);
        await mkdir(dirname(target), { recursive: true });
        // At once, as editors save: written in place on a busy machine, it would be empty for long enough to be taken so.
        await writeFile(join(dirname(target), `.${basename(target)}.saving`), content);
        await rename(join(dirname(target), `.${basename(target)}.saving`), target);
      },
      remove: (path) => unlink(join(folder, path)),
      run: (
        options = {},
        { packagedFiles = [], isPackagedText = () => false, problemsOf = () => [], clock = SYSTEM_CLOCK } = {},
      ) => {
        const ending = new AbortController();
        const warnings: string[] = [];
        const { done, problem } = startManifests({
          client: cluster.client,
          clock,
          logger: { ...SILENT_LOGGER, warn: (message) => void warnings.push(message) },
          events,
          signal: ending.signal,
          packagedFiles,
          isPackagedText,
          problemsOf,
          options: {
            dataDir,
            disable: [],
            pruneDeletedManifests: false,
            server: "server-1",
            processRoot: "",
            rescanIntervalMs: 200,
            ...options,
          },
        });
        const run = {
          done,
          problem,
          warnings,
          stop: async (): Promise<void> => {
            ending.abort();
            await done;
          },
        };
        runs.push(run);
        return run;
      },
    });
  } finally {
    for (const run of runs) await run.stop().catch(() => {});
    cluster.stop();
    await rm(dataDir, { recursive: true });
  }
}

/** A ConfigMap as the text of a manifest. */
export function configMap(name: string, data: Readonly<Record<string, string>> = {}): string {
  return JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" }, data });
}

/** The checksum in an AddOn. */
export function checksum(cluster: ManifestCluster, name: string): unknown {
  return (cluster.get("Addon", name)?.["spec"] as { checksum?: string } | undefined)?.checksum;
}

/** The server whose file an AddOn was made of. */
export function serverOf(cluster: ManifestCluster, name: string): string | undefined {
  return cluster.get("Addon", name)?.metadata?.annotations?.["k3slb.io/server"];
}

/** Waits until the AddOns have a checksum. */
export async function untilApplied(cluster: ManifestCluster, ...names: readonly string[]): Promise<void> {
  await waitUntil(`AddOns ${names} applied`, () => names.every((name) => Boolean(checksum(cluster, name))), {
    explain: () => cluster.names().join(", "),
  });
}
