// The load balancer's control loop: watches, a queue of Services to reconcile. Decisions are in the pure files, writes in service_writes.ts.
// Level-based: every reconcile starts from the whole present state, so a lost or repeated notice does no harm.
import { findObject } from "../kube/one_object.ts";
import { type Reflector, startReflector } from "../kube/reflector.ts";
import { DAEMON_SETS, NODES, PODS, SERVICES } from "../kube/resources.ts";
import { sameContent } from "../kube/trim.ts";
import type { DaemonSet, KubeObject, Node, Pod, Service } from "../kube/types.ts";
import { repeat } from "../runtime/clock.ts";
import { createWorkQueue, type WorkQueue } from "../runtime/work_queue.ts";
import { nodeChangeScope, sameWishes } from "./affected_services.ts";
import type { ObjectChange } from "../kube/object_store.ts";
import type { ClusterSnapshot } from "./answers/explain_service.ts";
import { AgentSilence } from "./nodes/agent_silence.ts";
import { ClusterView } from "./cluster_view.ts";
import { DeadNodes } from "./nodes/dead_nodes.ts";
import { SERVICE_NAME_LABEL } from "../service/labels.ts";
import { LocalSlices } from "./local_slices.ts";
import { trimForeign } from "../service/foreign_ports.ts";
import { servedServiceKey, type ServiceKey, sliceServiceKey, splitKey } from "../service/keys.ts";
import { readService } from "../service/reading.ts";
import { LateReservations } from "./daemonset/late_reservations.ts";
import { PodInquiry } from "./nodes/pod_inquiry.ts";
import { collectLeftBehind, ensurePrerequisites } from "./groundwork/groundwork.ts";
import { serviceClaim } from "../service/claim.ts";
import { FactsPublisher } from "./nodes/publish_facts.ts";
import { noteFailure, type ReconcileContext, type ServiceMemory } from "./reconcile_context.ts";
import { ReportReader } from "./nodes/report_reader.ts";
import { isOwnDaemonSet, reconcileService, releaseService } from "./reconcile_service.ts";
import type { ServiceLb, StartServiceLbOptions } from "./running_service_lb.ts";
import { deleteDaemonSet, finalizersFor } from "./service_writes.ts";
import { keepLoadBalancer, trimDaemonSet, trimNode, trimPod, trimService } from "./trim_objects.ts";

/** Serves LoadBalancer Services until `options.signal` is aborted. What was made stays. */
export function startServiceLb(options: StartServiceLbOptions): ServiceLb {
  return new ServiceLbController(options);
}

