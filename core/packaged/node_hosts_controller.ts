// Keeps NodeHosts in the ConfigMap of CoreDNS at what the Nodes say, tells who edits the Corefile that the change won't last, and
// who adds to it that CoreDNS would not start again. Thin: the text is made in node_hosts.ts. Its field manager is its own, so that the
// deployer's apply leaves the key alone.
import type { Surroundings } from "../kube/contract.ts";
import { isConflict, isNotFound } from "../kube/errors.ts";
import { type EventRecorder, referenceTo } from "../kube/events.ts";
import { type Reflector, startReflector } from "../kube/reflector.ts";
import { CONFIG_MAPS, NODES } from "../kube/resources.ts";
import { pick } from "../kube/trim.ts";
import type { ConfigMap, Node } from "../kube/types.ts";
import type { ObserveQueue } from "../runtime/queue_metrics.ts";
import { createWorkQueue } from "../runtime/work_queue.ts";
import { errorMessage } from "../shared/errors.ts";
import type { ClusterVersion } from "./cluster_version.ts";
import { COREDNS_CONFIG_MAP, COREDNS_CUSTOM_CONFIG_MAP, corefileDrift, NODE_HOSTS_KEY } from "./coredns.ts";
import { customProblems } from "./coredns_custom.ts";
import { desiredNodeHosts } from "./node_hosts.ts";
import { PACKAGED_NAMESPACE } from "../shared/k3s_names.ts";
import { ownerOf } from "./ownership.ts";

/** Owner of the key NodeHosts in server-side apply. */
export const NODE_HOSTS_MANAGER = "k3slb-node-hosts";
/** On the ConfigMap: names of the nodes in NodeHosts, comma-separated. */
const NODE_HOSTS_ANNOTATION = "k3slb.io/node-hosts";

/** What staging found out for the controller. */
export interface NodeHostsPlan {
  readonly version: ClusterVersion;
  /** The packaged Corefile. */
  readonly corefile: string;
}

/** What {@linkcode runNodeHosts} takes. */
export interface NodeHostsOptions extends Surroundings {
  readonly events: Pick<EventRecorder, "record">;
  readonly plan: NodeHostsPlan;
  /** Observes its queue, for metrics. */
  readonly observeQueue?: ObserveQueue;
}

/**
 * Runs the controller; only the leader may, and only while CoreDNS is not disabled. Settles when the signal has ended everything; never
 * rejects.
 */
export function runNodeHosts(options: NodeHostsOptions): Promise<void> {
  return new NodeHostsController(options).done;
}

/** There is one thing to do. */
const KEY = "nodehosts";
/** Several nodes that come at once are written once. */
const COALESCE_MS = 50;
const CONFIG_MAP_KEY = `${PACKAGED_NAMESPACE}/${COREDNS_CONFIG_MAP}`;
const CUSTOM_KEY = `${PACKAGED_NAMESPACE}/${COREDNS_CUSTOM_CONFIG_MAP}`;

class NodeHostsController {
  readonly done: Promise<void>;
  readonly #options: NodeHostsOptions;
  readonly #nodes: Reflector<Node>;
  readonly #configMaps: Reflector<ConfigMap>;
  readonly #customs: Reflector<ConfigMap>;
  #toldFaulty: ReadonlySet<string> = new Set();
  /** What was said last, by reason. */
  readonly #told = new Map<string, string>();

