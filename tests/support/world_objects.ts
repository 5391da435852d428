// What tests put into a world's cluster and what they look at: Services, apps, addresses, Events, conditions.
import type { KubeClient } from "../../core/kube/contract.ts";
import { isNotFound } from "../../core/kube/errors.ts";
import { DAEMON_SETS, EVENTS, NAMESPACES, PODS, SERVICES } from "../../core/kube/resources.ts";
import type { Condition, DaemonSet, KubeEvent, Pod, Service } from "../../core/kube/types.ts";
import { SERVED_CONDITION, SERVICE_NAME_LABEL, SERVICE_NAMESPACE_LABEL } from "../../core/service/labels.ts";
import { isPodReady, podLines } from "./pod_lines.ts";
import { waitUntil } from "./wait.ts";
import { appPod } from "./world_app.ts";

/** One port of a Service. */
export interface PortWish {
  readonly port: number;
  readonly protocol?: "TCP" | "UDP" | "SCTP";
  /** @default {8080} */
  readonly targetPort?: number;
}

/** A Service to make. */
export interface ServiceWish {
  readonly name: string;
  readonly ports: readonly (number | PortWish)[];
  /** The app that it selects; its own name if absent. */
  readonly app?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  /** Anything else of `spec`. */
  readonly spec?: Partial<NonNullable<Service["spec"]>>;
}

/** Pods to make. */
export interface AppWish {
  readonly name: string;
  /** Names of nodes; one pod on each, named `<app>-<node>`. A node named twice gets two, the second with `-2` behind. */
  readonly nodes: readonly string[];
  /** @default {["tcp/8080", "udp/8080"]} */
  readonly serve?: readonly string[];
  readonly hostNetwork?: boolean;
  /**
   * Milliseconds for which a deleted pod goes on serving.
   * @default {0}
   */
  readonly stopAfterMs?: number;
}

/** Objects of one namespace: each test has its own. */
export class TestNamespace {
  readonly name: string;
  readonly #client: KubeClient;
  readonly #explain: () => Promise<string>;
  readonly #systemNamespace: string;

  constructor(client: KubeClient, options: { name: string; systemNamespace: string; explain: () => Promise<string> }) {
    this.#client = client;
    this.name = options.name;
    this.#systemNamespace = options.systemNamespace;
    this.#explain = options.explain;
  }

  async create(): Promise<void> {
    await this.#client.create(NAMESPACES, { metadata: { name: this.name } });
  }

