// The watched objects by Service, so that reconciling one Service does not walk over all pods. In-memory only, no I/O.
import type { DaemonSet, EndpointSlice, Node, Pod, Service } from "../kube/types.ts";
import { sameContent } from "../kube/trim.ts";
import { PortIndex } from "./affected_services.ts";
import type { ObjectChange } from "../kube/object_store.ts";
import { type HeldPorts, heldPorts } from "./daemonset/held_ports.ts";
import { candidateNodes, type ServiceFacts } from "./desired_service.ts";
import {
  type ForeignFacts,
  foreignPortIds,
  ForeignPorts,
  lateClaims,
  reservedPorts,
} from "../service/foreign_ports.ts";
import { objectKey, servedServiceKey, type ServiceKey, sliceServiceKey } from "../service/keys.ts";
import type { ClusterFacts } from "../service/cluster_facts.ts";
import { isAllowListMode } from "../service/node_selection.ts";
import { type GivenPorts, type PortConflict, portConflicts, type Presence } from "../service/port_owners.ts";
import { serviceClaim } from "../service/claim.ts";
import { nodeOfPod, reservationGap } from "./daemonset/pod_state.ts";
import { desiredFacts, type FactsSource } from "./nodes/desired_facts.ts";
import { NodeReports, type Reported, reported, type ReportNews } from "./nodes/node_reports.ts";
import type { ServiceLbOptions } from "./service_lb_options.ts";

/** What the view reads; the maps are the reflectors' own and change under it. */
export interface ClusterObjects {
  readonly services: ReadonlyMap<string, Service>;
  readonly nodes: ReadonlyMap<string, Node>;
}

/** What a pod's change may change. */
export type PodNews =
  /** What is said of its node. */
  | "verdict"
  /** Whether it keeps ports from other pods: the agent of its node decides by itself. */
  | "reservation"
  | "nothing";

/** The cluster as one Service sees it. */
export class ClusterView {
  readonly #objects: () => ClusterObjects;
  readonly #options: ServiceLbOptions;
  readonly #pods = new ServiceIndex<Pod>(servedServiceKey);
  readonly #daemonSets = new ServiceIndex<DaemonSet>(servedServiceKey);
  readonly #slices = new ServiceIndex<EndpointSlice>(sliceServiceKey);
  readonly #ports = new PortIndex();
  readonly #foreignPorts = new ForeignPorts();
  readonly #reports = new NodeReports();
  /** Of each Service; found when first asked for after a change. */
  readonly #conflicts = new Map<ServiceKey, ReadonlyMap<string, PortConflict>>();
  readonly #held = new Map<ServiceKey, HeldPorts | undefined>();
  #allowList: boolean | undefined;

  constructor(objects: () => ClusterObjects, options: ServiceLbOptions) {
    this.#objects = objects;
    this.#options = options;
  }

  notePod(change: ObjectChange<Pod>): PodNews {
    this.#pods.note(change);
    const { before, after } = change;
    const report = this.#reports.of(nodeOfPod(after ?? before ?? {}) ?? "");
    if (report === undefined) return "verdict";
    // For Services that did not fit into the report their pods tell.
    if (report.cut > 0 || before === undefined || after === undefined) return "reservation";
    return sameContent(reservationGap(before), reservationGap(after)) ? "nothing" : "reservation";
  }

  /** Returns the Services that may win or lose a port by it. */
  noteDaemonSet(change: ObjectChange<DaemonSet>): readonly ServiceKey[] {
    this.#daemonSets.note(change);
    const { before, after } = change;
    if (before !== undefined && after !== undefined && sameContent(before.spec, after.spec)) return [];
    const key = servedServiceKey(after ?? before ?? {});
    this.#conflicts.clear();
    if (key === undefined) return [];
    this.#held.delete(key);
    return this.#ports.sharers(key);
  }

