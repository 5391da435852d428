// What `k3slb complete` prints of a cluster: names as commands take them.
import { deepEqual } from "node:assert/strict";
import { completeCommand } from "../../../cli/completion_command.ts";
import type { CommandContext } from "../../../cli/command.ts";
import { COMMANDS } from "../../../cli/commands.ts";
import { createKubeClient } from "../../../core/kube/client.ts";
import { loadKubeconfig } from "../../../core/kube/access/kubeconfig.ts";
import { NODES, SERVICES } from "../../../core/kube/resources.ts";
import { SYSTEM_CLOCK } from "../../../core/runtime/clock.ts";
import { SILENT_LOGGER } from "../../../core/shared/log.ts";
import { startMemoryApi } from "../../support/memory_api/memory_api.ts";

Deno.test("complete: nodes and namespaces by their names, Services with their namespaces", async () => {
  const api = await startMemoryApi({ controllers: [] });
  const kubeconfig = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(kubeconfig, await api.kubeconfig("admin"));
    const access = await loadKubeconfig({ path: kubeconfig, env: {}, defaultPaths: [], clock: SYSTEM_CLOCK });
    const client = createKubeClient({ access, clock: SYSTEM_CLOCK });
    await client.create(NODES, { metadata: { name: "node1" } });
    await client.create(SERVICES, {
      metadata: { namespace: "default", name: "web" },
      spec: { type: "LoadBalancer", ports: [{ port: 80 }] },
    });
    client.close();
    const complete = async (...words: readonly string[]): Promise<readonly string[]> => {
      let text = "";
      const host = { env: {}, stdout: (more: string) => text += more } as unknown as CommandContext["host"];
      const settings = { kubeconfig, config: "", debug: false, "log-level": "warn", "log-format": "text" };
      await completeCommand(() => COMMANDS).run(settings, {
        ...{ host, log: SILENT_LOGGER, signal: new AbortController().signal, operands: words },
        resolveOther: () => {
          throw new Error("Nobody asks for other settings");
        },
      });
      return text.split("\n").filter((line) => line !== "");
    };
    deepEqual(await complete("agent", "--node-name", ""), ["node1"]);
    deepEqual(await complete("explain", "-n", "def"), ["default"]);
    deepEqual(await complete("explain", "def"), ["default/web"]);
  } finally {
    await Deno.remove(kubeconfig);
    await api.stop();
  }
});
