// A kubelet without containers: registers its Node, keeps it alive, admits pods that are bound to it, reports them running and
// ready as their readiness gates say, and lets deleted pods go. What "running" means beyond status is a PodRunner's affair.
// Facts: kubelet 1.36 against a real API server (ready 20-260 ms after a True gate; hostPort conflicts are rejected as "NodePorts").
import { isAlreadyExists, isNotFound } from "../../core/kube/errors.ts";
import type { KubeClient } from "../../core/kube/contract.ts";
import { type Reflector, startReflector } from "../../core/kube/reflector.ts";
import { LEASES, NODES, PODS } from "../../core/kube/resources.ts";
import type { Condition, Node, Pod } from "../../core/kube/types.ts";
import { SYSTEM_CLOCK } from "../../core/runtime/clock.ts";
import { isAbort } from "../../core/shared/errors.ts";
import { SILENT_LOGGER } from "../../core/shared/log.ts";
import { podStatus } from "./kubelet_status.ts";
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
  readonly #started = new Map<string, { readonly pod: Pod; readonly ips: readonly string[] }>();
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
      conditions: [
        condition("Ready", this.#ready, this.#ready ? "KubeletReady" : "KubeletNotReady"),
        condition("MemoryPressure", false, "KubeletHasSufficientMemory"),
        condition("DiskPressure", false, "KubeletHasNoDiskPressure"),
        condition("PIDPressure", false, "KubeletHasSufficientPID"),
      ],
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
    if (pod.metadata?.deletionTimestamp !== undefined) {
      await this.#endPod(uid);
      await this.#client.delete(PODS, { namespace, name }, { uid, gracePeriodSeconds: 0 });
      return;
    }
    if (pod.status?.phase === "Failed" || pod.status?.phase === "Succeeded") {
      await this.#endPod(uid);
      return;
    }
    const taken = this.#started.has(uid) ? undefined : this.#takenHostPort(pod);
    if (taken !== undefined) {
      const message = `Pod was rejected: Predicate NodePorts failed: port ${taken} is in use`;
      await this.#patchStatus(pod, { phase: "Failed", reason: "NodePorts", message });
      return;
    }
    const ips = await this.#start(pod);
    const wanted = podStatus(pod, { hostIps: this.#hostIps(), podIps: ips, ownGates: this.#options.ownGates ?? [] });
    if (wanted !== undefined) await this.#patchStatus(pod, wanted);
  }

  async #start(pod: Pod): Promise<readonly string[]> {
    const uid = pod.metadata?.uid ?? "";
    const found = this.#started.get(uid);
    if (found !== undefined) return found.ips;
    const ips = await this.#options.runner.start(pod);
    const podIps = pod.spec?.hostNetwork === true ? this.#hostIps() : ips;
    this.#started.set(uid, { pod, ips: podIps });
    return podIps;
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

  #takenHostPort(pod: Pod): string | undefined {
    const taken = new Set([...this.#started.values()].flatMap((started) => hostPorts(started.pod)));
    return hostPorts(pod).find((port) => taken.has(port));
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
