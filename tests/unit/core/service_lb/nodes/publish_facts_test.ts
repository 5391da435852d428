// Facts are published as soon as they say something else, and not without end.
import assert from "node:assert/strict";
import { CONFIG_MAPS } from "../../../../../core/kube/resources.ts";
import { parseFacts } from "../../../../../core/service/cluster_facts.ts";
import { FactsPublisher } from "../../../../../core/service_lb/nodes/publish_facts.ts";
import { SILENT_LOGGER } from "../../../../../core/shared/log.ts";
import { CLUSTER_FACTS } from "../../../../support/cluster_facts.ts";
import { createFakeClock } from "../../../../support/fake_clock.ts";
import { createInProcess } from "../../../../support/memory_api/in_process.ts";

function publisherOf(
  options: Pick<ConstructorParameters<typeof FactsPublisher>[0], "client" | "clock" | "signal" | "facts">,
): FactsPublisher {
  return new FactsPublisher({ ...options, logger: SILENT_LOGGER, namespace: "kube-system" });
}

Deno.test("FactsPublisher writes changes of some labels in a row at once, and one a second while they go on", async () => {
  const clock = createFakeClock();
  const end = new AbortController();
  const writtenMs: number[] = [];
  let allowList = false;
  const { client, objects } = createInProcess({
    onRequest: ({ verb, resource }) => {
      if (verb === "apply" && resource === "configmaps") writtenMs.push(clock.monotonicMs());
    },
  });
  const publisher = publisherOf({ client, clock, signal: end.signal, facts: () => ({ ...CLUSTER_FACTS, allowList }) });
  for (let i = 0; i < 16; i++) {
    await clock.advance(250);
    allowList = !allowList;
    publisher.note();
  }
  await clock.advance(1_000);
  assert.deepEqual(writtenMs.slice(0, 7), [0, 250, 500, 750, 1_000, 1_250, 1_500]);
  // 16 changes and the first write in five seconds: six in a row, and one in each second.
  assert.equal(writtenMs.length, 11);
  const [published] = objects(CONFIG_MAPS).values();
  assert.equal(parseFacts(published?.data?.["facts"] ?? "")?.allowList, allowList);
  end.abort();
  await publisher.done;
});

Deno.test("FactsPublisher lets a second label wait for no gap after a first one, and looks every now and then while they go on", async () => {
  const clock = createFakeClock();
  const end = new AbortController();
  const lookedMs: number[] = [];
  const { client } = createInProcess();
  const publisher = publisherOf({
    client,
    clock,
    signal: end.signal,
    facts: () => {
      lookedMs.push(clock.monotonicMs());
      return CLUSTER_FACTS;
    },
  });
  await clock.advance(1_000);
  lookedMs.length = 0;
  for (let i = 0; i < 50; i++) {
    publisher.note();
    await clock.advance(10);
  }
  assert.deepEqual(lookedMs, [1_000, 1_010, 1_020, 1_100, 1_200, 1_300, 1_400, 1_500]);
  end.abort();
  await publisher.done;
});
