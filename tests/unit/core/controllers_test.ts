// What the active server says of its controllers: a fault that is over is not told any more, a missing pod with its reason.
import { deepEqual, match } from "node:assert/strict";
import { join } from "node:path";
import { type Controller, startControllers } from "../../../core/controllers.ts";
import { createKubeClient } from "../../../core/kube/client.ts";
import { SYSTEM_CLOCK } from "../../../core/runtime/clock.ts";
import { DAEMON_SETS, EVENTS, NODES, SERVICES } from "../../../core/kube/resources.ts";
import type { Node } from "../../../core/kube/types.ts";
import { createLogger, SILENT_LOGGER } from "../../../core/shared/log.ts";
import { createInProcess } from "../../support/memory_api/in_process.ts";
import { createFakeClock } from "../../support/fake_clock.ts";
import { loadBalancer } from "./service_lb/controller_cluster.ts";
import { startMemoryApi } from "../../support/memory_api/memory_api.ts";
import { waitUntil } from "../../support/wait.ts";
import { SERVER_OPTIONS } from "./server_options.ts";
import { parseKubeconfigText } from "./service_lb/kubeconfig_text.ts";

function problemOf(controllers: readonly Controller[], name: string): string | undefined {
  return controllers.find((controller) => controller.name === name)?.problem();
}

/** What both tests hand in as it is. */
const PARTS = {
  events: { record: () => {}, flush: () => Promise.resolve() },
  env: {},
  server: "here",
  version: "0.0.0",
};

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
    ...PARTS,
    signal: stop.signal,
  });
  try {
    await waitUntil(
      "both parts to fail",
      () =>
        /data/.test(problemOf(controllers, "manifests") ?? "") && /version/.test(problemOf(controllers, "helm") ?? ""),
      { explain: () => JSON.stringify(controllers.map(({ name, problem }) => [name, problem()])) },
    );
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

Deno.test("startControllers(): a part that waits for what it needs is not ready, and says for what", async () => {
  const api = await startMemoryApi({});
  const endFault = api.faults.add({
    resource: "customresourcedefinitions",
    effect: { type: "status", code: 403, reason: "Forbidden" },
  });
  const client = createKubeClient({
    access: await parseKubeconfigText(await api.kubeconfig("admin")),
    clock: SYSTEM_CLOCK,
  });
  const stop = new AbortController();
  const folder = await Deno.makeTempDir();
  const controllers = startControllers({ ...SERVER_OPTIONS, dataDir: folder, disable: ["coredns", "traefik"] }, {
    client,
    clock: { ...SYSTEM_CLOCK, sleep: (delayMs, signal) => SYSTEM_CLOCK.sleep(Math.min(delayMs, 50), signal) },
    logger: SILENT_LOGGER,
    ...PARTS,
    signal: stop.signal,
  });
  try {
    match(problemOf(controllers, "manifests") ?? "", /not started yet/);
    await waitUntil("the reason", () => /wait for the server: .*/.test(problemOf(controllers, "manifests") ?? ""));
    endFault();
    await waitUntil("no part to have a problem", () => controllers.every(({ problem }) => problem() === undefined), {
      explain: () => JSON.stringify(controllers.map(({ name, problem }) => [name, problem()])),
    });
  } finally {
    stop.abort();
    await Promise.all(controllers.map(({ done }) => done));
    client.close();
    await api.stop();
    await Deno.remove(folder, { recursive: true });
  }
});

/** The API server's words, and what is passed on: not the pod's name, which is another one each time. */
const REFUSALS = [
  ['pods "svclb-web-x" is forbidden: exceeded quota: pods', "exceeded quota: pods"],
  [
    'Pod "svclb-web-x" is invalid: spec.containers[0].resources.requests: Invalid value: "1": must be less than the limit',
    'spec.containers[0].resources.requests: Invalid value: "1": must be less than the limit',
  ],
  ['admission webhook "a.b" denied the request: no', 'admission webhook "a.b" denied the request: no'],
] as const;

for (const [said, want] of REFUSALS) {
  Deno.test(`startControllers(): what the page shows of pods that are missing is what the API server says of them: ${said}`, async () => {
    const clock = createFakeClock();
    const { client, objects, stop: stopApi } = createInProcess({
      now: () => new Date(clock.now()),
      controllers: ["garbageCollector"],
    });
    const stop = new AbortController();
    const folder = await Deno.makeTempDir();
    objects(NODES).put({
      metadata: { name: "n1", labels: { "kubernetes.io/os": "linux" } },
      status: {
        conditions: [{ type: "Ready", status: "True" }],
        addresses: [{ type: "InternalIP", address: "192.0.2.1" }],
      },
    } as Node);
    const controllers = startControllers({
      ...SERVER_OPTIONS,
      dataDir: folder,
      disable: ["coredns", "traefik", "helm"],
      dataplane: "pods",
    }, {
      client,
      clock,
      logger: SILENT_LOGGER,
      ...PARTS,
      signal: stop.signal,
    });
    try {
      await clock.advance(1_000);
      await client.create(SERVICES, loadBalancer("web", 80));
      await clock.advance(1_000);
      const [daemonSet] = objects(DAEMON_SETS).values();
      const { uid = "", name = "" } = daemonSet?.metadata ?? {};
      objects(EVENTS).put({
        metadata: { name: "refused", namespace: "kube-system" },
        involvedObject: { kind: "DaemonSet", namespace: "kube-system", name, uid },
        reason: "FailedCreate",
        message: `Error creating: ${said}`,
      });
      await clock.advance(6_000);
      const answer = controllers.find(({ name }) => name === "servicelb")?.answers?.()?.services[0];
      deepEqual([answer?.served.reason, answer?.nodes.map(({ reason, message }) => [reason, message])], [
        "FailedCreate",
        [["FailedCreate", `its pod can't be created: ${want}`]],
      ]);
    } finally {
      stop.abort();
      await Promise.all(controllers.map(({ done }) => done));
      stopApi();
      await Deno.remove(folder, { recursive: true });
    }
  });
}
