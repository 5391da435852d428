// The server's start as a whole, as far as no cluster is needed.
import { equal, match, ok } from "node:assert/strict";
import { runServerProcess } from "../../../cli/programs/server_process.ts";
import { SYSTEM_CLOCK } from "../../../core/runtime/clock.ts";
import { startHealthServer } from "../../../core/runtime/health.ts";
import { isK3slbError } from "../../../core/shared/errors.ts";
import { SILENT_LOGGER } from "../../../core/shared/log.ts";
import { waitUntil } from "../../support/wait.ts";
import { SERVER_OPTIONS } from "./server_options.ts";

/** Nobody listens at the address in it. */
const KUBECONFIG = `apiVersion: v1
kind: Config
clusters: [{name: away, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: away, user: {}}]
contexts: [{name: away, context: {cluster: away, user: away}}]
current-context: away
`;

for (const source of ["--node-name", "K3S_NODE_NAME"]) {
  Deno.test(`runServerProcess() refuses a wrong ${source} at once, also while the API server is away`, async () => {
    const kubeconfig = await Deno.makeTempFile({ suffix: ".yaml" });
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), 10_000);
    try {
      await Deno.writeTextFile(kubeconfig, KUBECONFIG);
      const error = await runServerProcess(
        { ...SERVER_OPTIONS, kubeconfig, metricsAddress: "", nodeName: "Bad_Name" },
        {
          clock: SYSTEM_CLOCK,
          logger: SILENT_LOGGER,
          signal: stop.signal,
          env: source === "K3S_NODE_NAME" ? { K3S_NODE_NAME: "Bad_Name" } : {},
          version: "0",
        },
      ).catch((thrown: unknown) => thrown);
      ok(!stop.signal.aborted, "it waited for the API server");
      ok(isK3slbError(error, "node-name-unknown"), String(error));
      ok(error.message.startsWith(`${source} "Bad_Name"`), error.message);
      equal(error.hint, "Try --node-name=bad-name");
    } finally {
      clearTimeout(timer);
      await Deno.remove(kubeconfig);
    }
  });
}

Deno.test("runServerProcess() goes on where somebody has the address for metrics, and says so", async () => {
  const kubeconfig = await Deno.makeTempFile({ suffix: ".yaml" });
  const stop = new AbortController();
  const taken = await startHealthServer({
    address: "127.0.0.1:0",
    checks: [],
    renderMetrics: () => "",
    signal: stop.signal,
  });
  const errors: string[] = [];
  try {
    await Deno.writeTextFile(kubeconfig, KUBECONFIG);
    const running = runServerProcess(
      { ...SERVER_OPTIONS, kubeconfig, metricsAddress: `127.0.0.1:${taken.port}`, nodeName: "here" },
      {
        clock: SYSTEM_CLOCK,
        logger: { ...SILENT_LOGGER, error: (message) => void errors.push(message) },
        signal: stop.signal,
        env: {},
        version: "0",
      },
    );
    await waitUntil("both to be said", () => errors.length === 2);
    stop.abort();
    await running;
    match(errors[0] ?? "", /^Health, metrics and the page can't be served/);
    match(errors[1] ?? "", /^The API server does not answer/);
  } finally {
    stop.abort();
    await taken.done;
    await Deno.remove(kubeconfig);
  }
});