  async createService(wish: ServiceWish): Promise<Service> {
    const ports = wish.ports.map((each) => typeof each === "number" ? { port: each } : each);
    return await this.#client.create(SERVICES, {
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        name: wish.name,
        namespace: this.name,
        ...(wish.labels === undefined ? {} : { labels: { ...wish.labels } }),
        ...(wish.annotations === undefined ? {} : { annotations: { ...wish.annotations } }),
      },
      spec: {
        type: "LoadBalancer",
        selector: { app: wish.app ?? wish.name },
        ports: ports.map(({ port, protocol = "TCP", targetPort = 8080 }) => ({
          name: `${protocol.toLowerCase()}-${port}`,
          port,
          protocol,
          targetPort,
        })),
        ...wish.spec,
      },
    } as Service);
  }

  /** Makes an app and waits until its pods are ready. */
  async createApp(wish: AppWish): Promise<readonly string[]> {
    const names: string[] = [];
    for (const node of wish.nodes) {
      const base = `${wish.name}-${node}`;
      const earlier = names.filter((name) => name === base || name.startsWith(`${base}-`)).length;
      const name = earlier === 0 ? base : `${base}-${earlier + 1}`;
      names.push(name);
      await this.#createPod(wish, { node, name });
    }
    await Promise.all(names.map((name) => this.waitForPod(name)));
    return names;
  }

  async #createPod(wish: AppWish, place: { readonly node: string; readonly name: string }): Promise<void> {
    const pod = appPod({
      ...place,
      namespace: this.name,
      app: wish.name,
      serve: wish.serve ?? ["tcp/8080", "udp/8080"],
      hostNetwork: wish.hostNetwork ?? false,
      stopAfterMs: wish.stopAfterMs,
    });
    // A new namespace gets its ServiceAccount a moment later; until then the server refuses pods.
    await waitUntil(`pod ${place.name} to be taken`, () => this.#client.create(PODS, pod));
  }

  async waitForPod(name: string): Promise<Pod> {
    let last: Pod | undefined;
    return await waitUntil(`pod ${this.name}/${name} to be ready`, async () => {
      last = await this.#client.get(PODS, { namespace: this.name, name });
      return isPodReady(last) && last;
    }, { explain: async () => `${podLines(last === undefined ? [] : [last])}\n${await this.#explain()}` });
  }

  async deletePod(name: string): Promise<void> {
    await this.#client.delete(PODS, { namespace: this.name, name }, { gracePeriodSeconds: 1 });
  }

  async service(name: string): Promise<Service> {
    return await this.#client.get(SERVICES, { namespace: this.name, name });
  }

  async patchService(name: string, body: object): Promise<Service> {
    return await this.#client.patch(SERVICES, { namespace: this.name, name }, { type: "merge", body });
  }

  /** Deletes a Service and waits until it is gone. */
  async deleteService(name: string): Promise<void> {
    await this.#client.delete(SERVICES, { namespace: this.name, name });
    await waitUntil(`service ${name} to be gone`, async () => {
      try {
        await this.service(name);
        return false;
      } catch (error) {
        return isNotFound(error);
      }
    }, { explain: this.#explain });
  }

  /** Addresses in the status, in its order. */
  async ingress(name: string): Promise<readonly string[]> {
    const service = await this.service(name);
    return (service.status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip ?? "");
  }

  /** Waits until exactly these addresses are in the status (in any order). */
  async waitForIngress(name: string, ips: readonly string[], deadlineMs?: number): Promise<void> {
    const wanted = [...ips].sort().join(" ");
    let last = "";
    await waitUntil(
      `service ${name} to have the addresses "${wanted}"`,
      async () => {
        last = [...await this.ingress(name)].sort().join(" ");
        return last === wanted;
      },
      {
        ...(deadlineMs === undefined ? {} : { deadlineMs }),
        explain: async () =>
          `it has "${last}"\ncondition: ${JSON.stringify(await this.condition(name))}\n${await this.#explain()}`,
      },
    );
  }

  /** The condition that says whether the Service is served. */
  async condition(name: string, type: string = SERVED_CONDITION): Promise<Condition | undefined> {
    const service = await this.service(name);
    return service.status?.conditions?.find((condition) => condition.type === type) as Condition | undefined;
  }

  /** Waits until the condition says what `accept` wants. */
  async waitForCondition(
    name: string,
    accept: (condition: Condition) => boolean,
    deadlineMs?: number,
  ): Promise<Condition> {
    let last: Condition | undefined;
    return await waitUntil(`the condition of service ${name}`, async () => {
      last = await this.condition(name);
      return last !== undefined && accept(last) && last;
    }, {
      explain: async () => `it is ${JSON.stringify(last)}\n${await this.#explain()}`,
      ...(deadlineMs === undefined ? {} : { deadlineMs }),
    });
  }

  /** Events about a Service of this namespace. */
  async events(service: string): Promise<readonly KubeEvent[]> {
    const events = await this.#client.list(EVENTS, { namespace: this.name });
    return events.items.filter(({ involvedObject }) =>
      involvedObject.kind === "Service" && involvedObject.name === service
    );
  }

  /** The DaemonSets of a Service. */
  async daemonSets(service: string): Promise<readonly DaemonSet[]> {
    const labelSelector = `${SERVICE_NAME_LABEL}=${service},${SERVICE_NAMESPACE_LABEL}=${this.name}`;
    return (await this.#client.list(DAEMON_SETS, { namespace: this.#systemNamespace, labelSelector })).items;
  }

  /** A Service's DaemonSet, which comes after the addresses where agents serve by themselves. */
  async daemonSet(service: string): Promise<DaemonSet> {
    return await waitUntil(`a DaemonSet of ${service}`, async () => (await this.daemonSets(service))[0], {
      explain: this.#explain,
    });
  }

  /** The load balancer's pods of a Service. */
  async lbPods(service: string): Promise<readonly Pod[]> {
    const labelSelector = `${SERVICE_NAME_LABEL}=${service},${SERVICE_NAMESPACE_LABEL}=${this.name}`;
    return (await this.#client.list(PODS, { namespace: this.#systemNamespace, labelSelector })).items;
  }

  /** Waits until the load balancer's pods are on exactly these nodes. */
  async waitForLbPods(service: string, nodes: readonly string[]): Promise<void> {
    const wanted = [...nodes].sort().join(" ");
    let last = "";
    let pods: readonly Pod[] = [];
    await waitUntil(`pods of service ${service} on "${wanted}"`, async () => {
      pods = await this.lbPods(service);
      const placed = pods.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)
        .map(({ spec }) => spec?.nodeName ?? "").filter((node) => node !== "");
      last = placed.sort().join(" ");
      return last === wanted;
    }, { explain: async () => `they are on "${last}"\n${podLines(pods)}\n${await this.#explain()}` });
  }
}
