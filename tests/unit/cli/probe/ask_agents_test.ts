// Agents that are asked to connect, seen from who asks: what each says, who says nothing, and that the request is taken away.
import { deepEqual, equal, rejects } from "node:assert/strict";
import { askAgents } from "../../../../cli/probe/ask_agents.ts";
import { CONFIG_MAPS, NODES } from "../../../../core/kube/resources.ts";
import type { ConfigMap, Node } from "../../../../core/kube/types.ts";
import { probeTargets } from "../../../../core/runtime/probe_outcome.ts";
import { FACTS_CONFIG_MAP } from "../../../../core/service/cluster_facts.ts";
import {
  FORWARDING_CONDITION,
  PROBE_ANSWER_ANNOTATION,
  PROBE_REQUEST_ANNOTATION,
} from "../../../../core/service/labels.ts";
import { parseProbeRequest, renderNodeProbe, targetId } from "../../../../core/service/probe_exchange.ts";
import { createInProcess, type InProcess } from "../../../support/memory_api/in_process.ts";
import { createFakeClock, settle } from "../../../support/fake_clock.ts";

const TARGETS = probeTargets(["192.0.2.1", "192.0.2.2"], [{ port: 80, protocol: "TCP" }]);

class AskBench {
  readonly clock = createFakeClock();
  readonly api: InProcess = createInProcess({ now: () => new Date(this.clock.now()) });
  readonly #nodes = this.api.objects<Node>(NODES);
  readonly #facts = this.api.objects<ConfigMap>(CONFIG_MAPS);

  putNode(name: string, heardSecondsAgo?: number): void {
    const lastHeartbeatTime = new Date(this.clock.now() - 1000 * (heardSecondsAgo ?? 0)).toISOString();
    const conditions = heardSecondsAgo === undefined
      ? []
      : [{ type: FORWARDING_CONDITION, status: "True", lastHeartbeatTime }];
    this.#nodes.put({ metadata: { name }, status: { conditions } } as Node);
  }

  putFacts(): void {
    this.#facts.put({ metadata: { namespace: "kube-system", name: FACTS_CONFIG_MAP }, data: {} });
  }

  get request(): ReturnType<typeof parseProbeRequest> {
    const { metadata } = this.#facts.get(`kube-system/${FACTS_CONFIG_MAP}`) ?? {};
    return parseProbeRequest(metadata?.annotations?.[PROBE_REQUEST_ANNOTATION]);
  }

  answer(name: string, id: string, tried = TARGETS): void {
    const node = this.#nodes.get(name) ?? {};
    const outcomes = new Map(tried.map((target) => [targetId(target), { state: "Connected" as const, latencyMs: 1 }]));
    const annotations = { [PROBE_ANSWER_ANNOTATION]: renderNodeProbe({ id, outcomes }) };
    this.#nodes.put({ ...node, metadata: { ...node.metadata, annotations } });
  }

  ask(): ReturnType<typeof askAgents> {
    return askAgents(this.api.client, {
      service: "shop/web",
      targets: TARGETS,
      servicelbNamespace: "kube-system",
      clock: this.clock,
      signal: new AbortController().signal,
    });
  }
}

Deno.test("askAgents: each node's answers, and who has no agent or stays silent; the request does not stay", async () => {
  const bench = new AskBench();
  bench.putFacts();
  for (const name of ["node1", "node2", "node3"]) bench.putNode(name, 30);
  bench.putNode("node4");
  bench.putNode("node5", 1000);
  const asked = bench.ask();
  await settle();
  const { id = "", service } = bench.request ?? {};
  equal(service, "shop/web");
  bench.answer("node1", id);
  bench.answer("node2", id, TARGETS.slice(0, 1));
  bench.answer("node3", "00000000-another");
  await bench.clock.advance(25_000);
  const { results, silent } = await asked;
  deepEqual(results.map(({ from, address, state }) => `${from} ${address} ${state}`), [
    "node1 192.0.2.1 Connected",
    "node1 192.0.2.2 Connected",
    "node2 192.0.2.1 Connected",
    "node2 192.0.2.2 NotTried",
  ]);
  deepEqual(silent.map(({ node, problem }) => [node, problem]), [["node3", true], ["node4", false], ["node5", false]]);
  equal(bench.request, undefined);
});

Deno.test("askAgents: ends as soon as all have answered", async () => {
  const bench = new AskBench();
  bench.putFacts();
  bench.putNode("node1", 0);
  const asked = bench.ask();
  await settle();
  bench.answer("node1", bench.request?.id ?? "");
  equal((await asked).silent.length, 0);
});

Deno.test("askAgents: without agents, or without a place for the request, it says so", async () => {
  const bench = new AskBench();
  bench.putNode("node1");
  await rejects(bench.ask(), { code: "no-agents" });
  bench.putNode("node2", 10);
  await rejects(bench.ask(), { code: "no-facts" });
});
