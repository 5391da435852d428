// Why a Service is served where it is, and not elsewhere: what the server decides from the same facts, with a remedy for each reason. No I/O.
import type { DaemonSet, EndpointSlice, Node, Pod, Service } from "../../kube/types.ts";
import { type ServiceClaim, serviceClaim } from "../../service/claim.ts";
import { endpointRank } from "../../service/endpoints.ts";
import { objectKey, servedServiceKey, type ServiceKey } from "../../service/keys.ts";
import { portId } from "../../service/port_owners.ts";
import { untoleratedTaint } from "../../service/node_selection.ts";
import { readService } from "../../service/reading.ts";
import { heartbeatAgeMs, SILENT_AGENT_MS } from "../../service/node_report.ts";
import { ClusterView } from "../cluster_view.ts";
import { type DesiredService, desiredService, type ServiceFacts } from "../desired_service.ts";
import { daemonSetName } from "../daemonset/names.ts";
import type { PodQuestion } from "../nodes/pod_inquiry.ts";
import type { PodObstacles } from "../daemonset/port_holder.ts";
import { readDeadNodes } from "../nodes/dead_node_words.ts";
import type { NodeVerdict } from "../nodes/node_verdicts.ts";
import { addressesOf, servedCondition } from "../own_marks.ts";
import type { ServiceLbOptions } from "../service_lb_options.ts";
import { present } from "../../shared/values.ts";
import { claimRemedy, nodeRemedy } from "./remedies.ts";

/** The cluster at one moment. */
export interface ClusterSnapshot {
  /** Services of type LoadBalancer, and the one that is asked about. */
  readonly services: readonly Service[];
  /** Services of other types that have ports on nodes. */
  readonly foreign?: readonly Service[];
  readonly nodes: readonly Node[];
  /** Pods and DaemonSets of load balancers. */
  readonly pods: readonly Pod[];
  readonly daemonSets: readonly DaemonSet[];
  /** Slices of the Services. */
  readonly slices: readonly EndpointSlice[];
  /** What a server has found out about pods that are missing; absent: {@linkcode Answers.noteObstacles} tells it later. */
  readonly obstacles?: (key: ServiceKey) => PodObstacles | undefined;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

/** What holds for one node, as it is printed. */
export interface NodeAnswer {
  readonly node: string;
  readonly serves: boolean;
  /** Addresses of the node that are in the Service's status; absent: none are. */
  readonly addresses?: readonly string[];
  /** Stable CamelCase name; absent if it serves. */
  readonly reason?: string;
  /** Why it does not serve, or what is to be said although it does. */
  readonly message?: string;
  /** What to do. */
  readonly remedy?: string;
}

/** Everything about one Service, as `k3slb explain -o json` prints it. */
export interface ServiceAnswer {
  readonly namespace: string;
  readonly name: string;
  readonly ports: readonly string[];
  readonly families: readonly string[];
  readonly trafficPolicy: "Cluster" | "Local";
  readonly sourceRanges?: readonly string[];
  /** Whether this program serves it; if not, why. */
  readonly ours: boolean;
  /** `True` or `False`, reason and message, by the facts of this moment. */
  readonly served: {
    readonly status: string;
    readonly reason: string;
    readonly message: string;
    readonly remedy?: string;
  };
  /** Whether something is wrong that somebody should act on. */
  readonly problem: boolean;
  /** Addresses in its status. */
  readonly addresses: readonly string[];
  /** Addresses that the facts ask for, where they differ from those in the status. */
  readonly wantedAddresses?: readonly string[];
  /** The condition that the server wrote; absent: none has. */
  readonly condition?: { readonly status: string; readonly reason: string; readonly message: string };
  readonly daemonSet?: {
    readonly namespace: string;
    readonly name: string;
    readonly pods: number;
    readonly exists: boolean;
  };
  readonly endpoints: { readonly ready: number; readonly terminating: number; readonly closed: number };
  readonly nodes: readonly NodeAnswer[];
}

/** Answers about Services of one snapshot; what all share is worked out once. */
export class Answers {
  readonly #snapshot: ClusterSnapshot;
  readonly #options: ServiceLbOptions;
  readonly #view: ClusterView;
  readonly #silentNodes: ReadonlySet<string>;
  readonly #obstacles = new Map<Service, PodObstacles>();
  readonly #known = new Map<Service, DesiredService & { readonly facts: ServiceFacts }>();

  constructor(snapshot: ClusterSnapshot, options: ServiceLbOptions) {
    this.#snapshot = snapshot;
    this.#options = options;
    const services = new Map(snapshot.services.map((service) => [objectKey(service), service]));
    const nodes = new Map(snapshot.nodes.map((node) => [node.metadata?.name ?? "", node]));
    this.#view = new ClusterView(() => ({ services, nodes }), options);
    for (const after of snapshot.services) this.#view.noteService({ before: undefined, after });
    for (const after of snapshot.foreign ?? []) this.#view.noteForeign({ before: undefined, after });
    for (const name of nodes.keys()) this.#view.readReport(name);
    for (const after of snapshot.pods) this.#view.notePod({ before: undefined, after });
    for (const after of snapshot.daemonSets) this.#view.noteDaemonSet({ before: undefined, after });
    for (const after of snapshot.slices) this.#view.noteSlice({ before: undefined, after });
    this.#silentNodes = silentNodes(snapshot);
  }

