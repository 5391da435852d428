// An agent that is asked to connect: once for each request, apart in time, and nothing stays when the request is gone.
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { NODES } from "../../../../../core/kube/resources.ts";
import type { KubeObject, Node, Service } from "../../../../../core/kube/types.ts";
import { FACTS_CONFIG_MAP } from "../../../../../core/service/cluster_facts.ts";
import { PROBE_ANSWER_ANNOTATION, PROBE_REQUEST_ANNOTATION } from "../../../../../core/service/labels.ts";
import { parseNodeProbe, renderProbeRequest } from "../../../../../core/service/probe_exchange.ts";
import { SILENT_LOGGER } from "../../../../../core/shared/log.ts";
import { answerProbes } from "../../../../../node_agent/loop/checks/probe_answerer.ts";
import { createInProcess } from "../../../../support/memory_api/in_process.ts";
import { createFakeClock } from "../../../../support/fake_clock.ts";
import { AgentBench } from "../../_agent_bench.ts";
import { NODE, node, service } from "../../_objects.ts";

class ProbeBench {
  readonly clock = createFakeClock();
  /** What was connected to, a line for each request. */
  readonly tried: string[] = [];
  readonly services = new Map<string, Service>([["default/web", {
    ...service("web"),
    status: { loadBalancer: { ingress: [{ ip: "192.0.2.1" }, { ip: "127.0.0.1" }] } },
  }]]);
  writes = 0;
  readonly #api = createInProcess({
    now: () => new Date(this.clock.now()),
    onRequest: ({ verb }) => void (this.writes += Number(verb === "patch")),
  });
  readonly #nodes = this.#api.objects<Node>(NODES);
  #request: string | undefined;
  #tell = (): void => {};
  #stop = new AbortController();
  #running = Promise.resolve();

  constructor() {
    this.#nodes.put(node());
  }

  start(): void {
    this.#stop = new AbortController();
    this.#running = answerProbes({
      client: this.#api.client,
      nodeName: NODE,
      clock: this.clock,
      logger: SILENT_LOGGER,
      signal: this.#stop.signal,
      caches: {
        nodes: { objects: new Map([[NODE, this.#nodes.get(NODE) ?? {}]]) },
        services: { objects: this.services },
        probeRequest: () => this.#request,
        onProbeRequest: (tell) => void (this.#tell = tell),
      },
      tryTargets: (targets) => {
        this.tried.push(targets.map(({ address, port }) => `${address} ${port}`).join(", "));
        return Promise.resolve(targets.map(() => ({ state: "Connected", latencyMs: 1 })));
      },
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async ask(id: string | undefined, service = "default/web"): Promise<void> {
    this.#request = id === undefined ? undefined : renderProbeRequest({ id, service });
    this.#tell();
    await this.clock.advance(0);
  }

  get answer(): ReturnType<typeof parseNodeProbe> {
    return parseNodeProbe(this.#nodes.get(NODE)?.metadata?.annotations?.[PROBE_ANSWER_ANNOTATION]);
  }
}

async function withBench(test: (bench: ProbeBench) => Promise<void>): Promise<void> {
  const bench = new ProbeBench();
  bench.start();
  try {
    await test(bench);
  } finally {
    await bench.stop();
  }
}

const [FIRST, SECOND] = ["00000000-1", "00000000-2"];

Deno.test("answerProbes: a request is answered once, by this run or the last, and taken away with it", async () => {
  await withBench(async (bench) => {
    await bench.clock.advance(10_000);
    equal(bench.writes, 0);
    await bench.ask(FIRST);
    deepEqual(bench.answer, {
      id: FIRST,
      outcomes: new Map([["192.0.2.1 80/TCP", { state: "Connected", latencyMs: 1 }]]),
    });
    await bench.ask(FIRST);
    await bench.stop();
    bench.start();
    await bench.clock.advance(60_000);
    deepEqual(bench.tried, ["192.0.2.1 80"]);
    await bench.ask(undefined);
    equal(bench.answer, undefined);
    const { writes } = bench;
    await bench.clock.advance(60_000);
    equal(bench.writes, writes);
  });
});

Deno.test("answerProbes: many requests in a row cost one probe in 3 s, of the last one", async () => {
  await withBench(async (bench) => {
    await bench.ask(FIRST);
    for (let i = 10; i < 30; i++) {
      await bench.ask(`00000000-${i}`);
      await bench.clock.advance(100);
    }
    await bench.ask(SECOND);
    equal(bench.tried.length, 1);
    await bench.clock.advance(3000);
    equal(bench.tried.length, 2);
    equal(bench.answer?.id, SECOND);
  });
});

Deno.test("answerProbes: a Service that is not there, or no request at all, is connected to nowhere", async () => {
  await withBench(async (bench) => {
    await bench.ask(FIRST, "default/none");
    deepEqual([bench.tried, bench.answer], [[""], { id: FIRST, outcomes: new Map() }]);
    await bench.clock.advance(5000);
    await bench.ask("not an id");
    deepEqual([bench.tried.length, bench.answer], [1, undefined]);
  });
});

Deno.test("runAgent: an answer to a probe makes no work", () =>
  AgentBench.run(async (bench) => {
    bench.publish();
    bench.cluster.put("services", service("web"));
    bench.start();
    await bench.clock.advance(5000);
    const { applies } = bench.dataplane;
    ok(applies > 0);
    const key = `kube-system/${FACTS_CONFIG_MAP}`;
    const annotations = { [PROBE_REQUEST_ANNOTATION]: "12345678-1234 default/web" };
    const published = bench.cluster.get<KubeObject>("configmaps", key);
    bench.cluster.put("configmaps", { ...published, metadata: { ...published?.metadata, annotations } } as KubeObject);
    await bench.clock.advance(2000);
    match(
      bench.cluster.get<Node>("nodes", NODE)?.metadata?.annotations?.[PROBE_ANSWER_ANNOTATION] ?? "",
      /12345678-1234/,
    );
    equal(bench.dataplane.applies, applies);
  }));
