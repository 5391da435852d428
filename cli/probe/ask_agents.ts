// Asks the agents of all nodes to connect to a Service, and waits for what they say (`core/service/probe_exchange.ts`). Adapter.
import { randomUUID } from "node:crypto";
import type { KubeClient } from "../../core/kube/contract.ts";
import { isConflict, isNotFound } from "../../core/kube/errors.ts";
import { findObject } from "../../core/kube/one_object.ts";
import { CONFIG_MAPS, NODES } from "../../core/kube/resources.ts";
import type { Node } from "../../core/kube/types.ts";
import type { ProbeTarget } from "../../core/runtime/probe_outcome.ts";
import type { Clock } from "../../core/runtime/clock.ts";
import { FACTS_CONFIG_MAP } from "../../core/service/cluster_facts.ts";
import { PROBE_ANSWER_ANNOTATION, PROBE_REQUEST_ANNOTATION } from "../../core/service/labels.ts";
import { heartbeatAgeMs, SILENT_AGENT_MS } from "../../core/service/node_report.ts";
import { type NodeProbe, parseNodeProbe, renderProbeRequest, targetId } from "../../core/service/probe_exchange.ts";
import { compareText } from "../../core/shared/compare_text.ts";
import { isK3slbError, K3slbError } from "../../core/shared/errors.ts";
import { type ProbeAnswer, probeRow } from "./probe_result.ts";

/** What {@linkcode askAgents} takes. */
export interface AskAgentsOptions {
  /** `namespace/name` of the Service. */
  readonly service: string;
  readonly targets: readonly ProbeTarget[];
  /** Of the load balancers. */
  readonly servicelbNamespace: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * What every agent finds at `targets`.
 * @throws {K3slbError} code "no-agents" if there is nobody to ask, "no-facts" if no server has told agents where to look for requests
 */
export async function askAgents(
  client: KubeClient,
  options: AskAgentsOptions,
): Promise<Required<Pick<ProbeAnswer, "results" | "silent">>> {
  const { clock, targets } = options;
  const ending = new AbortController();
  const signal = AbortSignal.any([options.signal, ending.signal]);
  const id = randomUUID();
  const answers = new Map<string, NodeProbe>();
  const { items, resourceVersion } = await client.list(NODES, { signal });
  const nodes = items.map((node) => ({ name: node.metadata?.name ?? "", isAsked: isHeardOf(node, clock.now()) }))
    .toSorted((a, b) => compareText(a.name, b.name));
  const asked = nodes.filter(({ isAsked }) => isAsked);
  if (asked.length === 0) {
    throw new K3slbError("No node has an agent that could be asked", {
      code: "no-agents",
      hint: "k3slb status says which agents were heard of; without --from-all k3slb probe connects from here",
    });
  }
  const listen = async (): Promise<void> => {
    for await (const { object } of client.watch(NODES, { resourceVersion, signal })) {
      const probe = parseNodeProbe(object.metadata?.annotations?.[PROBE_ANSWER_ANNOTATION]);
      if (probe?.id === id) answers.set(object.metadata?.name ?? "", probe);
      if (asked.every(({ name }) => answers.has(name))) return;
    }
  };
  await writeRequest(client, id, options);
  try {
    await Promise.race([listen(), clock.sleep(PATIENCE_MS, signal)]);
  } finally {
    ending.abort();
    await removeRequest(client, id, options);
  }
  return {
    results: nodes.flatMap(({ name }) => {
      const outcomes = answers.get(name)?.outcomes;
      if (outcomes === undefined) return [];
      return targets.map((target) => probeRow(target, outcomes.get(targetId(target)) ?? { state: "NotTried" }, name));
    }),
    silent: nodes.filter(({ name }) => !answers.has(name)).map(({ name, isAsked }) => ({
      node: name,
      message: isAsked
        ? `its agent did not answer within ${PATIENCE_MS / 1000} s; one of an earlier version does not`
        : "no agent was heard of there",
      problem: isAsked,
    })),
  };
}

function isHeardOf(node: Node, nowMs: number): boolean {
  return (heartbeatAgeMs(node, nowMs) ?? Infinity) <= SILENT_AGENT_MS;
}

async function writeRequest(
  client: KubeClient,
  id: string,
  { service, servicelbNamespace: namespace, signal }: AskAgentsOptions,
): Promise<void> {
  const body = { metadata: { annotations: { [PROBE_REQUEST_ANNOTATION]: renderProbeRequest({ id, service }) } } };
  try {
    await client.patch(CONFIG_MAPS, { namespace, name: FACTS_CONFIG_MAP }, { type: "merge", body }, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new K3slbError(`Agents look for requests at ConfigMap ${namespace}/${FACTS_CONFIG_MAP}, which is not there`, {
      code: "no-facts",
      hint: "A server of this version publishes it; with --dataplane pods there are no agents to ask",
      cause: error,
    });
  }
}

/** Takes away the request, unless it is another's by now; agents then take their answers away. Not worth a failure. */
async function removeRequest(
  client: KubeClient,
  id: string,
  { servicelbNamespace: namespace }: AskAgentsOptions,
): Promise<void> {
  const key = { namespace, name: FACTS_CONFIG_MAP };
  const timeoutMs = FAREWELL_MS;
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const facts = await findObject(client, CONFIG_MAPS, { key, timeoutMs });
      if (facts?.metadata?.annotations?.[PROBE_REQUEST_ANNOTATION]?.startsWith(id) !== true) return;
      const { resourceVersion } = facts.metadata;
      const body = { metadata: { resourceVersion, annotations: { [PROBE_REQUEST_ANNOTATION]: null } } };
      await client.patch(CONFIG_MAPS, key, { type: "merge", body }, { timeoutMs });
      return;
    } catch (error) {
      // The server has written the facts in between.
      if (isConflict(error)) continue;
      if (isK3slbError(error)) return;
      throw error;
    }
  }
}

/** Agents begin no attempt after 10 s, and wait 3 s from one request to the next. */
const PATIENCE_MS = 20_000;
const FAREWELL_MS = 3_000;
