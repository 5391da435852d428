// A node without containers: kubelet.ts with a runner that gives each app's pod a network namespace and an echo server in it.
import type { Pod } from "../../core/kube/types.ts";
import { type Kubelet, type KubeletOptions, type NodeAddress, type PodRunner, startKubelet } from "./kubelet.ts";
import type { Host, TopologyNode } from "./net_topology.ts";
import type { NodeBody } from "./node_body.ts";
import { APP_IMAGE, MISSING_IMAGE, servedBy, STOP_AFTER_ANNOTATION } from "./world_app.ts";

/** Says to what is not app that it runs, and runs apps. */
export class SimulatedNode implements NodeBody {
  readonly #host: TopologyNode;
  readonly #options: () => Promise<Omit<KubeletOptions, "runner" | "nodeName" | "podCidrs">>;
  #kubelet: Kubelet | undefined;
  readonly #pods = new Map<string, Host>();
  #nextSilentPod = 200;
  #lastPod: Promise<unknown> = Promise.resolve();

  constructor(host: TopologyNode, options: () => Promise<Omit<KubeletOptions, "runner" | "nodeName" | "podCidrs">>) {
    this.#host = host;
    this.#options = options;
  }

  async startKubelet(): Promise<void> {
    this.#kubelet = await startKubelet({
      ...await this.#options(),
      nodeName: this.#host.name,
      podCidrs: this.#host.podCidrs,
      runner: this.#runner(),
      images: [APP_IMAGE],
      missingImages: [MISSING_IMAGE],
    });
  }

  async stopKubelet(): Promise<void> {
    await this.#kubelet?.stop();
    this.#kubelet = undefined;
  }

  restartKubeProxy(): Promise<void> {
    return Promise.resolve();
  }

  async setAddresses(addresses: readonly NodeAddress[]): Promise<void> {
    await this.#kubelet?.setAddresses(addresses);
  }

  async setReady(ready: boolean): Promise<void> {
    await this.#kubelet?.setReady(ready);
  }

  command(command: readonly string[]): readonly string[] {
    return this.#host.ns.command(command);
  }

  pod(namespace: string, name: string): Promise<Host | undefined> {
    return Promise.resolve(this.#pods.get(`${namespace}/${name}`));
  }

  processes(): readonly number[] {
    return [];
  }

  stop(): Promise<void> {
    return this.stopKubelet();
  }

  logTails(): string {
    return "";
  }

  #runner(): PodRunner {
    return {
      start: async (pod) => {
        const serve = servedBy(pod);
        // A kubelet that starts again finds its pods running.
        const reported = pod.status?.podIPs?.flatMap(({ ip }) => ip ?? []) ?? [];
        if (serve === undefined && reported.length > 0) return reported;
        if (serve === undefined) return pod.spec?.hostNetwork === true ? [] : this.#silentPodIps();
        const host = pod.spec?.hostNetwork === true ? this.#host : await this.#addPod();
        for (const listen of listens(pod, serve)) await host.ns.listen(listen);
        if (pod.spec?.hostNetwork !== true) this.#pods.set(podKey(pod), host);
        return [host.ip4, host.ip6].filter((ip) => ip !== "");
      },
      stop: async (pod) => {
        const serve = servedBy(pod);
        if (serve === undefined) return;
        const stopAfterMs = Number(pod.metadata?.annotations?.[STOP_AFTER_ANNOTATION] ?? 0);
        if (stopAfterMs > 0) await new Promise((resolve) => setTimeout(resolve, stopAfterMs));
        const own = this.#pods.get(podKey(pod));
        this.#pods.delete(podKey(pod));
        if (own !== undefined) await own.ns.remove();
        else for (const listen of listens(pod, serve)) await this.#host.ns.unlisten(listen);
      },
      listens: (pod, port) =>
        listens(pod, servedBy(pod) ?? "").some((listen) => listen.protocol === "tcp" && listen.port === port),
    };
  }

  /** One at a time: the topology numbers pods by how many there are. */
  #addPod(): Promise<Host> {
    const added = this.#lastPod.then(() => this.#host.addPod());
    this.#lastPod = added.catch(() => {});
    return added;
  }

  #silentPodIps(): readonly string[] {
    const { index, podCidrs } = this.#host;
    const number = this.#nextSilentPod++;
    return [`10.42.${index}.${number % 250}`, `fd42:${index}::${number.toString(16)}`].slice(0, podCidrs.length);
  }
}

function podKey(pod: Pod): string {
  return `${pod.metadata?.namespace}/${pod.metadata?.name}`;
}

function listens(pod: Pod, serve: string): { protocol: "tcp" | "udp"; port: number; name: string }[] {
  return serve.split(",").map((one) => {
    const [protocol, port] = one.split("/");
    return { protocol: protocol === "udp" ? "udp" : "tcp", port: Number(port), name: pod.metadata?.name ?? "" };
  });
}