  /** Returns the Services that may win or lose a port by it. */
  noteService(change: ObjectChange<Service>): readonly ServiceKey[] {
    const { before, after } = change;
    if (after === undefined) this.#held.delete(objectKey(before ?? {}));
    this.#foreignPorts.note(before, after);
    return this.#ports.note(change);
  }

  /** A Service of another type changed. Returns the load balancers that may win or lose a port by it. */
  noteForeign({ before, after }: ObjectChange<Service>): readonly ServiceKey[] {
    this.#conflicts.clear();
    this.#foreignPorts.note(before, after);
    return this.#ports.users([...foreignPortIds(before), ...foreignPortIds(after)]);
  }

  /** Reads what the agent of a node says now. */
  readReport(name: string): ReportNews {
    const { nodes, services } = this.#objects();
    if (this.#options.dataplane !== "agent") return { concerned: [], tookBack: false };
    const news = this.#reports.read(name, nodes.get(name), services.values());
    if (news.concerned.length > 0) this.#conflicts.clear();
    return news;
  }

  /** Whether others ask for a port of the Service too. */
  sharesPorts(key: ServiceKey): boolean {
    return this.#ports.sharers(key).length > 0;
  }

  noteSlice(change: ObjectChange<EndpointSlice>): void {
    this.#slices.note(change);
  }

  /** A node or a Service changed in a way that may change who is chosen. */
  forgetChoices(): void {
    this.#conflicts.clear();
    this.#allowList = undefined;
  }

  /** Services that have a DaemonSet, wanted or not. */
  servicesWithDaemonSets(): Iterable<ServiceKey> {
    return this.#daemonSets.keys();
  }

  daemonSetsOf(key: ServiceKey): readonly DaemonSet[] {
    return [...this.#daemonSets.of(key)];
  }

  /** Services that `node` may serve at present: with a pod there, or all if its agent decides by itself. */
  servicesOnNode(node: string): readonly ServiceKey[] {
    if (this.#reports.of(node) !== undefined) return [...this.#objects().services.keys()];
    return [...this.#pods.keys()].filter((key) => {
      for (const pod of this.#pods.of(key)) if (pod.spec?.nodeName === node) return true;
      return false;
    });
  }

  /** What agents are told. */
  clusterFacts(source: Pick<FactsSource, "foreign" | "unheard">): ClusterFacts {
    const { nodes } = this.#objects();
    return desiredFacts({
      ...source,
      options: this.#options,
      nodes,
      allowList: this.#isAllowList(),
      services: this.#ours(),
      givenOn: (service, node) => this.#givenOn(service, node),
    });
  }

  /** Everything that concerns the Service at `key`. */
  factsOf(key: ServiceKey, silentNodes: ReadonlySet<string>): ServiceFacts {
    const service = this.#objects().services.get(key);
    return {
      nodes: this.#objects().nodes,
      lateClaims: service === undefined ? [] : lateClaims(service, this.#foreignFacts()),
      allowList: this.#isAllowList(),
      pods: this.#pods.of(key),
      slices: this.#slices.of(key),
      conflicts: service === undefined ? NO_CONFLICTS : this.#conflictsOf(key),
      silentNodes,
      reported: (node) => service === undefined ? undefined : this.#reported(service, node),
    };
  }

  #foreignFacts(): ForeignFacts {
    const { nodes } = this.#objects();
    const { nodePortRange } = this.#options;
    return { ports: this.#foreignPorts, nodes, ...(nodePortRange === undefined ? {} : { nodePortRange }) };
  }

  #isAllowList(): boolean {
    return this.#allowList ??= isAllowListMode(this.#objects().nodes.values());
  }

  #ours(services: Iterable<Service> = this.#objects().services.values()): readonly Service[] {
    return [...services].filter((service) => serviceClaim(service, this.#options).ours);
  }

  #reported(service: Service, node: string): Reported | undefined {
    const report = this.#reports.of(node);
    return report === undefined ? undefined : reported(report, service);
  }

  /**
   * Which ports are the Service's on a node: by what the node's agent says, or, where that is silent, by the DaemonSet, or by what other nodes'
   * agents say where there are none: a Service that has a port has it on every node that nobody else has it on.
   */
  #givenOn(service: Service, node: string): GivenPorts {
    const said = this.#reported(service, node);
    if (said?.says === "serves") return "all";
    if (said?.says === "refuses" && said.reason === "PortTaken") return undefined;
    const has = this.#heldBy(objectKey(service));
    if (has !== undefined) return has.without.has(node) ? undefined : has.ports;
    return this.#options.reservePorts === "none" && this.#reports.anyServes(service) ? "all" : undefined;
  }

  /** How much the Service is on a node, and not on others only: served or with its pod placed there, meant to be there by its DaemonSet, or not. */
  #presenceOn(service: Service, name: string): Presence {
    if (this.#reported(service, name)?.says === "serves") return "placed";
    const key = objectKey(service);
    for (const { spec } of this.#pods.of(key)) if (spec?.nodeName === name) return "placed";
    const node = this.#objects().nodes.get(name);
    return node !== undefined && this.#heldBy(key)?.reaches(node) ? "meant" : "absent";
  }

  #heldBy(key: ServiceKey): HeldPorts | undefined {
    if (!this.#held.has(key)) this.#held.set(key, heldPorts(this.#daemonSets.of(key)));
    return this.#held.get(key);
  }

  /** Looks only at those that share ports with it: looking through all for each change would cost the square of their number. */
  #conflictsOf(key: ServiceKey): ReadonlyMap<string, PortConflict> {
    const found = this.#conflicts.get(key);
    if (found !== undefined) return found;
    const { nodes, services } = this.#objects();
    const allowList = this.#isAllowList();
    const sharers = [key, ...this.#ports.sharers(key)];
    const conflicts = portConflicts(
      this.#ours(sharers.flatMap((sharer) => services.get(sharer) ?? [])),
      {
        candidatesOf: (service) => candidateNodes(service, { ...this.#options, nodes: nodes.values(), allowList }),
        reservedFor: (service) => reservedPorts(service, this.#foreignFacts()),
        givenOn: (service, node) => this.#givenOn(service, node),
        presenceOn: (service, node) => this.#presenceOn(service, node),
      },
    );
    for (const sharer of sharers) this.#conflicts.set(sharer, conflicts.get(sharer) ?? NO_CONFLICTS);
    return conflicts.get(key) ?? NO_CONFLICTS;
  }
}

/** Objects by the Service that they belong to, then by their own key. */
class ServiceIndex<T extends Pod | DaemonSet | EndpointSlice> {
  readonly #keyOf: (object: T) => ServiceKey | undefined;
  readonly #byService = new Map<ServiceKey, Map<string, T>>();

  constructor(keyOf: (object: T) => ServiceKey | undefined) {
    this.#keyOf = keyOf;
  }

  keys(): Iterable<ServiceKey> {
    return this.#byService.keys();
  }

  of(key: ServiceKey): Iterable<T> {
    return this.#byService.get(key)?.values() ?? [];
  }

  note({ before, after }: ObjectChange<T>): void {
    const oldKey = before === undefined ? undefined : this.#keyOf(before);
    const newKey = after === undefined ? undefined : this.#keyOf(after);
    if (oldKey !== undefined && oldKey !== newKey && before !== undefined) this.#remove(oldKey, objectKey(before));
    if (newKey === undefined || after === undefined) return;
    const objects = this.#byService.get(newKey) ?? new Map<string, T>();
    objects.set(objectKey(after), after);
    this.#byService.set(newKey, objects);
  }

  #remove(service: ServiceKey, key: string): void {
    const objects = this.#byService.get(service);
    objects?.delete(key);
    if (objects?.size === 0) this.#byService.delete(service);
  }
}

const NO_CONFLICTS: ReadonlyMap<string, PortConflict> = new Map();
