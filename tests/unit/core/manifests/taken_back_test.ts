// A change that failed half way and is then taken back: the cluster must end where the file is.
import assert from "node:assert/strict";
import { rename, utimes } from "node:fs/promises";
import { join } from "node:path";
import { K3slbError } from "../../../../core/shared/errors.ts";
import { waitUntil } from "../../../support/wait.ts";
import { checksum, configMap, untilApplied, withFolder } from "./_manifest_folder.ts";

const HALF_REFUSED = `${configMap("taken", { a: "2" })}\n---\n${configMap("refused")}`;

for (const way of ["saved again", "put back with its old time"]) {
  Deno.test(`startManifests undoes a change that failed half way when the file before it is ${way}`, () =>
    withFolder(async ({ cluster, events, folder, write, run }) => {
      const before = configMap("taken", { a: "1" });
      cluster.onRequest = ({ verb, name }) => {
        if (verb === "apply" && name === "refused") throw new K3slbError("Denied", { code: "kube-forbidden" });
      };
      const timeS = Math.floor(Date.now() / 1_000) - 60;
      await write("app.yaml", before);
      await utimes(join(folder, "app.yaml"), timeS, timeS);
      run();
      await untilApplied(cluster, "app");
      await write("app.yaml", HALF_REFUSED);
      await waitUntil("the failure", () => events.reasons.at(-1) === "ApplyManifestFailed");
      assert.deepEqual(cluster.get("ConfigMap", "taken")?.["data"], { a: "2" });
      await write(".before", before);
      if (way !== "saved again") await utimes(join(folder, ".before"), timeS, timeS);
      await rename(join(folder, ".before"), join(folder, "app.yaml"));
      await waitUntil("the change to be undone", () => {
        const data = cluster.get("ConfigMap", "taken")?.["data"] as Record<string, string> | undefined;
        return data?.["a"] === "1" && Boolean(checksum(cluster, "app"));
      });
    }));
}

Deno.test("startManifests removes what a file brought that failed half way, once the file is deleted", () =>
  withFolder(async ({ cluster, events, write, remove, run }) => {
    cluster.onRequest = ({ verb, name }) => {
      if (verb === "apply" && name === "refused") throw new K3slbError("Denied", { code: "kube-forbidden" });
    };
    run({ pruneDeletedManifests: true });
    await write("app.yaml", HALF_REFUSED);
    await waitUntil("the failure", () => events.reasons.at(-1) === "ApplyManifestFailed");
    assert.ok(cluster.get("ConfigMap", "taken"));
    await remove("app.yaml");
    await waitUntil("AddOn gone", () => cluster.get("Addon", "app") === undefined);
    assert.equal(cluster.get("ConfigMap", "taken"), undefined);
  }));