  constructor(options: NodeHostsOptions) {
    this.#options = options;
    const { client, clock, logger, signal } = options;
    const queue = createWorkQueue({ clock, observer: options.observeQueue?.("node-hosts") });
    const shared = { client, clock, logger, signal };
    this.#nodes = startReflector<Node>({
      ...shared,
      type: NODES,
      keep: trimmedNode,
      onChange: () => queue.addAfter(KEY, COALESCE_MS),
    });
    const watchConfigMap = (name: string): Reflector<ConfigMap> =>
      startReflector<ConfigMap>({
        ...shared,
        type: CONFIG_MAPS,
        selection: { namespace: PACKAGED_NAMESPACE, fieldSelector: `metadata.name=${name}` },
        // At once: until the key is there, names of nodes are not found.
        onChange: () => queue.add(KEY),
      });
    this.#configMaps = watchConfigMap(COREDNS_CONFIG_MAP);
    this.#customs = watchConfigMap(COREDNS_CUSTOM_CONFIG_MAP);
    const working = queue.run({
      signal,
      reconcile: () => this.#reconcile(),
      onFailure: (_, error) => logger.warn(`Cannot write NodeHosts: ${errorMessage(error)}`),
    });
    this.#nodes.synced.then(() => queue.add(KEY), () => {});
    const watches = [this.#nodes, this.#configMaps, this.#customs];
    this.done = Promise.all([working, ...watches.map(({ done }) => done)]).then(() => {});
  }

  async #reconcile(): Promise<void> {
    const { plan } = this.#options;
    // Half a list would take the other half of the names away.
    if (!this.#nodes.isSynced || !this.#configMaps.isSynced) return;
    const configMap = this.#configMaps.objects.get(CONFIG_MAP_KEY);
    if (configMap === undefined || ownerOf(configMap.metadata, "coredns", plan.version) !== "ours") return;
    const drift = corefileDrift(configMap, plan.corefile);
    this.#tell(configMap, "PackagedConfigEdited", drift === undefined ? [] : [drift], configMap.data?.["Corefile"]);
    const custom = this.#customs.objects.get(CUSTOM_KEY);
    this.#tell(custom, "CustomConfigRefused", customProblems(custom));
    await this.#write(configMap);
  }

  async #write(configMap: ConfigMap): Promise<void> {
    const { client, logger, signal } = this.#options;
    const record = configMap.metadata?.annotations?.[NODE_HOSTS_ANNOTATION] ?? "";
    const present = configMap.data?.[NODE_HOSTS_KEY];
    const { text, nodeNames, faulty } = desiredNodeHosts({
      nodes: this.#nodes.objects.values(),
      present: present ?? "",
      recorded: record.split(",").filter((name) => name !== ""),
    });
    const toldFaulty = this.#toldFaulty;
    this.#toldFaulty = new Set(faulty);
    for (const line of this.#toldFaulty) {
      if (toldFaulty.has(line)) continue;
      logger.warn("Line in NodeHosts is dropped: it needs an address and a name", { line });
    }
    const names = nodeNames.join(",");
    if (present === text && record === names) return;
    const wanted: ConfigMap = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: {
        name: COREDNS_CONFIG_MAP,
        namespace: PACKAGED_NAMESPACE,
        // Not to make it anew: without the deployer's marks nobody would ever remove it.
        ...pick(configMap.metadata, ["uid"]),
        annotations: { [NODE_HOSTS_ANNOTATION]: names },
      },
      data: { [NODE_HOSTS_KEY]: text },
    };
    try {
      await client.apply(CONFIG_MAPS, wanted, { fieldManager: NODE_HOSTS_MANAGER, signal });
      logger.debug("Wrote NodeHosts", { nodes: nodeNames.length });
    } catch (error) {
      // Deleted meanwhile: the watch tells, and the deployer's next one starts a new reconcile.
      if (!isConflict(error) && !isNotFound(error)) throw error;
      logger.debug("NodeHosts not written: the ConfigMap is gone", { error: errorMessage(error) });
    }
  }

  /** Says each of `messages` of a ConfigMap, once while they and `state` are the same. */
  #tell(configMap: ConfigMap | undefined, reason: string, messages: readonly string[], state = messages.join()): void {
    const { events, logger } = this.#options;
    const told = messages.length === 0 ? "" : `${configMap?.metadata?.uid} ${state}`;
    if (told === (this.#told.get(reason) ?? "")) return;
    this.#told.set(reason, told);
    for (const message of messages) {
      events.record(referenceTo({ ...configMap, apiVersion: "v1", kind: "ConfigMap" }), {
        type: "Warning",
        reason,
        message,
      });
      logger.warn(message);
    }
  }
}

function trimmedNode({ metadata, status }: Node): Node {
  return { metadata: pick(metadata, ["name", "resourceVersion"]), status: { addresses: status?.addresses ?? [] } };
}
