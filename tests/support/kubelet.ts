// A kubelet without containers: registers its Node, keeps it alive, admits pods that are bound to it, reports them running and
// ready as their probes and readiness gates say, and lets deleted pods go, ended first. What "running" means beyond status is a PodRunner's
// affair. Facts: tests/cluster/kubelet_conformance_test.ts, which real kubelets are held to as well.
import { isAlreadyExists, isNotFound } from "../../core/kube/errors.ts";
import type { KubeClient } from "../../core/kube/contract.ts";
import { type Reflector, startReflector } from "../../core/kube/reflector.ts";
import { LEASES, NODES, PODS } from "../../core/kube/resources.ts";
import type { Condition, Node, Pod } from "../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { isAbort } from "../../core/shared/errors.ts";
import { SILENT_LOGGER } from "../../core/shared/log.ts";
import { endedStatus, podStatus, waitingStatus } from "./kubelet_status.ts";
import { openTestClient } from "./test_client.ts";

/** One address of a Node. */
export interface NodeAddress {
  readonly type: "InternalIP" | "ExternalIP" | "Hostname";
  readonly address: string;
}

/** Gives pods a network and runs what is in them. */
export interface PodRunner {
  /** Starts the pod once; returns its addresses. Pods of the host's network are given the node's by the caller. */
  start(pod: Pod): Promise<readonly string[]>;
  /** Ends the pod; called once for each that was started. */
  stop(pod: Pod): Promise<void>;
  /** Whether something listens on a TCP port of the pod. Asked for readiness probes. */
  listens(pod: Pod, port: number): boolean;
}

/** What {@linkcode startKubelet} takes. */
export interface KubeletOptions {
  readonly nodeName: string;
  /** Kubeconfig file of `system:node:<nodeName>`. */
  readonly kubeconfig: string;
  readonly addresses: readonly NodeAddress[];
  readonly podCidrs: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly machineId?: string;
  readonly runner: PodRunner;
  /**
   * Seconds between heartbeats.
   * @default {10}
   */
  readonly heartbeatSeconds?: number;
  /** Say True to these gates of every pod, in place of an agent. */
  readonly ownGates?: readonly string[];
  /** Images that the node has, as it lists them; all but `missingImages` can be pulled. */
  readonly images?: readonly string[];
  readonly missingImages?: readonly string[];
}

/** A running kubelet. */
export interface Kubelet {
  readonly nodeName: string;
  /** Reports other addresses. */
  setAddresses(addresses: readonly NodeAddress[]): Promise<void>;
  /** Reports the node as ready or not, as a kubelet does that has lost its container runtime. */
  setReady(ready: boolean): Promise<void>;
  /** Stops heartbeats and everything else; the Node and its pods stay in the API. Safe to call twice. */
  stop(): Promise<void>;
}

/** Starts a kubelet; resolves when its Node is registered and Ready. */
export async function startKubelet(options: KubeletOptions): Promise<Kubelet> {
  const client = await openTestClient(options.kubeconfig, "kubelet/v1.36.3");
  const kubelet = new FakeKubelet(client, options);
  await kubelet.start();
  return kubelet;
}

class FakeKubelet implements Kubelet {
  readonly nodeName: string;
  readonly #client: KubeClient;
  readonly #options: KubeletOptions;
  readonly #end = new AbortController();
  readonly #started = new Map<string, { readonly pod: Pod; readonly ips: readonly string[]; readonly atMs: number }>();
  readonly #work = new Map<string, Promise<void>>();
  readonly #again = new Set<string>();
  #addresses: readonly NodeAddress[];
  #ready = true;
  #pods: Reflector<Pod> | undefined;
  #heartbeats: Promise<void> | undefined;

  constructor(client: KubeClient, options: KubeletOptions) {
    this.#client = client;
    this.#options = options;
    this.#addresses = options.addresses;
    this.nodeName = options.nodeName;
  }

