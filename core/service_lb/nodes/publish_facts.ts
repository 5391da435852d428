// Keeps the published facts as they should be: one ConfigMap, written when it says something else, at first at once, then once a second while
// changes go on. Adapter.
import type { Surroundings } from "../../kube/contract.ts";
import { isForbidden } from "../../kube/errors.ts";
import { type Reflector, startReflector } from "../../kube/reflector.ts";
import { CONFIG_MAPS } from "../../kube/resources.ts";
import { pick } from "../../kube/trim.ts";
import type { ConfigMap } from "../../kube/types.ts";
import { Pace } from "../../runtime/pace.ts";
import { createWorkQueue, type WorkQueue } from "../../runtime/work_queue.ts";
import { type ClusterFacts, FACTS_CONFIG_MAP, FACTS_KEY, renderFacts } from "../../service/cluster_facts.ts";
import { errorMessage, isAbort } from "../../shared/errors.ts";
import { MANAGED_BY_LABEL } from "../../service/labels.ts";

/** What {@linkcode FactsPublisher} takes. */
export interface FactsPublisherOptions extends Surroundings {
  readonly namespace: string;
  /** What is to be published now; `undefined` while it is not known. */
  readonly facts: () => ClusterFacts | undefined;
}

/** Publishes until the signal is aborted. What is published stays. */
export class FactsPublisher {
  /** Resolves when nothing runs any more. Never rejects. */
  readonly done: Promise<unknown>;
  readonly #options: FactsPublisherOptions;
  readonly #queue: WorkQueue;
  readonly #published: Reflector<ConfigMap>;
  /** From one look to the next while changes go on. */
  #lookGapMs = LOOK_GAP_MS;
  readonly #looks = new Pace({ inARow: LOOKS_IN_A_ROW, intervalMs: () => this.#lookGapMs });
  readonly #pace = new Pace({ inARow: WRITES_IN_A_ROW, intervalMs: WRITE_GAP_MS });

  constructor(options: FactsPublisherOptions) {
    this.#options = options;
    const { clock, signal, namespace } = options;
    this.#queue = createWorkQueue({ clock });
    this.#published = startReflector({
      ...options,
      type: CONFIG_MAPS,
      selection: { namespace, fieldSelector: `metadata.name=${FACTS_CONFIG_MAP}` },
      keep: ({ metadata, data }) => ({
        metadata: pick(metadata, ["name", "namespace", "resourceVersion"]),
        data: pick(data, [FACTS_KEY]),
      }),
      onChange: () => this.note(),
    });
    this.#published.synced.then(() => this.note(), () => {});
    const running = this.#queue.run({
      signal,
      reconcile: () => this.#publish(),
      onFailure: (_key, error, failures) => this.#tell(error, failures),
    });
    this.done = Promise.all([running, this.#published.done]);
  }

  /** Something may have changed. */
  note(): void {
    const nowMs = this.#options.clock.monotonicMs();
    this.#queue.addAfter(FACTS_KEY, Math.max(this.#looks.delayMs(nowMs), this.#pace.delayMs(nowMs)));
  }

  async #publish(): Promise<void> {
    const { client, clock, namespace, signal, facts } = this.#options;
    const startMs = clock.monotonicMs();
    const wanted = facts();
    if (wanted === undefined || !this.#published.isSynced) return;
    const text = renderFacts(wanted);
    const lookedMs = clock.monotonicMs();
    this.#lookGapMs = Math.max(LOOK_GAP_MS, (lookedMs - startMs) * LOOK_SHARE);
    this.#looks.note(lookedMs);
    const [present] = this.#published.objects.values();
    if (present?.data?.[FACTS_KEY] === text) return;
    this.#pace.note(clock.monotonicMs());
    const metadata = { name: FACTS_CONFIG_MAP, namespace, labels: { [MANAGED_BY_LABEL]: "k3slb" } };
    const object = { apiVersion: "v1", kind: "ConfigMap", metadata, data: { [FACTS_KEY]: text } };
    this.#published.merge([await client.apply(CONFIG_MAPS, object, { signal })]);
  }

  #tell(error: unknown, failures: number): void {
    const { logger, namespace } = this.#options;
    if (isAbort(error)) return;
    const level = failures === 1 ? "warn" : "debug";
    logger[level]("Cannot publish what agents decide by; they go by pods", {
      configMap: `${namespace}/${FACTS_CONFIG_MAP}`,
      error: errorMessage(error),
      ...(isForbidden(error) ? { hint: "Apply the RBAC manifest of this version" } : {}),
    });
  }
}

const WRITE_GAP_MS = 1_000;
/** Labels of some nodes are changed one after the other, and each agent waits for what they mean. */
const WRITES_IN_A_ROW = 6;
/** A label is often changed soon after another one: agents wait for neither. */
const LOOKS_IN_A_ROW = 3;
/** From one look to the next while changes go on; longer where there is much to look at, so that it takes a tenth of the time at most. */
const LOOK_GAP_MS = 100;
const LOOK_SHARE = 10;