class ServiceLbController implements ServiceLb {
  readonly synced: Promise<void>;
  readonly done: Promise<void>;
  readonly #start: StartServiceLbOptions;
  readonly #queue: WorkQueue;
  readonly #reports: ReportReader;
  readonly #view: ClusterView;
  readonly #silence = new AgentSilence();
  readonly #dead: DeadNodes;
  readonly #services: Reflector<Service>;
  readonly #foreign: Reflector<Service>;
  readonly #nodes: Reflector<Node>;
  readonly #pods: Reflector<Pod>;
  readonly #daemonSets: Reflector<DaemonSet>;
  readonly #slices: LocalSlices;
  /** Absent where pods forward. */
  readonly #facts: FactsPublisher | undefined;
  readonly #context: ReconcileContext;
  readonly #memories = new Map<ServiceKey, ServiceMemory>();
  /** Services that left the watch without having been deleted before our eyes: their type may have changed. */
  readonly #left = new Set<ServiceKey>();
  readonly snapshot = (): ClusterSnapshot => ({
    services: [...this.#services.objects.values()],
    foreign: [...this.#foreign.objects.values()],
    nodes: [...this.#nodes.objects.values()],
    pods: [...this.#pods.objects.values()],
    daemonSets: [...this.#daemonSets.objects.values()],
    slices: this.#slices.all,
    obstacles: (key) => this.#memories.get(key)?.obstacles,
    nowMs: this.#start.clock.now(),
  });
  readonly silentNodes = () => this.#dead.nodes.size;
  #isReady = false;
  /** What was just written here is taken into the caches: whoever wrote it goes on from there. */
  #isMerging = false;

  constructor(start: StartServiceLbOptions) {
    this.#start = start;
    const { client, clock, signal, logger } = start;
    this.#reports = new ReportReader({
      clock,
      read: (node, hasChanged) => {
        const { concerned, tookBack } = this.#view.readReport(node);
        for (const key of concerned) this.#add(key);
        if (concerned.some((key) => this.#view.sharesPorts(key))) this.#facts?.note();
        if (hasChanged) this.#addOnNode(node);
        return this.#nodes.objects.has(node) ? tookBack || hasChanged : undefined;
      },
    });
    this.#queue = createWorkQueue({
      clock,
      groupOf: (key) => splitKey(key).namespace,
      observer: start.observeQueue?.("services"),
    });
    const watching = { client, clock, signal, logger };
    const namespace = start.options.servicelbNamespace;
    const ours = { namespace, labelSelector: SERVICE_NAME_LABEL };
    this.#view = new ClusterView(
      () => ({ services: this.#services.objects, nodes: this.#nodes.objects }),
      this.#start.options,
    );
    const { askNodes: isOn = true, serviceRanges } = start.options;
    this.#dead = new DeadNodes({
      ...start,
      isOn,
      serviceRanges,
      onChange: (node) => {
        this.#facts?.note();
        this.#addOnNode(node);
      },
    });
    this.#services = startReflector({
      ...watching,
      type: SERVICES,
      selection: { fieldSelector: "spec.type=LoadBalancer" },
      keep: (service) => keepLoadBalancer(service, this.#services.objects),
      onChange: ({ key, before, after }) => this.#noteService(key, { before, after }),
    });
    this.#foreign = startReflector({
      ...watching,
      type: SERVICES,
      selection: { fieldSelector: "spec.type!=LoadBalancer" },
      keep: trimForeign,
      onChange: (change) => {
        this.#facts?.note();
        for (const key of this.#view.noteForeign(change)) this.#add(key);
      },
    });
    this.#nodes = startReflector({
      ...watching,
      type: NODES,
      keep: trimNode,
      onChange: ({ key, before, after }) => this.#noteNode(key, { before, after }),
    });
    this.#pods = startReflector({
      ...watching,
      type: PODS,
      selection: ours,
      keep: trimPod,
      onChange: (change) => {
        const news = this.#view.notePod(change);
        if (news !== "nothing") this.#addServed(change, news === "reservation" ? PLACEHOLDER_DELAY_MS : 0);
      },
    });
    this.#daemonSets = startReflector({
      ...watching,
      type: DAEMON_SETS,
      selection: ours,
      keep: trimDaemonSet,
      onChange: (change) => {
        const sharers = this.#view.noteDaemonSet(change);
        if (sharers.length > 0) this.#facts?.note();
        for (const key of sharers) this.#add(key);
        this.#addServed(change, this.#isMerging ? PLACEHOLDER_DELAY_MS : 0);
      },
    });
    this.#slices = new LocalSlices({
      ...watching,
      onChange: (change) => {
        this.#view.noteSlice(change);
        this.#add(change.after === undefined ? undefined : sliceServiceKey(change.after));
        this.#add(change.before === undefined ? undefined : sliceServiceKey(change.before));
      },
      onReady: (key) => this.#add(key),
    });
    this.#facts = start.options.dataplane === "agent"
      ? new FactsPublisher({
        ...watching,
        namespace,
        facts: () =>
          this.#isReady
            ? this.#view.clusterFacts({ foreign: this.#foreign.objects.values(), unheard: this.#dead.unheard })
            : undefined,
      })
      : undefined;
    this.#context = {
      ...start,
      inquiry: new PodInquiry({ ...watching, namespace }),
      reservations: new LateReservations((key) => this.#add(key)),
      written: {
        service: (service) => this.#mergeWritten(() => this.#services.merge([service])),
        daemonSet: (daemonSet) => this.#mergeWritten(() => this.#daemonSets.merge([daemonSet])),
      },
    };
    this.synced = this.#waitForObjects();
    // Nobody has to wait for it.
    this.synced.catch(() => {});
    this.done = this.#run();
  }

  get isConnected(): boolean {
    return this.#watches.every(({ isConnected }) => isConnected);
  }

  get #watches(): readonly Pick<Reflector<KubeObject>, "synced" | "isConnected" | "done">[] {
    return [this.#services, this.#foreign, this.#nodes, this.#pods, this.#daemonSets];
  }

  async #waitForObjects(): Promise<void> {
    await Promise.all(this.#watches.map(({ synced }) => synced));
    for (const name of this.#nodes.objects.keys()) this.#reports.read(name);
    this.#isReady = true;
    this.#askNodes();
    this.#facts?.note();
    this.#addAll();
    for (const key of this.#view.servicesWithDaemonSets()) this.#queue.add(key);
  }

  async #run(): Promise<void> {
    const { signal, clock } = this.#start;
    const stopSilenceChecks = repeat(() => this.#checkSilence(), { clock, periodMs: SILENCE_CHECK_MS });
    signal.addEventListener("abort", stopSilenceChecks, { once: true });
    if (signal.aborted) stopSilenceChecks();
    await Promise.all([
      ensurePrerequisites(this.#start),
      collectLeftBehind(this.#start, {
        synced: this.synced,
        nodes: () => this.#nodes.objects.values(),
        onFormer: (key) => {
          this.#left.add(key);
          this.#add(key);
        },
      }),
      this.#reports.run(signal),
      this.#queue.run({
        reconcile: (key, ending) => this.#reconcile(key, ending),
        signal,
        workers: WORKERS,
        patienceMs: PATIENCE_MS,
        onFailure: (key, error) => {
          const [service, memory] = [this.#services.objects.get(key), this.#memories.get(key)];
          noteFailure(this.#context, { key, error, service, memory });
        },
      }),
    ]);
    await Promise.all([...this.#watches, this.#slices, this.#facts].map((each) => each?.done));
  }

  async #reconcile(key: ServiceKey, signal: AbortSignal): Promise<number | undefined> {
    const service = this.#services.objects.get(key);
    if (service === undefined) return await this.#reconcileAbsent(key, signal);
    this.#left.delete(key);
    const memory = this.#memories.get(key) ?? {};
    this.#memories.set(key, memory);
    if (readService(service).trafficPolicy === "Local" && serviceClaim(service, this.#start.options).ours) {
      if (!this.#slices.isKnown(key)) return SLICES_PATIENCE_MS;
    } else this.#slices.drop(key);
    return await reconcileService({ ...this.#context, signal }, {
      service,
      daemonSets: this.#view.daemonSetsOf(key),
      facts: () => ({ ...this.#view.factsOf(key, this.#silence.nodes), deadNodes: this.#dead.nodes }),
      memory,
    });
  }

  /** A Service that is gone, or no longer of the type: what was made for it goes too. */
  async #reconcileAbsent(key: ServiceKey, signal: AbortSignal): Promise<undefined> {
    this.#memories.delete(key);
    this.#context.inquiry.forget(key);
    this.#context.reservations.leave(key);
    this.#slices.drop(key);
    const daemonSets = this.#view.daemonSetsOf(key);
    // A DaemonSet that is still there may be all that is known of a Service whose type changed while no server ran.
    const mayExist = this.#left.has(key) || daemonSets.some(({ metadata }) => !metadata?.deletionTimestamp);
    const context = { ...this.#context, signal };
    const service = mayExist ? await findObject(context.client, SERVICES, { key: splitKey(key), signal }) : undefined;
    if (service !== undefined) {
      const claim = serviceClaim(service, this.#start.options);
      if (!claim.ours) await releaseService(context, { service: trimService(service), daemonSets, claim });
    } else for (const daemonSet of daemonSets.filter(isOwnDaemonSet)) await deleteDaemonSet(context, daemonSet);
    this.#left.delete(key);
  }

  #mergeWritten(merge: () => void): void {
    this.#isMerging = true;
    merge();
    this.#isMerging = false;
  }

  #noteService(key: ServiceKey, change: ObjectChange<Service>): void {
    const { before, after } = change;
    if (before !== undefined && after !== undefined && sameContent(before, after)) return;
    // Something may have been written that was not seen yet, or not been taken back.
    if (after === undefined && before !== undefined) {
      if (before.metadata?.deletionTimestamp === undefined || finalizersFor(before, false)) this.#left.add(key);
    }
    if ((before === undefined || after === undefined) && this.#services.objects.size <= 1) this.#askNodes();
    const sharers = this.#view.noteService(change);
    const isOther = before === undefined || after === undefined || !sameWishes(before, after);
    if (isOther) this.#view.forgetChoices();
    // Of load balancers agents are told who has ports that several ask for.
    if (sharers.length > 0) this.#facts?.note();
    if (isOther || !this.#isMerging) this.#add(key);
    for (const sharer of sharers) this.#add(sharer);
  }

  #noteNode(name: string, change: ObjectChange<Node>): void {
    const isBack = this.#silence.note(name, change, this.#times());
    const scope = nodeChangeScope(change.before, change.after);
    this.#reports.note(name, scope === "present");
    if (scope !== "none" || this.#dead.nodes.size > 0) this.#askNodes();
    if (scope !== "none") this.#facts?.note();
    if (scope === "all") {
      this.#view.forgetChoices();
      this.#addAll();
    } else if (isBack) this.#addOnNode(name);
  }

  #askNodes(): void {
    if (this.#isReady) this.#dead.note({ services: this.#services.objects, nodes: this.#nodes.objects });
  }

  #checkSilence(): void {
    if (!this.#isReady) return;
    const watchLost = !this.#nodes.isConnected;
    for (const node of this.#silence.check(this.#times(), { watchLost })) this.#addOnNode(node);
  }

  #times(): { readonly monotonicMs: number; readonly wallMs: number } {
    const { clock } = this.#start;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.now() };
  }

  #addServed(change: ObjectChange<Pod | DaemonSet>, delayMs = 0): void {
    const { before, after } = change;
    if (before !== undefined && after !== undefined && sameContent(before, after)) return;
    if (before !== undefined) this.#add(servedServiceKey(before), delayMs);
    if (after !== undefined) this.#add(servedServiceKey(after), delayMs);
  }

  #addOnNode(node: string): void {
    for (const key of this.#view.servicesOnNode(node)) this.#add(key);
  }

  #addAll(): void {
    for (const key of this.#services.objects.keys()) this.#add(key);
  }

  /** Nothing is decided before all is known: a list without nodes would empty every status. */
  #add(key: ServiceKey | undefined, delayMs = 0): void {
    if (this.#isReady && key !== undefined) this.#queue.addAfter(key, delayMs);
  }
}

/** They wait for the API server most of the time. */
const WORKERS = 4;
/** A write that somebody's webhook holds up takes 30 s to fail; other Services don't wait for it. */
const PATIENCE_MS = 2_000;
const SILENCE_CHECK_MS = 10_000;
/** Pods that decide nothing come in many steps, and are told of when they lack for a minute. */
const PLACEHOLDER_DELAY_MS = 2_000;
/** After this time a Service says why its endpoints are not known. */
const SLICES_PATIENCE_MS = 1_000;