  async start(): Promise<void> {
    await this.#register();
    await this.#writeNodeStatus();
    await this.#renewLease();
    const { signal } = this.#end;
    this.#pods = startReflector<Pod>({
      client: this.#client,
      type: PODS,
      selection: { fieldSelector: `spec.nodeName=${this.nodeName}` },
      clock: SYSTEM_CLOCK,
      logger: SILENT_LOGGER,
      signal,
      onChange: ({ key }) => this.#schedule(key),
    });
    await this.#pods.synced;
    this.#heartbeats = this.#beat(signal);
  }

  async setAddresses(addresses: readonly NodeAddress[]): Promise<void> {
    this.#addresses = addresses;
    await this.#writeNodeStatus();
  }

  async setReady(ready: boolean): Promise<void> {
    this.#ready = ready;
    await this.#writeNodeStatus();
  }

  async stop(): Promise<void> {
    if (this.#end.signal.aborted) return;
    this.#end.abort();
    await this.#pods?.done;
    await this.#heartbeats;
    await Promise.all(this.#work.values());
    this.#client.close();
  }

  async #register(): Promise<void> {
    const { nodeName, labels, podCidrs } = this.#options;
    const node: Node = {
      apiVersion: "v1",
      kind: "Node",
      metadata: {
        name: nodeName,
        labels: {
          "kubernetes.io/hostname": nodeName,
          "kubernetes.io/os": "linux",
          "kubernetes.io/arch": "amd64",
          ...labels,
        },
      },
      spec: { podCIDR: podCidrs[0] ?? "", podCIDRs: [...podCidrs] },
    };
    try {
      await this.#client.create(NODES, node);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }

  async #writeNodeStatus(): Promise<void> {
    const now = new Date().toISOString();
    const condition = (type: string, holds: boolean, reason: string): Condition => ({
      type,
      status: holds ? "True" : "False",
      reason,
      message: reason,
      lastHeartbeatTime: now,
      lastTransitionTime: now,
    });
    const resources = { cpu: "64", memory: "256Gi", "ephemeral-storage": "1Ti", pods: "10000" };
    const status = {
      // Replaced as a whole: strategic merge would keep addresses that are gone.
      addresses: [{ $patch: "replace" }, ...this.#addresses],
      capacity: resources,
      allocatable: resources,
      daemonEndpoints: { kubeletEndpoint: { Port: 10_250 } },
      conditions: [
        condition("Ready", this.#ready, this.#ready ? "KubeletReady" : "KubeletNotReady"),
        condition("MemoryPressure", false, "KubeletHasSufficientMemory"),
        condition("DiskPressure", false, "KubeletHasNoDiskPressure"),
        condition("PIDPressure", false, "KubeletHasSufficientPID"),
      ],
      images: (this.#options.images ?? []).map((image) => ({ names: [image], sizeBytes: 1 })),
      nodeInfo: {
        machineID: this.#options.machineId ?? "",
        systemUUID: this.#options.machineId ?? "",
        bootID: "",
        kernelVersion: "6.1.0",
        osImage: "test",
        containerRuntimeVersion: "none://1",
        kubeletVersion: "v1.36.3",
        kubeProxyVersion: "",
        operatingSystem: "linux",
        architecture: "amd64",
      },
    };
    const patch = { type: "strategic", body: { status } } as const;
    await this.#client.patch(NODES, { name: this.nodeName }, patch, { subresource: "status" });
  }

  async #renewLease(): Promise<void> {
    const renewTime = new Date().toISOString().replace("Z", "000Z");
    const key = { namespace: "kube-node-lease", name: this.nodeName };
    const spec = { holderIdentity: this.nodeName, leaseDurationSeconds: 40, renewTime };
    try {
      await this.#client.patch(LEASES, key, { type: "merge", body: { spec } });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      const metadata = { ...key };
      await this.#client.create(LEASES, { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata, spec });
    }
  }

  async #beat(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await SYSTEM_CLOCK.sleep((this.#options.heartbeatSeconds ?? 10) * 1000, signal);
        await this.#renewLease();
      } catch (error) {
        if (isAbort(error)) return;
        // The API server is away or the Lease changed meanwhile: the next beat tries again, as kubelet's does.
      }
    }
  }

  /** One pass at a time for each pod; a change during a pass makes one more. */
  #schedule(key: string): void {
    if (this.#work.has(key)) {
      this.#again.add(key);
      return;
    }
    const pass = this.#syncUntilQuiet(key).finally(() => this.#work.delete(key));
    this.#work.set(key, pass);
  }

  async #syncUntilQuiet(key: string): Promise<void> {
    do {
      this.#again.delete(key);
      try {
        await this.#sync(key);
      } catch (error) {
        if (this.#end.signal.aborted) return;
        if (isNotFound(error)) continue;
        await SYSTEM_CLOCK.sleep(200, this.#end.signal).catch(() => {});
        this.#again.add(key);
      }
    } while (this.#again.has(key) && !this.#end.signal.aborted);
  }

  async #sync(key: string): Promise<void> {
    const pod = this.#pods?.objects.get(key);
    const uid = pod?.metadata?.uid ?? "";
    for (const [startedUid, started] of this.#started) {
      if (startedUid !== uid && podKey(started.pod) === key) await this.#endPod(startedUid);
    }
    if (pod === undefined) return;
    const { namespace = "", name = "" } = pod.metadata ?? {};
    const hasEnded = pod.status?.phase === "Failed" || pod.status?.phase === "Succeeded";
    if (pod.metadata?.deletionTimestamp !== undefined) {
      const ran = this.#started.has(uid);
      await this.#endPod(uid);
      if (ran && !hasEnded) await this.#patchStatus(pod, endedStatus(pod, { phase: "Succeeded" }));
      await this.#client.delete(PODS, { namespace, name }, { uid, gracePeriodSeconds: 0 });
      return;
    }
    if (hasEnded) {
      await this.#endPod(uid);
      return;
    }
    const taken = [...this.#started.values()].flatMap((started) => hostPorts(started.pod));
    if (!this.#started.has(uid) && hostPorts(pod).some((port) => taken.includes(port))) {
      const message =
        "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
      await this.#patchStatus(pod, { phase: "Failed", reason: "NodePorts", message });
      return;
    }
    const hostIps = this.#hostIps();
    if (pod.status?.startTime === undefined) {
      await this.#patchStatus(pod, waitingStatus(pod, { hostIps, reason: "ContainerCreating" }));
    }
    if (pod.spec?.containers.some(({ image = "" }) => this.#options.missingImages?.includes(image))) {
      if (pod.status?.containerStatuses?.[0]?.state?.waiting?.reason === "ErrImagePull") return;
      await this.#patchStatus(pod, waitingStatus(pod, { hostIps, reason: "ErrImagePull" }));
      return;
    }
    const started = await this.#start(pod);
    const deadlineMs = (pod.spec?.activeDeadlineSeconds ?? Infinity) * 1000 - (performance.now() - started.atMs);
    if (deadlineMs <= 0) {
      await this.#endPod(uid);
      const message = "Pod was active on the node longer than the specified deadline";
      await this.#patchStatus(pod, endedStatus(pod, { phase: "Failed", reason: "DeadlineExceeded", message }));
      return;
    }
    const probeMs = this.#probe(pod, started.atMs);
    const { ownGates = [] } = this.#options;
    const wanted = podStatus(pod, { hostIps, podIps: started.ips, isProbedReady: probeMs === 0, ownGates });
    if (wanted !== undefined) await this.#patchStatus(pod, wanted);
    this.#scheduleIn(key, Math.min(deadlineMs, probeMs === 0 ? Infinity : probeMs));
  }

  /** 0 if every readiness probe succeeds, else the milliseconds until it's worth another look. */
  #probe(pod: Pod, startedAtMs: number): number {
    const waits = (pod.spec?.containers ?? []).map(({ readinessProbe }) => {
      if (readinessProbe?.tcpSocket === undefined) return 0;
      const delayMs = (readinessProbe.initialDelaySeconds ?? 0) * 1000 - (performance.now() - startedAtMs);
      if (delayMs > 0) return delayMs;
      const listens = this.#options.runner.listens(pod, Number(readinessProbe.tcpSocket.port));
      return listens ? 0 : (readinessProbe.periodSeconds ?? 10) * 1000;
    });
    return Math.max(0, ...waits);
  }

  #scheduleIn(key: string, delayMs: number): void {
    if (delayMs === Infinity) return;
    SYSTEM_CLOCK.sleep(delayMs, this.#end.signal).then(() => this.#schedule(key), () => {});
  }

  async #start(pod: Pod): Promise<{ readonly ips: readonly string[]; readonly atMs: number }> {
    const uid = pod.metadata?.uid ?? "";
    const found = this.#started.get(uid);
    if (found !== undefined) return found;
    const own = await this.#options.runner.start(pod);
    const ips = pod.spec?.hostNetwork === true ? this.#hostIps() : own;
    const started = { pod, ips, atMs: performance.now() };
    this.#started.set(uid, started);
    return started;
  }

  async #endPod(uid: string): Promise<void> {
    const started = this.#started.get(uid);
    if (started === undefined) return;
    this.#started.delete(uid);
    await this.#options.runner.stop(started.pod);
  }

  #hostIps(): readonly string[] {
    const internal = this.#addresses.filter(({ type }) => type === "InternalIP").map(({ address }) => address);
    return [internal.find((ip) => !ip.includes(":")), internal.find((ip) => ip.includes(":"))].filter((ip) =>
      ip !== undefined
    );
  }

  async #patchStatus(pod: Pod, status: object): Promise<void> {
    const { namespace = "", name = "", uid } = pod.metadata ?? {};
    const body = { metadata: { uid }, status };
    await this.#client.patch(PODS, { namespace, name }, { type: "strategic", body }, { subresource: "status" });
  }
}

function podKey(pod: Pod): string {
  return `${pod.metadata?.namespace}/${pod.metadata?.name}`;
}

function hostPorts(pod: Pod): readonly string[] {
  return (pod.spec?.containers ?? []).flatMap((container) =>
    (container.ports ?? []).flatMap(({ hostPort, protocol = "TCP" }) => hostPort ? [`${hostPort}/${protocol}`] : [])
  );
}
