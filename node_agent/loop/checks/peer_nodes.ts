// The nodes on which this one's remote endpoints run, asked each second whether they are there (`core/runtime/node_life.ts`). Where to ask
// them says what the server publishes; without that nobody is asked. What follows is the forwarding plan's affair.
import type { EndpointSlice } from "../../../core/kube/types.ts";
import { askNodes, type BeginAsk, type NodeAsker } from "../../../core/runtime/ask_nodes.ts";
import { apiTime, type Clock } from "../../../core/runtime/clock.ts";
import type { MetricRegistry } from "../../../core/runtime/metrics.ts";
import type { ClusterFacts } from "../../../core/service/cluster_facts.ts";
import type { Logger } from "../../../core/shared/log.ts";

/** What {@linkcode PeerNodes} takes. */
export interface PeerNodesOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly nodeName: string;
  /** Whether anybody is asked. */
  readonly isOn: boolean;
  readonly registry: MetricRegistry;
  /** Told when a node has stopped answering, or answers again. */
  readonly onChange: () => void;
  /** @default {askByTcp} */
  readonly beginAsk?: BeginAsk;
}

/** Asks nodes. */
export class PeerNodes {
  readonly #options: PeerNodesOptions;
  readonly #asker: NodeAsker;

  constructor(options: PeerNodesOptions) {
    this.#options = options;
    this.#asker = askNodes({
      ...options,
      onChange: (changes) => {
        if (changes.some(({ what }) => what === "dead" || what === "back")) options.onChange();
      },
    });
    options.registry.gaugeOf(
      { name: "k3slb_silent_nodes", help: "Nodes that answered before and have stopped answering." },
      () => this.#asker.dead.size,
    );
  }

  /** Asks the nodes of `slices`' endpoints from now on; returns those that are dead. */
  among(slices: readonly EndpointSlice[], facts: Pick<ClusterFacts, "nodes"> | undefined): ReadonlySet<string> {
    const { isOn, nodeName } = this.#options;
    if (!isOn) return new Set();
    if (facts === undefined) {
      this.#asker.replace([]);
      return new Set();
    }
    const names = new Set(slices.flatMap(({ endpoints }) => (endpoints ?? []).map((one) => one.nodeName ?? "")));
    names.delete(nodeName);
    this.#asker.replace(
      [...names].sort().flatMap((name) => {
        const node = facts.nodes.get(name);
        return node === undefined ? [] : [{ name, ...node }];
      }),
    );
    return new Set(this.#asker.dead.keys());
  }

  /** What an operator should know. */
  get remarks(): readonly string[] {
    const { clock } = this.#options;
    const startMs = clock.now() - clock.monotonicMs();
    return [...this.#asker.dead.values()].slice(0, MAX_REMARKS).map(({ name, ip, sinceMs }) => {
      return `${name} has not answered this node at ${ip} since ${
        apiTime(startMs + sinceMs)
      }: endpoints there get no connections while others are left`;
    });
  }
}

const MAX_REMARKS = 6;