  /** Everything about `service`, which is one of the snapshot's. */
  about(service: Service): ServiceAnswer {
    const reading = readService(service);
    const claim = serviceClaim(service, this.#options);
    const condition = servedCondition(service);
    const { namespace, name, families, trafficPolicy, sourceRanges } = reading;
    const common = present({
      namespace,
      name,
      ports: reading.ports.map(portId),
      families,
      trafficPolicy,
      sourceRanges,
      addresses: addressesOf(service),
      condition,
      endpoints: this.#endpoints(reading.key),
    });
    return claim.ours ? { ...common, ...this.#ours(service) } : { ...common, ...this.#notOurs(service, claim) };
  }

  /** What the API server is to be asked about pods of `service` that are missing; absent: it is not ours. */
  question(service: Service): PodQuestion | undefined {
    if (!serviceClaim(service, this.#options).ours) return undefined;
    const { key } = readService(service);
    return { key, service, daemonSet: this.#daemonSet(service), verdicts: this.#desired(service).verdicts };
  }

  /** What the API server said of the pods of `service`. */
  noteObstacles(service: Service, obstacles: PodObstacles): void {
    this.#obstacles.set(service, obstacles);
    this.#known.delete(service);
  }

  #desired(service: Service): DesiredService & { readonly facts: ServiceFacts } {
    const known = this.#known.get(service) ?? this.#decide(service);
    this.#known.set(service, known);
    return known;
  }

  #decide(service: Service): DesiredService & { readonly facts: ServiceFacts } {
    const { key } = readService(service);
    const obstacles = this.#obstacles.get(service) ?? this.#snapshot.obstacles?.(key);
    const facts = {
      ...this.#view.factsOf(key, this.#silentNodes),
      deadNodes: readDeadNodes(servedCondition(service)?.message ?? ""),
      ...present({ obstacles }),
    };
    return { ...desiredService(service, { ...this.#options, facts }), facts };
  }

  #daemonSet(service: Service): DaemonSet | undefined {
    const name = daemonSetName(service);
    return this.#view.daemonSetsOf(readService(service).key).find(({ metadata }) => metadata?.name === name);
  }

  #ours(
    service: Service,
  ): Pick<ServiceAnswer, "ours" | "served" | "problem" | "wantedAddresses" | "daemonSet" | "nodes"> {
    const reading = readService(service);
    const pods = this.#snapshot.pods.filter((pod) => servedServiceKey(pod) === reading.key).length;
    const { verdicts, summary, ingress, facts } = this.#desired(service);
    const name = daemonSetName(service);
    const remedyFacts = { reading, servicelbNamespace: this.#options.servicelbNamespace, daemonSet: name };
    const exists = this.#daemonSet(service) !== undefined;
    const published = new Set(addressesOf(service));
    const wanted = ingress.map(({ ip }) => ip);
    const { status, reason, message, problem } = summary;
    return {
      ours: true,
      served: { status, reason, message },
      problem,
      ...(wanted.join() === addressesOf(service).join() ? {} : { wantedAddresses: wanted }),
      ...(this.#options.reservePorts === "none" && !exists
        ? {}
        : { daemonSet: { namespace: this.#options.servicelbNamespace, name, pods, exists } }),
      nodes: verdicts.map((verdict) => {
        const node = facts.nodes.get(verdict.node);
        const addresses = (node?.status?.addresses ?? []).map(({ address }) => address)
          .filter((address) => published.has(address));
        const answer = nodeAnswer(verdict, {
          ...remedyFacts,
          ...present({
            conflict: facts.conflicts.get(verdict.node),
            taint: node && untoleratedTaint(node, reading),
            holder: facts.obstacles?.holders.get(verdict.node),
          }),
        });
        return addresses.length === 0 ? answer : { ...answer, addresses: [...new Set(addresses)] };
      }),
    };
  }

  #notOurs(
    service: Service,
    claim: ServiceClaim & { readonly ours: false },
  ): Pick<ServiceAnswer, "ours" | "served" | "problem" | "nodes"> {
    const { reason, message } = claim;
    const remedy = claimRemedy(reason, { reading: readService(service), lbClass: this.#options.lbClass });
    return { ours: false, served: { status: "False", reason, message, remedy }, problem: false, nodes: [] };
  }

  #endpoints(key: ServiceKey): ServiceAnswer["endpoints"] {
    const counts = { ready: 0, terminating: 0, closed: 0 };
    const seen = new Set<string>();
    for (const slice of this.#view.factsOf(key, this.#silentNodes).slices) {
      for (const { addresses, conditions } of slice.endpoints ?? []) {
        if (seen.has(addresses[0] ?? "")) continue;
        seen.add(addresses[0] ?? "");
        counts[endpointRank(conditions)] += 1;
      }
    }
    return counts;
  }
}

function nodeAnswer(
  verdict: NodeVerdict,
  facts: Omit<Parameters<typeof nodeRemedy>[1], "node">,
): NodeAnswer {
  const { node } = verdict;
  if (verdict.serves) {
    return present({ node, serves: true, message: verdict.degraded ?? verdict.note });
  }
  const { reason, message } = verdict;
  return { node, serves: false, reason, message, remedy: nodeRemedy(reason, { ...facts, node }) };
}

/** Nodes whose agent wrote its last heartbeat too long ago; the server counts from when it heard it, as clocks differ. */
function silentNodes({ nodes, nowMs }: ClusterSnapshot): ReadonlySet<string> {
  const silent = nodes.filter((node) => (heartbeatAgeMs(node, nowMs) ?? 0) > SILENT_AGENT_MS);
  return new Set(silent.map(({ metadata }) => metadata?.name ?? ""));
}
