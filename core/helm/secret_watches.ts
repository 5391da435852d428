// Watches of the single Secrets that charts name for values: one narrow watch each, so that no other Secret is ever read.
import type { Surroundings } from "../kube/contract.ts";
import { type Reflector, startReflector } from "../kube/reflector.ts";
import { isForbidden } from "../kube/errors.ts";
import { SECRETS } from "../kube/resources.ts";
import type { Secret } from "../kube/types.ts";
import { K3slbError } from "../shared/errors.ts";

const POLL_INTERVAL_MS = 100;
const PATIENCE_MS = 5_000;

interface SecretWatch {
  readonly reflector: Reflector<Secret>;
  readonly stop: () => void;
  /** Charts, by `namespace/name`, that want the Secret. */
  readonly charts: Set<string>;
}

/** What {@linkcode SecretWatches} takes. */
export interface SecretWatchesOptions extends Surroundings {
  readonly onChange: (chart: string) => void;
}

/** The Secrets that charts name. */
export class SecretWatches {
  readonly #options: SecretWatchesOptions;
  readonly #watches = new Map<string, SecretWatch>();

  constructor(options: SecretWatchesOptions) {
    this.#options = options;
  }

  /**
   * The Secrets of `names` that exist, by name, as soon as they are known. What `chart` asked for before is let go.
   *
   * @throws {K3slbError} of the request, or code "helm-secret", if one is not known in time; it is watched on, and told of when it is
   */
  async secretsFor(
    chart: string,
    { namespace, names }: { readonly namespace: string; readonly names: readonly string[] },
  ): Promise<ReadonlyMap<string, Secret>> {
    const wanted = new Map(names.map((name) => [`${namespace}/${name}`, name]));
    for (const [key, watch] of this.#watches) {
      if (!wanted.has(key)) watch.charts.delete(chart);
      if (watch.charts.size > 0 || wanted.has(key)) continue;
      watch.stop();
      this.#watches.delete(key);
    }
    const found = new Map<string, Secret>();
    for (const [key, name] of wanted) {
      const watch = this.#watches.get(key) ?? this.#start(key, { namespace, name });
      watch.charts.add(chart);
      await this.#known(watch.reflector, key);
      const secret = watch.reflector.objects.get(key);
      if (secret !== undefined) found.set(name, secret);
    }
    return found;
  }

  /** Resolves when every watch has ended. */
  async closed(): Promise<void> {
    await Promise.all([...this.#watches.values()].map(({ reflector }) => reflector.done));
  }

  /** Waits for the first list, but not for ever: there are few workers, and a right that is missing may stay so. */
  async #known(reflector: Reflector<Secret>, key: string): Promise<void> {
    const { clock, signal } = this.#options;
    const deadlineMs = clock.monotonicMs() + PATIENCE_MS;
    while (!reflector.isSynced) {
      if (isForbidden(reflector.lastError)) throw reflector.lastError;
      if (clock.monotonicMs() >= deadlineMs) {
        throw new K3slbError(`Secret "${key}" of valuesSecrets can't be read`, {
          code: "helm-secret",
          hint: reflector.lastError?.message ?? "The API server does not answer; it is tried again",
          retriable: true,
        });
      }
      await Promise.race([reflector.synced, clock.sleep(POLL_INTERVAL_MS, signal)]);
    }
  }

  #start(key: string, { namespace, name }: { readonly namespace: string; readonly name: string }): SecretWatch {
    const { client, clock, logger, signal, onChange } = this.#options;
    const ending = new AbortController();
    const stop = (): void => ending.abort();
    signal.addEventListener("abort", stop, { once: true });
    const charts = new Set<string>();
    const reflector = startReflector({
      client,
      type: SECRETS,
      selection: { namespace, fieldSelector: `metadata.name=${name}` },
      clock,
      logger,
      signal: ending.signal,
      onChange: () => charts.forEach((chart) => onChange(chart)),
    });
    const watch = {
      reflector,
      charts,
      stop: (): void => {
        signal.removeEventListener("abort", stop);
        stop();
      },
    };
    this.#watches.set(key, watch);
    return watch;
  }
}
