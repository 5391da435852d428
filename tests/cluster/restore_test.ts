// etcd is put back to an earlier state under running watches: what is known follows, although every version in it is older.
import { equal } from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startReflector } from "../../core/kube/reflector.ts";
import { CONFIG_MAPS } from "../../core/kube/resources.ts";
import type { ConfigMap } from "../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { SILENT_LOGGER } from "../../core/shared/log.ts";
import { startControlPlane } from "../support/control_plane.ts";
import { openTestClient } from "../support/test_client.ts";
import { waitUntil } from "../support/wait.ts";
import { worldKind } from "../support/world.ts";

function configMap(name: string, value: string): ConfigMap {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "default", name }, data: { value } };
}

Deno.test({
  name: "startReflector() follows a restore of etcd without a restart (real control plane)",
  ignore: worldKind() !== "real",
  fn: async () => {
    const dir = mkdtempSync(join(tmpdir(), "k3slb-restore-"));
    const plane = await startControlPlane({ dir });
    const admin = await openTestClient(plane.adminKubeconfig, "tests");
    const stop = new AbortController();
    const reflector = startReflector({
      client: admin,
      type: CONFIG_MAPS,
      selection: { namespace: "default" },
      clock: SYSTEM_CLOCK,
      logger: SILENT_LOGGER,
      signal: stop.signal,
    });
    const known = (): string =>
      [...reflector.objects.values()].filter(({ data }) => data?.["value"] !== undefined)
        .map(({ metadata, data }) => `${metadata?.name}=${data?.["value"]}`).toSorted().join(" ");
    const write = (name: string, value: string): Promise<ConfigMap> => admin.apply(CONFIG_MAPS, configMap(name, value));
    try {
      await write("changed", "before");
      await write("deleted", "before");
      await waitUntil("both to be known", () => known() === "changed=before deleted=before", { explain: known });
      await plane.saveEtcd();
      await write("changed", "after");
      await write("made", "after");
      await admin.delete(CONFIG_MAPS, { namespace: "default", name: "deleted" });
      // So many that versions after the restore do not soon reach those of before it.
      for (let i = 0; i < 300; i++) await write("busy", `${i}`);
      await waitUntil("the changes to be known", () => known() === "busy=299 changed=after made=after", {
        explain: known,
      });
      await plane.restoreEtcd();
      await waitUntil("the restored state to be known", () => known() === "changed=before deleted=before", {
        deadlineMs: 60_000,
        explain: known,
      });
      await write("changed", "again");
      await waitUntil("a change after the restore", () => known() === "changed=again deleted=before", { explain: known });
      equal(reflector.isConnected, true);
    } finally {
      stop.abort();
      await reflector.done;
      admin.close();
      await plane.stop();
      rmSync(dir, { recursive: true });
    }
  },
});
