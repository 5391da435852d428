// What the server publishes for agents, followed. Without it (an older server, K3s's own load balancer, data plane `pods`, a right that nobody
// has granted) pods decide what is served here; once it was seen, the last that was said holds, with or without a server.
import type { Surroundings } from "../../../core/kube/contract.ts";
import { isForbidden } from "../../../core/kube/errors.ts";
import { startReflector } from "../../../core/kube/reflector.ts";
import { CONFIG_MAPS } from "../../../core/kube/resources.ts";
import { trimMetadata } from "../../../core/kube/trim.ts";
import type { ConfigMap } from "../../../core/kube/types.ts";
import { pause } from "../../../core/runtime/clock.ts";
import { type ClusterFacts, FACTS_CONFIG_MAP, FACTS_KEY, parseFacts } from "../../../core/service/cluster_facts.ts";
import { PROBE_REQUEST_ANNOTATION } from "../../../core/service/labels.ts";
import { abortError, errorMessage } from "../../../core/shared/errors.ts";

/** What {@linkcode startFactsWatch} takes. */
export interface FactsWatchOptions extends Surroundings {
  /** Namespace of the load balancers. */
  readonly servicelbNamespace: string;
  /** Told that {@linkcode FactsWatch.current} says something else. */
  readonly onChange: () => void;
}

/** The facts, as of now. */
export interface FactsWatch {
  /** `undefined`: the pods decide. */
  readonly current: () => ClusterFacts | undefined;
  /** What stands beside the facts for {@linkcode parseProbeRequest}. */
  readonly probeRequest: () => string | undefined;
  /** Names who is to be told when {@linkcode FactsWatch.probeRequest} says something else. */
  readonly onProbeRequest: (tell: () => void) => void;
  /** Resolves when it is known whether there are facts; rejects with an `AbortError` if the signal is aborted before. */
  readonly ready: Promise<void>;
  /** Resolves when something is published, or has not been for as long as what is deleted holds; at once when the signal is aborted. */
  readonly waitForWord: () => Promise<void>;
  /** Resolves when the signal has been aborted and all is closed. Never rejects. */
  readonly done: Promise<void>;
}

/** Starts to follow the facts. */
export function startFactsWatch(options: FactsWatchOptions): FactsWatch {
  return new ConfigMapWatch(options);
}

class ConfigMapWatch implements FactsWatch {
  readonly ready: Promise<void>;
  readonly done: Promise<void>;
  readonly #options: FactsWatchOptions;
  readonly #setReady: () => void;
  #facts: ClusterFacts | undefined;
  #probeRequest: string | undefined;
  #tellProbeRequest: () => void = () => {};
  /** What was read last, and whether it could be. */
  #text: string | undefined;
  #cancelFarewell: (() => void) | undefined;
  readonly #word = new AbortController();

  constructor(options: FactsWatchOptions) {
    this.#options = options;
    const ready = Promise.withResolvers<void>();
    this.ready = ready.promise;
    this.#setReady = ready.resolve;
    // Nobody has to wait for it.
    ready.promise.catch(() => {});
    this.done = this.#run().finally(() => ready.reject(abortError()));
  }

  current(): ClusterFacts | undefined {
    return this.#facts;
  }

  probeRequest(): string | undefined {
    return this.#probeRequest;
  }

  onProbeRequest(tell: () => void): void {
    this.#tellProbeRequest = tell;
  }

  async waitForWord(): Promise<void> {
    const { clock, signal } = this.#options;
    await pause(clock, FAREWELL_MS, AbortSignal.any([signal, this.#word.signal]));
  }

  async #run(): Promise<void> {
    const { signal } = this.#options;
    if (!await this.#waitForPermission()) return;
    const { client, clock, logger, servicelbNamespace: namespace } = this.#options;
    const reflector = startReflector({
      client,
      clock,
      logger,
      signal,
      type: CONFIG_MAPS,
      selection: { namespace, fieldSelector: FIELD_SELECTOR },
      keep: ({ metadata, data }) => ({
        metadata: trimMetadata(metadata, { annotations: ANNOTATIONS }),
        data: { [FACTS_KEY]: data?.[FACTS_KEY] ?? "" },
      }),
      onChange: ({ after }) => this.#note(after),
    });
    await reflector.synced.then(this.#setReady, () => {});
    await reflector.done;
    this.#cancelFarewell?.();
  }

  /** A server that has not granted the right yet is no reason to wait for it; an API server that is away is. */
  async #waitForPermission(): Promise<boolean> {
    const { client, clock, logger, signal, servicelbNamespace: namespace } = this.#options;
    for (let waitMs = FIRST_RETRY_MS; !signal.aborted;) {
      try {
        await client.list(CONFIG_MAPS, { namespace, fieldSelector: FIELD_SELECTOR, resourceVersion: "0", signal });
        return true;
      } catch (error) {
        if (signal.aborted) break;
        if (isForbidden(error)) {
          this.#setReady();
          logger.debug("May not read what a server publishes; the pods decide", { error: errorMessage(error) });
        }
        await pause(clock, waitMs, signal);
        waitMs = isForbidden(error) ? Math.min(2 * waitMs, MAX_RETRY_MS) : FIRST_RETRY_MS;
      }
    }
    return false;
  }

  #note(configMap: ConfigMap | undefined): void {
    const { clock, logger } = this.#options;
    this.#cancelFarewell?.();
    this.#cancelFarewell = undefined;
    this.#noteProbeRequest(configMap?.metadata?.annotations?.[PROBE_REQUEST_ANNOTATION]);
    if (configMap === undefined) {
      // Somebody may have deleted it by hand: a server writes it again at once.
      this.#cancelFarewell = clock.setTimer(() => {
        this.#text = undefined;
        this.#replace(undefined);
      }, FAREWELL_MS);
      return;
    }
    this.#word.abort();
    const text = configMap.data?.[FACTS_KEY] ?? "";
    if (this.#text === text) return;
    this.#text = text;
    const facts = parseFacts(text);
    if (facts !== undefined) return this.#replace(facts.dataplane === "agent" ? facts : undefined);
    logger.warn("Cannot read what the server publishes; what it said before holds", {
      configMap: FACTS_CONFIG_MAP,
      hint: "Run server and agents of the same version, or delete the ConfigMap: a server writes it anew",
    });
  }

  #noteProbeRequest(text: string | undefined): void {
    if (this.#probeRequest === text) return;
    this.#probeRequest = text;
    this.#tellProbeRequest();
  }

  #replace(facts: ClusterFacts | undefined): void {
    const { logger, onChange } = this.#options;
    if ((facts === undefined) !== (this.#facts === undefined)) {
      logger.info(
        facts === undefined ? "The pods decide what is served here" : "This agent decides what is served here",
        {
          ...(facts === undefined ? {} : { server: facts.server }),
        },
      );
    }
    this.#facts = facts;
    onChange();
  }
}

const ANNOTATIONS: ReadonlySet<string> = new Set([PROBE_REQUEST_ANNOTATION]);
const FIELD_SELECTOR = `metadata.name=${FACTS_CONFIG_MAP}`;
const FIRST_RETRY_MS = 3000;
const MAX_RETRY_MS = 60_000;
const FAREWELL_MS = 30_000;
