// The server asks the nodes that may serve whether they are there, and says of each that has stopped answering what is to be told. Nodes are told
// dead by `core/runtime/node_life.ts`; what follows is a verdict of `node_verdicts.ts`. Whose agent still writes its heartbeat is not dead: a
// firewall came between.
import { networkInterfaces } from "node:os";
import type { Node, Service } from "../../kube/types.ts";
import { askNodes, type BeginAsk, type NodeAsker } from "../../runtime/ask_nodes.ts";
import { apiTime, type Clock } from "../../runtime/clock.ts";
import type { LifeChange } from "../../runtime/node_life.ts";
import type { AddressFacts } from "../../service/address_rules.ts";
import type { Logger } from "../../shared/log.ts";
import { heartbeatOf } from "../../service/node_report.ts";
import { askedNode } from "./asked_node.ts";
import { deadNodeWords } from "./dead_node_words.ts";
import { hasAgent } from "./node_verdicts.ts";

/** What {@linkcode DeadNodes} takes. */
export interface DeadNodesOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Whether anybody is asked. */
  readonly isOn: boolean;
  /** Ranges of the cluster's Services, in which nobody is asked. */
  readonly serviceRanges: AddressFacts["serviceRanges"];
  /** Told which node's state has changed. */
  readonly onChange: (node: string) => void;
  /** @default {askByTcp} */
  readonly beginAsk?: BeginAsk;
  /**
   * Addresses of this host.
   * @default {ownAddresses}
   */
  readonly ownIps?: () => readonly string[];
}

/** The reflectors' own maps. */
export interface KnownObjects {
  readonly services: ReadonlyMap<string, Service>;
  readonly nodes: ReadonlyMap<string, Node>;
}

/** Asks nodes. */
export class DeadNodes {
  readonly #options: DeadNodesOptions;
  readonly #asker: NodeAsker;
  #words: ReadonlyMap<string, string> = new Map();
  #nodes: KnownObjects["nodes"] = new Map();
  /** The last heartbeat of each dead node, as of when it was found dead. */
  readonly #lastBeats = new Map<string, string | undefined>();
  readonly #unheard = new Set<string>();

  constructor(options: DeadNodesOptions) {
    this.#options = options;
    this.#asker = askNodes({
      ...options,
      calmIntervalMs: CALM_INTERVAL_MS,
      onChange: (changes) => this.#note(changes),
    });
  }

  /** Nodes that do not answer any more, with what is said of each. */
  get nodes(): ReadonlyMap<string, string> {
    return this.#words;
  }

  /** Nodes that have stopped answering and are there all the same: nobody should ask them. */
  get unheard(): ReadonlySet<string> {
    return this.#unheard;
  }

  /**
   * Something changed. Nodes with an agent are asked, but none for the sake of no Service, not the only one, whose address stays whatever it
   * answers, and not this host: it would hear itself however alone it is.
   */
  note({ services, nodes }: KnownObjects): void {
    if (!this.#options.isOn) return;
    this.#nodes = nodes;
    for (const known of [this.#unheard, this.#lastBeats]) {
      for (const name of known.keys()) if (!nodes.has(name)) known.delete(name);
    }
    for (const name of this.#asker.dead.keys()) {
      const node = nodes.get(name);
      if (node && heartbeatOf(node)?.lastHeartbeatTime !== this.#lastBeats.get(name)) this.#asker.excuse(name);
    }
    const own = new Set((this.#options.ownIps ?? ownAddresses)());
    const withAgent = [...nodes.values()].filter(hasAgent);
    const present = services.size === 0 || withAgent.length < 2
      ? []
      : withAgent.map((node) => askedNode(node, this.#options));
    this.#asker.replace(present.filter(({ ips }) => !ips.some((ip) => own.has(ip))));
    this.#say();
  }

  #note(changes: readonly LifeChange[]): void {
    this.#say();
    for (const { what, node } of changes) {
      if (what === "dead") this.#lastBeats.set(node, heartbeatOf(this.#nodes.get(node))?.lastHeartbeatTime);
      else if (what === "deaf" && this.#lastBeats.has(node)) this.#unheard.add(node);
      else this.#unheard.delete(node);
      if (what !== "dead") this.#lastBeats.delete(node);
      this.#options.onChange(node);
    }
  }

  #say(): void {
    const { clock } = this.#options;
    const startMs = clock.now() - clock.monotonicMs();
    this.#words = new Map([...this.#asker.dead].map(([name, { ip, sinceMs }]) => {
      const known = this.#words.get(name);
      const since = apiTime(startMs + sinceMs);
      // Words stay as they are while the state does, whatever is done to the clock.
      return [name, known ?? deadNodeWords(ip, since)];
    }));
  }
}

/**
 * More seldom than agents ask, whose packets a dead node takes: an address may be left in a status for some seconds, and an idle server spends
 * most of its time on asking. A third of the period at which the Lease is renewed, so that this takes no wake-up of its own.
 */
const CALM_INTERVAL_MS = 2500;

/** A sandbox may keep the C library from listing interfaces: then this host is asked, too. */
function ownAddresses(): readonly string[] {
  try {
    return Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map(({ address }) => address));
  } catch {
    return [];
  }
}
