// What helm must ask without the proxy: the API server and everything else in the cluster. Read when a Job needs it, and only where the
// controller's environment has a proxy: nodes, and with them ranges of pods, come and go.
// Facts: golang.org/x/net/http/httpproxy (NO_PROXY: addresses, ranges, domains with what is below them); K3s does the same for its own.
import type { KubeClient } from "../../kube/contract.ts";
import { orUnreadable } from "../../kube/one_object.ts";
import { NODES, SERVICE_CIDRS, SERVICES } from "../../kube/resources.ts";
import type { Clock } from "../../runtime/clock.ts";
import { mergedRanges } from "../../shared/ip_ranges.ts";
import { hasProxy } from "./job_env.ts";

const FRESH_MS = 600_000;

/** What {@linkcode ClusterNames} works with. */
export interface ClusterNamesParts {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clusterDomain: string;
}

/** Names and ranges of the cluster. */
export class ClusterNames {
  readonly #parts: ClusterNamesParts;
  #read: { readonly entries: readonly string[]; readonly readMs: number } | undefined;

  constructor(parts: ClusterNamesParts) {
    this.#parts = parts;
  }

  /** Entries for NO_PROXY; none without a proxy. Not older than ten minutes. */
  async entries(signal: AbortSignal): Promise<readonly string[]> {
    const { clock, env } = this.#parts;
    if (!hasProxy(env)) return [];
    if (this.#read === undefined || clock.monotonicMs() - this.#read.readMs > FRESH_MS) {
      this.#read = { entries: await this.#entries(signal), readMs: clock.monotonicMs() };
    }
    return this.#read.entries;
  }

  async #entries(signal: AbortSignal): Promise<readonly string[]> {
    const { client, clusterDomain } = this.#parts;
    // A cluster may lack the kind, and the identity the right: the rest is worth having.
    const api = await orUnreadable(client.get(SERVICES, { namespace: "default", name: "kubernetes" }, { signal }));
    const cidrs = await orUnreadable(client.list(SERVICE_CIDRS, { signal }));
    const nodes = await orUnreadable(client.list(NODES, { signal }));
    const services = [
      ...(api?.spec?.clusterIPs ?? []),
      ...(cidrs?.items ?? []).flatMap(({ spec }) => spec?.cidrs ?? []),
    ];
    const pods = (nodes?.items ?? []).flatMap(({ spec }) => spec?.podCIDRs ?? []);
    return [...mergedRanges(services), ...mergedRanges(pods), ".svc", `.${clusterDomain}`];
  }
}
