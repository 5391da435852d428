// Objects and records that change hands: between two files, two servers, or with someone who writes to them meanwhile.
import assert from "node:assert/strict";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { CONFIG_MAPS } from "../../../../core/kube/resources.ts";
import { type Clock, SYSTEM_CLOCK } from "../../../../core/runtime/clock.ts";
import { waitUntil } from "../../../support/wait.ts";
import type { ManifestCluster } from "./_manifest_cluster.ts";
import { checksum, configMap, serverOf, untilApplied, withFolder } from "./_manifest_folder.ts";

/** Shorter than the first pause after a failure, longer than what a file gets to settle. */
const SHORTEST_PAUSE_MS = 200;

Deno.test("startManifests takes over what another server applied of the same content with one write of the record", () =>
  withFolder(async ({ cluster, write, run }) => {
    await write("app.yaml", configMap("app"));
    const first = run({ server: "server-2" });
    await untilApplied(cluster, "app");
    await first.stop();
    const before = cluster.requests.length;
    run({ server: "server-1" });
    await waitUntil("taken over", () => serverOf(cluster, "app") === "server-1");
    const writes = cluster.requests.slice(before).filter(({ verb }) => verb === "apply" || verb === "delete");
    // A checksum that is empty in between would make the next server believe that nothing was applied.
    assert.deepEqual(writes.map(({ kind }) => kind), ["ConfigMap", "Addon"]);
  }));

Deno.test("startManifests does not prune an object that another file has just taken over", () =>
  withFolder(async ({ cluster, write, run }) => {
    await write("a.yaml", `${configMap("stays")}\n---\n${configMap("moves")}`);
    await write("b.yaml", configMap("own"));
    run();
    await untilApplied(cluster, "a", "b");
    const taken = Promise.withResolvers<void>();
    let deletions = 0;
    cluster.onRequest = async ({ verb, name }) => {
      if (verb === "delete" && name === "moves" && deletions++ === 0) await taken.promise;
    };
    await write("a.yaml", configMap("stays", { again: "1" }));
    await waitUntil("the deletion to be on its way", () => deletions === 1);
    await write("b.yaml", `${configMap("own")}\n---\n${configMap("moves")}`);
    await waitUntil("the other file to have it", () => ownerOf(cluster, "moves") === "b");
    await untilApplied(cluster, "b");
    taken.resolve();
    await untilApplied(cluster, "a");
    assert.equal(ownerOf(cluster, "moves"), "b");
    assert.equal(deletions, 1);
  }));

Deno.test("startManifests prunes an object that someone else wrote to in between", () =>
  withFolder(async ({ cluster, write, run }) => {
    await write("a.yaml", `${configMap("stays")}\n---\n${configMap("goes")}`);
    run();
    await untilApplied(cluster, "a");
    let deletions = 0;
    cluster.onRequest = ({ verb, name }) => {
      if (verb !== "delete" || name !== "goes" || deletions++ > 0) return;
      cluster.edit("ConfigMap", "goes", (object) => ({ ...object, data: { by: "someone else" } }));
    };
    await write("a.yaml", configMap("stays", { again: "1" }));
    await waitUntil("it to be gone", () => cluster.get("ConfigMap", "goes") === undefined);
    assert.equal(deletions, 2);
  }));

Deno.test("startManifests applies an object again that was being deleted", () =>
  withFolder(async ({ cluster, events, write, run }) => {
    await cluster.client.create(CONFIG_MAPS, {
      metadata: { name: "app", namespace: "default", finalizers: ["example.com/held"] },
    });
    await cluster.client.delete(CONFIG_MAPS, { name: "app", namespace: "default" });
    await write("app.yaml", configMap("app"));
    run();
    const failed = await waitUntil("Event", () => events.list.find(({ reason }) => reason === "ApplyManifestFailed"));
    assert.match(failed.message, /\(document 1, line 1\): ConfigMap "app": It is being deleted/);
    assert.equal(checksum(cluster, "app"), "");
    cluster.edit("ConfigMap", "app", () => undefined);
    await untilApplied(cluster, "app");
    assert.equal(cluster.get("ConfigMap", "app")?.metadata?.deletionTimestamp, undefined);
  }));

Deno.test("startManifests does not prune an object that another file has, but has not applied yet", () =>
  withFolder(async ({ cluster, write, run }) => {
    await write("a.yaml", `${configMap("stays")}\n---\n${configMap("moves")}\n---\n${configMap("goes")}`);
    await write("b.yaml", configMap("own"));
    // No pause between tries ever ends: the first file is looked at again because the other one was applied.
    const setTimer: Clock["setTimer"] = (callback, delayMs) =>
      delayMs < SHORTEST_PAUSE_MS ? SYSTEM_CLOCK.setTimer(callback, delayMs) : () => {};
    run({}, { clock: { ...SYSTEM_CLOCK, setTimer } });
    await untilApplied(cluster, "a", "b");
    const uidOf = (name: string): string | undefined => cluster.get("ConfigMap", name)?.metadata?.uid;
    const before = uidOf("moves");
    let isFirstPruned = false;
    cluster.onRequest = async ({ verb, name }) => {
      if (verb !== "apply" || !["own", "moves"].includes(name)) return;
      await waitUntil("the first file", () => isFirstPruned || uidOf("moves") === undefined);
    };
    await write("b.yaml", `${configMap("own", { again: "1" })}\n---\n${configMap("moves")}`);
    await write("a.yaml", configMap("stays", { again: "1" }));
    await waitUntil("the first file to have pruned", () => cluster.get("ConfigMap", "goes") === undefined);
    assert.equal(checksum(cluster, "a"), "", "what left it is still in its care");
    isFirstPruned = true;
    await untilApplied(cluster, "a", "b");
    assert.equal(ownerOf(cluster, "moves"), "b");
    assert.equal(uidOf("moves"), before);
  }));

Deno.test("startManifests keeps the objects of a file that gets another name", () =>
  withFolder(async ({ cluster, events, folder, write, run }) => {
    await write("old.yaml", `${configMap("one")}\n---\n${configMap("two")}`);
    run({ pruneDeletedManifests: true });
    await untilApplied(cluster, "old");
    const uidOf = (name: string): string | undefined => cluster.get("ConfigMap", name)?.metadata?.uid;
    const before = ["one", "two"].map(uidOf);
    cluster.onRequest = async ({ verb, kind }) => {
      if (verb !== "apply" || kind !== "ConfigMap") return;
      // The old file is dealt with first, and so often that it must have met the objects.
      const looks = (): number => events.reasons.filter((reason) => reason === "DeletingManifest").length;
      await waitUntil("the old file", () => looks() > 1 || uidOf("one") === undefined);
    };
    await rename(join(folder, "old.yaml"), join(folder, "new.yaml"));
    await untilApplied(cluster, "new");
    await waitUntil("the old AddOn to go", () => cluster.get("Addon", "old") === undefined);
    assert.deepEqual(["one", "two"].map(uidOf), before);
    assert.deepEqual(["one", "two"].map((name) => ownerOf(cluster, name)), ["new", "new"]);
  }));

function ownerOf(cluster: ManifestCluster, name: string): string | undefined {
  return cluster.get("ConfigMap", name)?.metadata?.annotations?.["objectset.rio.cattle.io/owner-name"];
}
