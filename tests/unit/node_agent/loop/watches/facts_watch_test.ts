// What the server publishes, followed by an agent that may be told to end at any time.
import { rejects } from "node:assert/strict";
import { CONFIG_MAPS } from "../../../../../core/kube/resources.ts";
import { SILENT_LOGGER } from "../../../../../core/shared/log.ts";
import { startFactsWatch } from "../../../../../node_agent/loop/watches/facts_watch.ts";
import { createInProcess } from "../../../../support/memory_api/in_process.ts";
import { createFakeClock } from "../../../../support/fake_clock.ts";

for (const verb of ["list", "watch"]) {
  Deno.test(`startFactsWatch() keeps no agent that ends before the ${verb} of what is published is answered`, async () => {
    const end = new AbortController();
    const { client, stop } = createInProcess({
      onRequest: (request) => {
        if (request.verb === verb && request.resource === CONFIG_MAPS.plural) end.abort();
      },
    });
    const watch = startFactsWatch({
      client,
      servicelbNamespace: "kube-system",
      clock: createFakeClock(),
      logger: SILENT_LOGGER,
      signal: end.signal,
      onChange: () => {},
    });
    await rejects(watch.ready, { name: "AbortError" });
    await watch.done;
    stop();
  });
}
