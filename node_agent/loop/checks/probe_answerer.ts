// Connects to a Service when somebody asks all agents to (`core/service/probe_exchange.ts`), and says on the own Node what came of it: once for
// each request, a few seconds apart, and away with the answer when the request is gone.
import type { Patch, Surroundings } from "../../../core/kube/contract.ts";
import { NODES } from "../../../core/kube/resources.ts";
import type { Node, Service } from "../../../core/kube/types.ts";
import { tryTargets } from "../../../core/runtime/try_targets.ts";
import { createWorkQueue } from "../../../core/runtime/work_queue.ts";
import { PROBE_ANSWER_ANNOTATION } from "../../../core/service/labels.ts";
import {
  agentTargets,
  parseNodeProbe,
  parseProbeRequest,
  type ProbeRequest,
  renderNodeProbe,
  targetId,
} from "../../../core/service/probe_exchange.ts";
import { errorMessage } from "../../../core/shared/errors.ts";

/** What {@linkcode answerProbes} takes. */
export interface ProbeAnswererOptions extends Surroundings {
  readonly nodeName: string;
  readonly caches: {
    readonly nodes: { readonly objects: ReadonlyMap<string, Node> };
    readonly services: { readonly objects: ReadonlyMap<string, Service> };
    /** The text of the request that stands now. */
    readonly probeRequest: () => string | undefined;
    /** Names who is to be told when another one stands. */
    readonly onProbeRequest: (tell: () => void) => void;
  };
  /** @default {tryTargets} */
  readonly tryTargets?: typeof tryTargets;
}

/** Answers until the signal is aborted. Never rejects. */
export async function answerProbes(options: ProbeAnswererOptions): Promise<void> {
  const { client, nodeName, clock, logger, signal, caches } = options;
  const queue = createWorkQueue({ clock });
  let answeredId: string | undefined;
  let answeredMs = -Infinity;
  const standing = (): string | undefined =>
    caches.nodes.objects.get(nodeName)?.metadata?.annotations?.[PROBE_ANSWER_ANNOTATION];

  const answer = async (request: ProbeRequest): Promise<void> => {
    const service = caches.services.objects.get(request.service);
    const targets = service === undefined ? [] : agentTargets(service);
    const outcomes = await (options.tryTargets ?? tryTargets)(targets, { clock, signal, totalMs: TOTAL_MS });
    const text = renderNodeProbe({
      id: request.id,
      outcomes: new Map(targets.flatMap((target, index) => {
        const outcome = outcomes[index];
        return outcome === undefined || outcome.state === "NotTried" ? [] : [[targetId(target), outcome]];
      })),
    });
    answeredMs = clock.monotonicMs();
    await client.patch(NODES, { name: nodeName }, answerPatch(text), { subresource: "status", signal });
    answeredId = request.id;
    logger.info("Connected to a Service, as it was asked to", { service: request.service, targets: targets.length });
  };

  caches.onProbeRequest(() => queue.add(KEY));
  queue.add(KEY);
  await queue.run({
    signal,
    reconcile: async (): Promise<number | void> => {
      const request = parseProbeRequest(caches.probeRequest());
      if (request === undefined) {
        // What was written a moment ago may not have come back yet.
        if (answeredId === undefined && standing() === undefined) return;
        await client.patch(NODES, { name: nodeName }, answerPatch(null), { subresource: "status", signal });
        answeredId = undefined;
        return;
      }
      if (request.id === answeredId || request.id === parseNodeProbe(standing())?.id) return;
      const waitMs = answeredMs + GAP_MS - clock.monotonicMs();
      if (waitMs > 0) return waitMs;
      await answer(request);
    },
    onFailure: (_, error, failures) => {
      const level = failures === 1 ? "warn" : "debug";
      logger[level]("Cannot write what a probe found; it is tried again", { error: errorMessage(error) });
    },
  });
}

function answerPatch(text: string | null): Patch {
  return { type: "merge", body: { metadata: { annotations: { [PROBE_ANSWER_ANNOTATION]: text } } } };
}

const KEY = "probe";
/** From one probe to the next, whoever asks for them. */
const GAP_MS = 3_000;
/** After it no attempt begins. */
const TOTAL_MS = 10_000;
