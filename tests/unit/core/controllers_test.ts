// What the active server says of its controllers: a fault that is over is not told any more.
import { deepEqual, match } from "node:assert/strict";
import { join } from "node:path";
import { type Controller, startControllers } from "../../../core/controllers.ts";
import { createKubeClient } from "../../../core/kube/client.ts";
import { SYSTEM_CLOCK } from "../../../core/runtime/clock.ts";
import { createLogger } from "../../../core/shared/log.ts";
import { startMemoryApi } from "../../support/memory_api/memory_api.ts";
import { waitUntil } from "../../support/wait.ts";
import { SERVER_OPTIONS } from "./server_options.ts";
import { parseKubeconfigText } from "./service_lb/kubeconfig_text.ts";

function problemOf(controllers: readonly Controller[], name: string): string | undefined {
  return controllers.find((controller) => controller.name === name)?.problem();
}

Deno.test("startControllers() forgets what a part could not start of as soon as it runs", async () => {
  const api = await startMemoryApi({});
  const folder = await Deno.makeTempDir();
  const dataDir = join(folder, "data");
  await Deno.writeTextFile(dataDir, "a file where a folder should be");
  const endHiccup = api.faults.add({
    resource: "/version",
    effect: { type: "status", code: 500, reason: "InternalError" },
  });
  const stop = new AbortController();
  const lines: string[] = [];
  const client = createKubeClient({
    access: await parseKubeconfigText(await api.kubeconfig("admin")),
    clock: SYSTEM_CLOCK,
  });
  const controllers = startControllers({ ...SERVER_OPTIONS, dataDir, disable: ["coredns", "traefik"] }, {
    client,
    // Without the pauses between two tries.
    clock: { ...SYSTEM_CLOCK, sleep: (delayMs, signal) => SYSTEM_CLOCK.sleep(Math.min(delayMs, 50), signal) },
    logger: createLogger({ level: "info", format: "text", write: (line) => lines.push(line), now: () => 0 }),
    events: { record: () => {}, flush: () => Promise.resolve() },
    env: {},
    signal: stop.signal,
    server: "here",
    version: "0.0.0",
  });
  try {
    await waitUntil(
      "both parts to fail",
      () => ["manifests", "helm"].every((name) => problemOf(controllers, name) !== undefined),
    );
    match(problemOf(controllers, "manifests") ?? "", /data/);
    endHiccup();
    await Deno.remove(dataDir);
    await waitUntil("no part to have a problem", () => controllers.every(({ problem }) => problem() === undefined), {
      explain: () => JSON.stringify(controllers.map(({ name, problem }) => [name, problem()])),
    });
    const told = (part: string): readonly (string | undefined)[] =>
      lines.filter((line) => line.includes(`part=${part}`)).map((line) => /Cannot run|runs now/.exec(line)?.[0])
        .filter((words) => words !== undefined);
    deepEqual(told("manifests"), ["Cannot run", "runs now"]);
    deepEqual(told("helm"), ["Cannot run", "runs now"]);
  } finally {
    stop.abort();
    await Promise.all(controllers.map(({ done }) => done));
    client.close();
    await api.stop();
    await Deno.remove(folder, { recursive: true });
  }
});
